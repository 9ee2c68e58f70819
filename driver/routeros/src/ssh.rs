//! The SSH connection to the device: one task that owns it and runs one command at a time.
//!
//! ```text
//!  callers ──▶ queue (turns by volume) ──▶ task ──▶ session ──▶ device
//!                                           │ deadline, too much output,
//!                                           ▼ loss: the session is closed
//!                                  next command: connect again
//!                                  connect failed: back off 1 s … 30 s,
//!                                  callers meanwhile get the reason at once
//! ```
//!
//! One command at a time, because a device was seen to hang when a connection carried
//! more. No terminal is asked for: that would add colours and cursor movements, and the
//! width of a listing cannot be set reliably without one. The device proves itself by a
//! pinned key or is not talked to; there is no trust on first use and no way around.
//! The user's key is read from its file at each connect and held no longer than that.
//! This is the only module that knows the SSH library.

mod backoff;
mod host_key;
mod link;
mod probe;
mod queue;
mod session;
mod task;
mod user_key;

use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::kind::{Failure, Kind};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use host_key::{HostKey, HostKeyError};
pub use probe::{OLDEST_VERSION, Version};
pub use user_key::UserKeyError;

use crate::command::Script;
use crate::config::RdsConfig;
use crate::console::{Console, ConsoleError, Output};
use crate::failure::FailureKind;
use crate::rds::LinkState;
use crate::reply::ReplyError;
use link::Link;
use queue::Job;
use task::Task;

/// How many commands may wait for the task to take them over.
const WAITING: usize = 256;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("connecting")]
    Dial {
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("connecting took longer than {:.1} s", .0.as_secs_f64())]
    Deadline(Duration),
    /// Something that is not the pinned device answered. Nothing was said to it.
    #[error(
        "WRONG HOST KEY: the device offers {offered}, pinned are {pinned}; if the device's key was \
         exchanged on purpose, pin the new one as well, else somebody is in between"
    )]
    WrongHostKey {
        /// The fingerprint that was offered.
        offered: String,
        /// The fingerprints that are pinned.
        pinned: String,
    },
    /// The user's key cannot be used.
    #[error("the key of user {user:?}")]
    UserKey {
        /// The user.
        user: String,
        /// What is wrong with the file.
        #[source]
        source: UserKeyError,
    },
    /// The device does not let this user in with this key.
    #[error(
        "user {user:?} with key {fingerprint} was rejected; the device needs the key imported for \
         that user (/user ssh-keys) and the policy ssh in the user's group"
    )]
    Rejected {
        /// The user.
        user: String,
        /// The fingerprint of the public half.
        fingerprint: String,
    },
    /// The protocol failed.
    #[error("opening the SSH session: {reason}")]
    Protocol {
        /// What the SSH library says.
        reason: String,
    },
    /// The first command, which asks for the version, did not work.
    #[error("asking for the version")]
    Probe {
        /// Why there is no answer.
        #[source]
        source: ConsoleError,
    },
    /// The answer to the first command cannot be read.
    #[error("reading the version")]
    Version {
        /// Why not.
        #[source]
        source: ReplyError,
    },
    /// The device complained about the first command.
    #[error("asking for the version, the device answered {message:?}")]
    Complaint {
        /// Its words.
        message: String,
        /// What they mean.
        kind: FailureKind,
    },
    /// The device is too old.
    #[error("RouterOS {version} cannot be told the NQN of a volume; {OLDEST_VERSION} can")]
    TooOld {
        /// What it calls itself.
        version: String,
    },
}

impl Failure for ConnectError {
    /// A wrong host key is `Unreachable`: the device itself was not asked, and whoever is
    /// in between must not be able to make the orchestrator forget a volume.
    fn kind(&self) -> Kind {
        match self {
            Self::Rejected { .. }
            | Self::Complaint {
                kind: FailureKind::Denied,
                ..
            } => Kind::Denied,
            Self::TooOld { .. } => Kind::Unsupported,
            Self::Deadline(_) => Kind::Timeout,
            Self::Dial { .. }
            | Self::WrongHostKey { .. }
            | Self::UserKey { .. }
            | Self::Protocol { .. }
            | Self::Probe { .. }
            | Self::Version { .. }
            | Self::Complaint { .. } => Kind::Unreachable,
        }
    }
}

/// The console of a device over SSH. Dropping it ends its task and its connection.
#[derive(Debug)]
pub struct SshConsole {
    device: String,
    jobs: mpsc::Sender<Job>,
    link: Link,
}

impl SshConsole {
    /// Starts the task on `tracker`; it connects in the background and ends with
    /// `token`, after the command that is under way then.
    #[must_use]
    pub fn start(config: RdsConfig, tracker: &TaskTracker, token: CancellationToken) -> Self {
        let (jobs, receiver) = mpsc::channel(WAITING);
        let link = Link::default();
        let device = config.address.to_string();
        tracker.spawn(Task::new(config, receiver, link.clone(), token).run());
        Self { device, jobs, link }
    }
}

#[async_trait]
impl Console for SshConsole {
    async fn exec(&self, script: Script, key: Option<&str>) -> Result<Output, ConsoleError> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            script,
            key: key.map(str::to_owned),
            reply,
        };
        let ended = || ConsoleError::ShutDown {
            device: self.device.clone(),
        };
        self.jobs.send(job).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    fn link(&self) -> LinkState {
        self.link.state()
    }

    fn device(&self) -> &str {
        &self.device
    }
}
