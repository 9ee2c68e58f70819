//! Admission to the reviewer itself: how many requests at once, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::{Limits, error};
use crate::metrics::Metrics;

/// Shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    permits: Arc<Semaphore>,
    request: Duration,
    metrics: Metrics,
}

impl Guard {
    pub(super) fn new(limits: &Limits, metrics: &Metrics) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.concurrent)),
            request: limits.request,
            metrics: metrics.clone(),
        }
    }
}

/// Sheds what is too much, ends what takes too long, counts what was no review.
pub(super) async fn watch(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Ok(_permit) = guard.permits.try_acquire() else {
        guard.metrics.shed.inc();
        let mut response = error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many reviews are under way",
        );
        // API servers retry within their own timeout where they are told when.
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let response = match tokio::time::timeout(guard.request, next.run(request)).await {
        Ok(response) => response,
        Err(_) => error(
            StatusCode::REQUEST_TIMEOUT,
            "the request did not arrive in time",
        ),
    };
    if !response.status().is_success() {
        guard.metrics.rejected(response.status().as_u16());
    }
    response
}
