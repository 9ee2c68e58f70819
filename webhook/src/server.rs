//! The HTTPS side: one route, and the limits that keep a bad client from hurting a
//! good one.
//!
//! Every answer is JSON, errors are Kubernetes `Status` objects, and nothing that a
//! client sends may end the process or hold a slot for longer than the limits say.

mod admin;
mod connection;
mod guard;

pub use admin::{Readiness, admin_router};
pub use connection::BoundedAcceptor;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::Server;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rds_csi_core::kind::Chain;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::metrics::Metrics;
use crate::review::{Reviewer, loggable};

/// Where the API server posts reviews.
pub const REVIEW_PATH: &str = "/validate";

/// How long an API server keeps a connection for its next review (`IdleConnTimeout` of its HTTP
/// client). Whoever closes one earlier may do so in the moment in which a review is sent on it,
/// and that review is lost: it is not sent again.
pub const KEPT_BY_API_SERVERS: Duration = Duration::from_secs(90);

/// What one client, and all together, may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest body. A review carries the object and its old self, each at most
    /// what etcd stores (1.5 MiB).
    pub body: usize,
    /// From the head of a request to its answer.
    pub request: Duration,
    /// Requests under way at once; more are answered 503.
    pub concurrent: usize,
    /// The bodies of all requests under way; where one more has no room it is answered 503.
    /// Whoever reaches the port could else fill the memory of the process.
    pub bodies: usize,
    /// Connections that are served at once; more wait for a place.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of an HTTP/1.1 request, counted from the end of the one before: longer than
    /// [`KEPT_BY_API_SERVERS`].
    pub head: Duration,
    /// How long a connection may move no byte, longer than that too. HTTP/2 connections are
    /// pinged three times in this time, so it ends only dead ones.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 3 << 20,
            request: Duration::from_secs(2),
            concurrent: 256,
            bodies: 12 << 20,
            connections: 512,
            handshake: Duration::from_secs(5),
            head: KEPT_BY_API_SERVERS + Duration::from_secs(30),
            idle: KEPT_BY_API_SERVERS + Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// What a judgement may take of a request: the rest is for its arrival and for the answer.
    #[must_use]
    pub fn judgement(&self) -> Duration {
        self.request * 7 / 8
    }

    /// Applies the limits of connections to a server.
    pub fn apply<A: axum_server::Address, B>(&self, server: &mut Server<A, B>) {
        let builder: &mut Builder<TokioExecutor> = server.http_builder();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head)
            .max_buf_size(64 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.idle / 3)
            .keep_alive_timeout(self.idle / 3)
            .max_concurrent_streams(u32::try_from(self.concurrent).unwrap_or(u32::MAX))
            .max_header_list_size(64 << 10);
    }
}

/// The routes of the HTTPS port. Once `stopping` is cancelled, every answer asks for the end of
/// its connection.
pub fn review_router(
    reviewer: Arc<Reviewer>,
    limits: &Limits,
    metrics: &Metrics,
    stopping: CancellationToken,
) -> Router {
    let routes = Router::new()
        .route(REVIEW_PATH, post(validate))
        .fallback(async || error(StatusCode::NOT_FOUND, "reviews are posted to /validate"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "reviews are posted")
        })
        .with_state(reviewer);
    protect(routes, limits, metrics).layer(middleware::from_fn_with_state(stopping, take_leave))
}

/// What is on its way when the last connections are closed is lost; so they should be few.
/// HTTP/2 has words of its own for that.
async fn take_leave(
    State(stopping): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let is_http1 = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if is_http1 && stopping.is_cancelled() {
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Puts the limits of requests around routes.
fn protect(routes: Router, limits: &Limits, metrics: &Metrics) -> Router {
    let guard = guard::Guard::new(limits, metrics);
    routes
        .layer(DefaultBodyLimit::max(limits.body))
        .layer(CatchPanicLayer::custom(|_| {
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "reviewing the request failed; this is a defect of the webhook",
            )
        }))
        .layer(middleware::from_fn_with_state(guard, guard::watch))
}

async fn validate(State(reviewer): State<Arc<Reviewer>>, request: Request) -> Response {
    if !is_json(request.headers()) {
        return error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a review is application/json",
        );
    }
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(rejection) => return error(rejection.status(), &rejection.body_text()),
    };
    match reviewer.review(&body).await {
        Ok(answer) => Json(answer).into_response(),
        Err(failure) => {
            // What could not be read is quoted whole by the reader of JSON.
            let message = loggable(&Chain(&failure).to_string());
            tracing::warn!(error = %message, "refused a request that is no review");
            error(StatusCode::BAD_REQUEST, &message)
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

/// An HTTP error as a Kubernetes `Status`, which API servers read and pass on.
fn error(code: StatusCode, message: &str) -> Response {
    let status = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": message,
        "code": code.as_u16(),
    });
    (code, Json(status)).into_response()
}

#[cfg(test)]
mod tests;
