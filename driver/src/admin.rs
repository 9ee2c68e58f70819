//! The admin port: metrics, health, readiness, over plain HTTP.
//!
//! `/healthz` says that the process serves, and nothing else: restarting it brings no
//! device back. `/readyz` says whether what the role depends on answers, and why not.
//! Nothing can be changed here, and no answer asks anybody but this process.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rds_csi_core::kind::Chain;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::server::liveness::Liveness;

type Condition = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Named conditions, all of which must hold for the process to be ready. Clones share
/// them.
#[derive(Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<BTreeMap<&'static str, Condition>>>);

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.conditions().keys()).finish()
    }
}

impl Readiness {
    /// Says whether a condition holds, or why not, until it is said again.
    pub(crate) fn set(&self, name: &'static str, state: Result<(), String>) {
        self.observe(name, move || state.clone());
    }

    /// Names a condition that is looked at each time somebody asks. `look` must not block.
    pub(crate) fn observe<F>(&self, name: &'static str, look: F)
    where
        F: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        self.conditions().insert(name, Box::new(look));
    }

    /// A line for each condition, and whether all hold.
    fn report(&self) -> (bool, String) {
        let mut lines = String::new();
        let mut ready = true;
        for (name, look) in self.conditions().iter() {
            // Writing to a String cannot fail.
            let _ = match look() {
                Ok(()) => writeln!(lines, "{name}: ok"),
                Err(reason) => {
                    ready = false;
                    writeln!(lines, "{name}: {reason}")
                }
            };
        }
        (ready, lines)
    }

    fn conditions(&self) -> MutexGuard<'_, BTreeMap<&'static str, Condition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The admin port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("listening on the admin address {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Binds the port, where there is to be one.
pub(crate) async fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, BindError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    listener
        .map(Some)
        .map_err(|source| BindError { address, source })
}

/// Serves the pages. Returns only when the port ended.
pub(crate) async fn serve(listener: Option<TcpListener>, pages: Router) {
    match listener {
        Some(listener) => {
            if let Err(error) = axum::serve(listener, pages).await {
                tracing::error!(%error, "serving the admin port");
            }
        }
        None => pending().await,
    }
}

/// The three pages.
pub(crate) fn router(metrics: Metrics, readiness: Readiness, liveness: Liveness) -> Router {
    Router::new()
        .route("/metrics", get(async move || page(&metrics)))
        .route("/healthz", get(async move || health(&liveness).await))
        .route(
            "/readyz",
            get(async move || match readiness.report() {
                (true, lines) => (StatusCode::OK, lines),
                (false, lines) => (StatusCode::SERVICE_UNAVAILABLE, lines),
            }),
        )
}

async fn health(liveness: &Liveness) -> (StatusCode, String) {
    match liveness.ask().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => {
            let reason = Chain(&error);
            tracing::error!("not alive: {reason}");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
        }
    }
}

fn page(metrics: &Metrics) -> Response {
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.encode() {
        Ok(page) => ([(CONTENT_TYPE, form)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "writing the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_condition_holds() {
        let readiness = Readiness::default();
        readiness.set("serving", Ok(()));
        readiness.observe("device", || Err("no route to host".to_owned()));
        let (ready, lines) = readiness.clone().report();
        assert!(!ready);
        assert_eq!(lines, "device: no route to host\nserving: ok\n");
        readiness.set("device", Ok(()));
        assert!(readiness.report().0);
    }
}
