//! Why the cluster could not be read or changed. Never says what a Secret holds.

use rds_csi_core::kind::{Failure, Kind};

use super::TIMEOUT;

/// Why the cluster could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The API server said no.
    #[error("{doing}: the API server answers {code}: {message}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// HTTP's.
        code: u16,
        /// Its words.
        message: String,
    },
    /// No answer that proves anything.
    #[error("{doing}")]
    Unreachable {
        /// What was tried.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{doing}: no answer within {TIMEOUT:?}")]
    TimedOut {
        /// What was tried.
        doing: &'static str,
    },
    /// Somebody else wrote in between.
    #[error("{doing}: somebody else changed it in between")]
    Conflict {
        /// What was tried.
        doing: &'static str,
    },
    /// There is no Secret of this name.
    #[error(
        "there is no Secret {0:?}, and the webhook may not make it: `helm upgrade` and `helm rollback` bring it back, and an empty one will do"
    )]
    Absent(String),
    /// A Secret of this name belongs to somebody else.
    #[error(
        "the Secret {0:?} holds something that is not the webhook's: name another, or empty it"
    )]
    Foreign(String),
    /// A configuration of this name has webhooks of somebody else.
    #[error(
        "the ValidatingWebhookConfiguration {0:?} calls another service than the webhook's: name another, or delete it"
    )]
    ForeignConfiguration(String),
    /// The answer is no Secret.
    #[error("{doing}: the answer cannot be read")]
    Malformed {
        /// What was tried.
        doing: &'static str,
    },
}

impl Failure for ClusterError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused {
                code: 401 | 403, ..
            } => Kind::Denied,
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Malformed { .. } => {
                Kind::Unreachable
            }
            Self::Absent(_) => Kind::NotFound,
            Self::TimedOut { .. } => Kind::Timeout,
            Self::Conflict { .. } => Kind::Busy,
            Self::Foreign(_) | Self::ForeignConfiguration(_) => Kind::Conflict,
        }
    }
}
