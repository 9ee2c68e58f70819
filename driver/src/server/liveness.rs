//! Whether the process serves: it asks itself.
//!
//! The question goes the way that kubelet's and the sidecars' go: a new connection to
//! the CSI socket, one Identity.Probe, an answer in time. Probe asks nobody else, no
//! device and no volume, so what fails here is mended by a new process and by nothing
//! else; nothing may be asked here of which that is not true.

use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::v1::ProbeRequest;
use csi_proto::v1::identity_client::IdentityClient;
use hyper_util::rt::TokioIo;
use rds_csi_core::kind::{Failure, Kind};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

/// How long an answer may take. A healthy process needs a millisecond; the rest is for
/// a machine that has no time for it: to end a process there makes it busier still.
const LIMIT: Duration = Duration::from_secs(5);

/// Why the process does not count as alive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Nobody listens.
    #[error("connecting to the CSI socket {socket:?}")]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
    /// There is a listener and an error.
    #[error("Probe on the CSI socket {socket:?}")]
    Probe {
        /// The socket.
        socket: PathBuf,
        /// The error.
        #[source]
        source: Box<tonic::Status>,
    },
    /// It hangs.
    #[error("the CSI socket {socket:?} gave no answer within {LIMIT:?}")]
    TimedOut {
        /// The socket.
        socket: PathBuf,
    },
}

impl Failure for NoAnswer {
    fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Probe { .. } => Kind::Unreachable,
            Self::TimedOut { .. } => Kind::Timeout,
        }
    }
}

/// The question, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Liveness {
    socket: PathBuf,
    stop: CancellationToken,
}

impl Liveness {
    /// Of the process that serves CSI on `socket` until `stop`.
    pub(crate) fn new(socket: &Path, stop: &CancellationToken) -> Self {
        Self {
            socket: socket.to_owned(),
            stop: stop.clone(),
        }
    }

    /// An error where the process does not answer. A process that is shutting down has
    /// closed its socket and counts as alive: its end is bounded already.
    pub(crate) async fn ask(&self) -> Result<(), NoAnswer> {
        let answer = tokio::time::timeout(LIMIT, self.probe()).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(NoAnswer::TimedOut {
                socket: self.socket.clone(),
            })
        });
        if self.stop.is_cancelled() {
            Ok(())
        } else {
            answer
        }
    }

    async fn probe(&self) -> Result<(), NoAnswer> {
        let socket = self.socket.clone();
        let connect = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is a form that must be kept; the connector knows the way.
        let channel = Endpoint::from_static("http://csi")
            .connect_with_connector(connect)
            .await
            .map_err(|source| NoAnswer::Connect {
                socket: self.socket.clone(),
                source,
            })?;
        let probe = IdentityClient::new(channel).probe(ProbeRequest {}).await;
        // Readiness is another question: it is not looked at.
        probe.map(drop).map_err(|source| NoAnswer::Probe {
            socket: self.socket.clone(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    #[tokio::test]
    async fn a_socket_without_a_listener_is_told_at_once() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("csi.sock");
        let liveness = Liveness::new(&path, &CancellationToken::new());
        for _ in 0..2 {
            let error = liveness.ask().await.unwrap_err();
            assert!(matches!(error, NoAnswer::Connect { .. }), "{error:?}");
            // And the same where a process died without removing it.
            drop(UnixListener::bind(&path));
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_told_within_the_limit() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("csi.sock");
        // The kernel takes connections for it; nobody ever reads them.
        let _hanging = UnixListener::bind(&path).unwrap();
        let liveness = Liveness::new(&path, &CancellationToken::new());
        tokio::time::pause();
        let error = liveness.ask().await.unwrap_err();
        assert!(matches!(error, NoAnswer::TimedOut { .. }), "{error:?}");
    }

    #[test]
    fn the_help_says_how_long_an_answer_may_take() {
        let limit = format!("within {} seconds)", LIMIT.as_secs());
        for role in Cli::command().get_subcommands() {
            let help = role.get_after_help().unwrap().to_string();
            assert!(help.contains(&limit), "{help}");
        }
    }

    #[tokio::test]
    async fn an_orderly_end_is_no_death() {
        let stop = CancellationToken::new();
        stop.cancel();
        let gone = Liveness::new(Path::new("/nowhere/csi.sock"), &stop);
        gone.ask().await.unwrap();
    }
}
