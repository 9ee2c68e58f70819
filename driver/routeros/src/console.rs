//! The narrow transport under the client: one script out, its printed text back.
//!
//! A console never interprets what it carries. It says whether the script may have
//! reached the device, because that decides between "nothing happened" and "nobody
//! knows what happened".

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::kind::{Failure, Kind};
use tokio::time::Instant;

use crate::command::{Dialect, Script};
use crate::rds::LinkState;
use crate::ssh::ConnectError;

/// What the device printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output and error as they came, bytes that are no UTF-8 replaced.
    pub text: String,
    /// How the script was rendered, hence how the text reads.
    pub dialect: Dialect,
    /// When the script was sent.
    pub began: Instant,
}

/// A RouterOS console.
#[async_trait]
pub trait Console: Send + Sync + std::fmt::Debug {
    /// Runs one script. Scripts run one after another, those of the same `key` in order
    /// and different keys in turn. A caller that goes away does not stop a script that
    /// was already sent.
    async fn exec(&self, script: Script, key: Option<&str>) -> Result<Output, ConsoleError>;

    /// What is known of the connection.
    fn link(&self) -> LinkState;

    /// The device's address, for messages.
    fn device(&self) -> &str;
}

/// Why there is no output.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsoleError {
    /// There is no session and none could be opened. Nothing was sent.
    #[error("no session with {device}, next attempt in {:.1} s", .retry_in.as_secs_f64())]
    NoSession {
        /// The device's address.
        device: String,
        /// When the next attempt is due.
        retry_in: Duration,
        /// Why the last attempt failed.
        #[source]
        source: Arc<ConnectError>,
    },
    /// This process is shutting down. Nothing was sent.
    #[error("the connection to {device} is being shut down")]
    ShutDown {
        /// The device's address.
        device: String,
    },
    /// The connection ended while the script ran.
    #[error("the connection to {device} was lost while a command was under way ({reason})")]
    Lost {
        /// The device's address.
        device: String,
        /// How it showed.
        reason: String,
    },
    /// The script did not end in time; the connection was closed.
    #[error("{device} did not finish a command within {:.1} s", .after.as_secs_f64())]
    Deadline {
        /// The device's address.
        device: String,
        /// The time allowed.
        after: Duration,
    },
    /// The script printed without end; the connection was closed.
    #[error("{device} printed more than {limit} bytes for one command")]
    TooMuchOutput {
        /// The device's address.
        device: String,
        /// The bytes allowed.
        limit: usize,
    },
}

impl ConsoleError {
    /// Whether the script may have reached the device.
    #[must_use]
    pub const fn was_sent(&self) -> bool {
        match self {
            Self::NoSession { .. } | Self::ShutDown { .. } => false,
            Self::Lost { .. } | Self::Deadline { .. } | Self::TooMuchOutput { .. } => true,
        }
    }
}

impl Failure for ConsoleError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoSession { source, .. } => source.kind(),
            Self::Deadline { .. } => Kind::Timeout,
            Self::ShutDown { .. } | Self::Lost { .. } | Self::TooMuchOutput { .. } => {
                Kind::Unreachable
            }
        }
    }
}
