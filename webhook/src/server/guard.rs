//! Admission to the reviewer itself: how many requests at once, of which size together,
//! and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody as _;
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
    /// A permit for each byte.
    room: Arc<Semaphore>,
    largest: usize,
    request: Duration,
    metrics: Metrics,
}

impl Guard {
    pub(super) fn new(limits: &Limits, metrics: &Metrics) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.concurrent)),
            room: Arc::new(Semaphore::new(limits.bodies)),
            largest: limits.body,
            request: limits.request,
            metrics: metrics.clone(),
        }
    }

    /// What a request may come to hold: what it declares, or the most that is read of one
    /// that does not say.
    fn size(&self, request: &Request) -> u32 {
        let declared = request.body().size_hint().upper();
        let declared = declared.and_then(|size| usize::try_from(size).ok());
        let size = declared.unwrap_or(self.largest).min(self.largest);
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

/// Sheds what is too much, ends what takes too long, counts what was no review.
pub(super) async fn watch(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let size = guard.size(&request);
    let (Ok(_permit), Ok(_room)) = (
        guard.permits.try_acquire(),
        guard.room.try_acquire_many(size),
    ) else {
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
