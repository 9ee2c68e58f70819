//! The SSH server: exec channels without a terminal, for one user with a known key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use crate::variants::ExtraExec;

mod execution;
mod stream;

use execution::Execution;
use stream::Cuttable;

/// Accepts connections until `cancel`.
pub(super) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    key: PrivateKey,
    tasks: TaskTracker,
    cancel: CancellationToken,
) {
    let idle = shared.model().variants().idle_seconds;
    let config = Arc::new(Config {
        keys: vec![key],
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: (idle > 0).then(|| Duration::from_secs(idle)),
        nodelay: true,
        ..Config::default()
    });
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => accept(&shared, &config, stream, &tasks),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one connection in a task of its own, unless it must be refused: it is then closed.
fn accept(shared: &Arc<Shared>, config: &Arc<Config>, stream: TcpStream, tasks: &TaskTracker) {
    let Some((number, cut)) = shared.connect() else {
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small packets may be delayed");
    }
    let connection = Connection {
        shared: Arc::clone(shared),
        number,
        cut: cut.clone(),
        running: Arc::new(AtomicU64::new(0)),
        tasks: tasks.clone(),
    };
    let (config, shared) = (Arc::clone(config), Arc::clone(shared));
    tasks.spawn(async move {
        let stream = Cuttable::new(stream, cut.clone());
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
