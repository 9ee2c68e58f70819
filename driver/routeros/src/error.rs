//! Why the device did not do, or did not show, what was asked.
//!
//! The kind follows one rule: whoever cannot exclude that something changed on the
//! device says `Unreachable` or `Timeout`, and the caller looks again.

use rds_csi_core::appliance::{Step, VolumeState};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::volume_id::VolumeId;

use crate::command::QuoteError;
use crate::console::ConsoleError;
use crate::failure::FailureKind;
use crate::reply::ReplyError;

/// A failed call of [`Rds`](crate::rds::Rds).
#[derive(Debug, Clone, thiserror::Error)]
pub enum RdsError {
    /// A value cannot be written as a command; nothing was sent.
    #[error("writing the command for {what}")]
    Unwritable {
        /// What was to be asked.
        what: String,
        /// Which value, and why.
        #[source]
        source: QuoteError,
    },
    /// Nothing was read, and nothing was to be changed.
    #[error("reading {what} from {device}")]
    Read {
        /// What was to be read.
        what: String,
        /// The device's address.
        device: String,
        /// Why there is no reading.
        #[source]
        source: AnswerError,
    },
    /// The steps never left this process.
    #[error("{steps} for volume {id} on {device} was not sent")]
    NotSent {
        /// The volume.
        id: VolumeId,
        /// The steps, in words.
        steps: String,
        /// The device's address.
        device: String,
        /// Why not.
        #[source]
        source: ConsoleError,
    },
    /// The steps were sent and nobody knows which of them happened: read the volume
    /// before anything is sent again.
    #[error("{steps} for volume {id} on {device} has an unknown outcome")]
    OutcomeUnknown {
        /// The volume.
        id: VolumeId,
        /// The steps, in words.
        steps: String,
        /// The device's address.
        device: String,
        /// What is missing to know it.
        #[source]
        source: AnswerError,
    },
    /// The device refused a step, and the volume was read afterwards.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

/// A step that the device refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{device} refused to {} volume {id}{}: {message:?}",
    word(.step),
    if *.index == 0 { "" } else { " after the steps before it" }
)]
pub struct Refusal {
    /// The device's address.
    pub device: String,
    /// The volume.
    pub id: VolumeId,
    /// The step.
    pub step: Step,
    /// Its place among the steps; those before it happened.
    pub index: usize,
    /// The device's words.
    pub message: String,
    /// What they mean.
    pub kind: FailureKind,
    /// The volume as read after the refusal.
    pub state: VolumeState,
}

impl Refusal {
    /// Whether something of these steps may be left on the device: an earlier step
    /// happened, an addition was refused and yet there is an item or a file, or a renewal,
    /// which is several changes, was refused somewhere.
    #[must_use]
    pub fn may_have_changed_something(&self) -> bool {
        let traces = self.state.item.is_some() || self.state.file_exists;
        let parted = match self.step {
            Step::Add { .. } => traces,
            Step::Renew { .. } => true,
            _ => false,
        };
        self.index > 0 || parted
    }
}

impl Failure for Refusal {
    fn kind(&self) -> Kind {
        if self.may_have_changed_something() {
            return Kind::Unreachable;
        }
        match self.kind {
            FailureKind::NotFound if self.state.item.is_some() => Kind::Conflict,
            FailureKind::NotFound => Kind::NotFound,
            FailureKind::Exists => Kind::Exists,
            FailureKind::NoSpace => Kind::Exhausted,
            FailureKind::Busy => Kind::Busy,
            FailureKind::Denied => Kind::Denied,
            FailureKind::Syntax => Kind::Unsupported,
            FailureKind::Invalid => Kind::Invalid,
            FailureKind::Unknown => Kind::Unreachable,
        }
    }
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AnswerError {
    /// There is no whole answer.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// The answer cannot be read.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The device complained instead of answering.
    #[error("the device answered {message:?}")]
    Complaint {
        /// Its words.
        message: String,
        /// What they mean.
        kind: FailureKind,
    },
}

impl Failure for AnswerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Console(source) => source.kind(),
            Self::Complaint {
                kind: FailureKind::Denied,
                ..
            } => Kind::Denied,
            Self::Reply(_) | Self::Complaint { .. } => Kind::Unreachable,
        }
    }
}

impl RdsError {
    /// The refusal, where the device refused a step.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl Failure for RdsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unwritable { .. } => Kind::Invalid,
            Self::Read { source, .. } => source.kind(),
            Self::NotSent { source, .. } => source.kind(),
            Self::OutcomeUnknown { source, .. } => match source.kind() {
                Kind::Timeout => Kind::Timeout,
                _ => Kind::Unreachable,
            },
            Self::Refused(refusal) => refusal.kind(),
        }
    }
}

/// The verb of a step, for messages.
pub(crate) const fn word(step: &Step) -> &'static str {
    match step {
        Step::Add { .. } => "add",
        Step::Offer { .. } => "set the export properties of",
        Step::Allow { .. } => "set the hosts of",
        Step::Export => "export",
        Step::Unexport => "stop exporting",
        Step::Renew { .. } => "renew the export of",
        Step::Grow { .. } => "grow",
        Step::RemoveItem => "remove the disk item of",
        Step::RemoveFile => "remove the backing file of",
    }
}

#[cfg(test)]
mod tests;
