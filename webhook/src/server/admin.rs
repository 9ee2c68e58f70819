//! The plain HTTP side for the kubelet and for monitoring: nothing here changes
//! anything or shows an object.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::storage_classes::StorageClassStore;
use crate::tls::Certificate;

/// What has to be true before reviews should come here.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// The pair in use.
    pub certificate: Certificate,
    /// The classes that reviews depend on.
    pub classes: StorageClassStore,
    /// Cancelled when the process is about to end.
    pub stopping: CancellationToken,
}

impl Readiness {
    /// Why no reviews should come here, or `None` if they may.
    #[must_use]
    pub fn obstacle(&self, now: Timestamp) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("stopping".to_owned());
        }
        self.certificate.obstacle(now).or_else(|| {
            let unread = !self.classes.is_synced();
            unread.then(|| "the storage classes are not read yet".to_owned())
        })
    }
}

/// `/healthz`, `/readyz`, `/metrics`.
pub fn admin_router(readiness: Readiness, metrics: Metrics) -> Router {
    let ready = async move || match readiness.obstacle(Timestamp::now()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, obstacle),
    };
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async move || page(&metrics)))
}

fn page(metrics: &Metrics) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
