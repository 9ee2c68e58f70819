//! The admin port: metrics, health, readiness, over plain HTTP.
//!
//! `/healthz` says that the process serves, and nothing else: restarting it brings no
//! device back. `/readyz` says whether what the role depends on answers, and why not.
//! Nothing can be changed here, and no answer asks anybody but this process. A node's port
//! is open to whoever reaches the machine: what one connection, and all together, may take
//! is bounded, so that nobody keeps the plugin from its volumes by it.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rds_csi_core::kind::Chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

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

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// At once; further ones are closed.
    connections: usize,
    /// Until the head of the request is there.
    head: Duration,
    /// From the connection's beginning to its end, which comes after one answer.
    whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            head: Duration::from_secs(5),
            whole: Duration::from_secs(30),
        }
    }
}

/// How long accepting pauses after it failed: descriptors may have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the pages, where there is a port, until it is dropped.
pub(crate) async fn serve(listener: Option<TcpListener>, pages: Router, limits: Limits) {
    let Some(listener) = listener else {
        return pending().await;
    };
    let mut answering = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = answering.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection to the admin port");
                sleep(PAUSE).await;
                continue;
            }
        };
        if answering.len() < limits.connections {
            answering.spawn(answer(stream, pages.clone(), limits));
        }
    }
}

/// Answers one request. What the client does wrong is its own affair.
async fn answer(stream: TcpStream, pages: Router, limits: Limits) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false);
    let service = TowerToHyperService::new(pages);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    timeout(limits.whole, connection).await.ok();
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: node\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// They would take the descriptors that a volume needs.
    #[tokio::test]
    async fn connections_that_say_nothing_are_few_and_do_not_last() {
        const FEW: usize = 4;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Router::new().route("/readyz", get(async || "ready"));
        let limits = Limits {
            connections: FEW,
            head: Duration::from_secs(1),
            whole: Duration::from_secs(2),
        };
        let asking = async {
            assert!(ask(address).await.unwrap().ends_with("ready"));
            let mut silent = Vec::new();
            for _ in 0..FEW {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let refused = ask(address).await.unwrap_or_default();
            assert_eq!(refused, "", "there is no room");
            for stream in &mut silent {
                let mut rest = Vec::new();
                let ended = timeout(limits.whole * 5, stream.read_to_end(&mut rest));
                ended.await.expect("it is closed").ok();
            }
            assert!(ask(address).await.unwrap().ends_with("ready"));
        };
        tokio::select! {
            () = serve(Some(listener), pages, limits) => unreachable!(),
            () = asking => {}
        }
    }

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
