//! Connections that are counted, and closed when nothing moves on them.
//!
//! HTTP's own timeouts begin only when a request does. A client that completes the TLS
//! handshake and says nothing, or stops reading its answer, meets only this one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How many connections wait for each one that is served, at most: an API server opens one for
/// each review under way, and to close the others at once would be to lose their reviews.
const WAITING: usize = 4;
/// How long they wait: as long as API servers do for a TLS handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves so many connections at once. More wait for a place, without a byte read; still more
/// are closed at once.
#[derive(Debug, Clone)]
pub struct BoundedAcceptor {
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    idle: Duration,
    refused: Counter,
}

impl BoundedAcceptor {
    /// At most `connections` at once, none silent for longer than `idle`; `refused`
    /// counts those that got no place.
    #[must_use]
    pub fn new(connections: usize, idle: Duration, refused: Counter) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(connections)),
            waiting: Arc::new(Semaphore::new(connections * WAITING)),
            idle,
            refused,
        }
    }

    /// A place for a connection, or `None` where it would have to wait too long.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        let permit = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        permit.ok()?.ok()
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for BoundedAcceptor {
    type Stream = Connection;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Connection, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        Box::pin(async move {
            let Some(permit) = acceptor.place().await else {
                acceptor.refused.inc();
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            };
            stream.set_nodelay(true)?;
            let connection = Connection {
                stream,
                idle: acceptor.idle,
                deadline: Box::pin(sleep(acceptor.idle)),
                _permit: permit,
            };
            Ok((connection, service))
        })
    }
}

/// A TCP connection that fails after a time in which no byte moved.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes `poll` on; progress moves the deadline, waiting runs into it.
    fn bounded<T>(
        &mut self,
        poll: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            let idle = self.idle;
            self.deadline.as_mut().reset(Instant::now() + idle);
            return poll;
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bounded(poll, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(poll, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
