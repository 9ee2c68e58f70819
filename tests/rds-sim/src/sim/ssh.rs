//! The SSH server: exec channels without a terminal, for one user with a known key.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use crate::fault::{Harm, Moment};
use crate::model::Output;
use crate::variants::ExtraExec;

/// Bytes of one message of an answer.
const CHUNK: usize = 16 * 1024;

/// Most bytes of an endless answer: enough for any reader's limit.
const ENDLESS: usize = 256 * 1024 * 1024;

/// Accepts connections until `cancel`.
pub(super) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    key: PrivateKey,
    tasks: TaskTracker,
    cancel: CancellationToken,
) {
    let idle = shared.model().variants().idle_seconds;
    let config = Arc::new(russh::server::Config {
        keys: vec![key],
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: (idle > 0).then(|| Duration::from_secs(idle)),
        nodelay: true,
        ..russh::server::Config::default()
    });
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some((number, cut)) = shared.connect() else {
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small packets may be delayed");
        }
        let connection = Connection {
            shared: Arc::clone(&shared),
            number,
            cut: cut.clone(),
            running: Arc::new(AtomicU64::new(0)),
            tasks: tasks.clone(),
        };
        let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
        tasks.spawn(async move {
            let stream = Cuttable {
                stream,
                ended: Box::pin(cut.clone().cancelled_owned()),
                cut: cut.clone(),
            };
            let session = async {
                match russh::server::run_stream(config, stream, connection).await {
                    Ok(session) => session.await,
                    Err(error) => Err(error),
                }
            };
            tokio::select! {
                () = cut.cancelled() => {}
                ended = session => if let Err(error) = ended {
                    tracing::debug!(%error, number, "connection ended");
                }
            }
            cut.cancel();
            shared.disconnect(number);
        });
    }
}

/// A stream that ends for both sides when it is cut.
#[derive(Debug)]
struct Cuttable {
    stream: TcpStream,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: CancellationToken,
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return reset();
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cut.is_cancelled() {
            return reset();
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// One connection.
#[derive(Debug)]
struct Connection {
    shared: Arc<Shared>,
    number: u64,
    cut: CancellationToken,
    running: Arc<AtomicU64>,
    tasks: TaskTracker,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let known = |known: &russh::keys::PublicKey| known.key_data() == key.public_key.key_data();
        if user == self.shared.user && self.shared.keys.iter().any(known) {
            self.shared.logins.fetch_add(1, Ordering::SeqCst);
            Ok(Auth::Accept)
        } else {
            Ok(Auth::reject())
        }
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let (limit, extra) = {
            let model = self.shared.model();
            let variants = model.variants();
            (variants.execs_per_connection, variants.extra_exec)
        };
        let many = limit > 0 && self.running.load(Ordering::SeqCst) >= limit;
        if many && extra == ExtraExec::Refuse {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        if many {
            return Ok(());
        }
        self.running.fetch_add(1, Ordering::SeqCst);
        let execution = Execution {
            shared: Arc::clone(&self.shared),
            handle: session.handle(),
            channel,
            cut: self.cut.clone(),
        };
        let script = String::from_utf8_lossy(data).into_owned();
        let (number, running, cut) = (self.number, Arc::clone(&self.running), self.cut.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = execution.run(number, &script) => {}
            }
            running.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }
}

/// One script on one channel.
struct Execution {
    shared: Arc<Shared>,
    handle: Handle,
    channel: ChannelId,
    cut: CancellationToken,
}

impl Execution {
    async fn run(&self, number: u64, script: &str) {
        let harm = self.shared.receive(number, script);
        tokio::time::sleep(self.shared.latency()).await;
        match harm {
            None => {
                let output = self.effect(script, None).await;
                self.answer(&output.stdout, output.status).await;
            }
            Some(Harm::Cut(moment)) => self.cut(moment, script).await,
            Some(Harm::Hang { effect }) => {
                if effect {
                    self.effect(script, None).await;
                }
                std::future::pending::<()>().await;
            }
            Some(Harm::Truncate { bytes }) => {
                let output = self.effect(script, None).await;
                let part = &output.stdout[..bytes.min(output.stdout.len())];
                self.answer(part, output.status).await;
            }
            Some(Harm::Endless) => {
                let output = self.effect(script, None).await;
                self.endless(&output.stdout).await;
            }
            Some(Harm::Garbage) => {
                let output = self.effect(script, None).await;
                let garbage: Vec<u8> = (0..=255_u8).rev().cycle().take(1000).collect();
                self.answer(&garbage, output.status).await;
            }
            Some(Harm::Slow { ms }) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                let output = self.effect(script, None).await;
                self.answer(&output.stdout, output.status).await;
            }
            Some(Harm::Denied) => self.answer(b"not enough permissions (9)\r\n", 0).await,
        }
    }

    /// Lets the script take effect, and waits as long as it asks to. The effect comes
    /// before the wait: a `:delay` never moves later statements.
    async fn effect(&self, script: &str, budget: Option<usize>) -> Output {
        let output = self.shared.model().exec_statements(script, budget);
        tokio::time::sleep(output.delay).await;
        output
    }

    async fn cut(&self, moment: Moment, script: &str) {
        match moment {
            Moment::Before => {}
            Moment::AfterStatements(count) => {
                self.effect(script, Some(count)).await;
            }
            Moment::After => {
                self.effect(script, None).await;
            }
            Moment::MidAnswer => {
                let output = self.effect(script, None).await;
                self.send(&output.stdout[..output.stdout.len() / 2]).await;
                // The session's task writes; let it, so that half an answer does arrive.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.cut.cancel();
    }

    async fn send(&self, bytes: &[u8]) -> bool {
        for chunk in bytes.chunks(CHUNK) {
            if self
                .handle
                .data(self.channel, chunk.to_vec())
                .await
                .is_err()
            {
                return false;
            }
        }
        true
    }

    async fn endless(&self, answer: &[u8]) {
        let line = if answer.is_empty() { b"\r\n" } else { answer };
        let chunk: Vec<u8> = line.iter().copied().cycle().take(CHUNK).collect();
        let mut sent = 0;
        while sent < ENDLESS && self.send(&chunk).await {
            sent += chunk.len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn answer(&self, bytes: &[u8], status: u32) {
        let sent = self.send(bytes).await
            && self
                .handle
                .exit_status_request(self.channel, status)
                .await
                .is_ok()
            && self.handle.eof(self.channel).await.is_ok()
            && self.handle.close(self.channel).await.is_ok();
        if !sent {
            tracing::debug!("the connection ended before its answer");
        }
    }
}
