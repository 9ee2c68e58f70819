//! Fencing at the array: how a node that may still write loses a volume for good.
//!
//! A VolumeAttachment may go although nobody knows that its node has let go: a person said
//! that its machine is off, or removed the node, or the attachment itself. If the machine
//! runs on all the same, its kernel has a session, or waits for the device to open one again.
//! So before the next node gets the volume, the export is ended and offered anew under a name
//! of another [`Epoch`]: every session ends with the old export, and whoever was not told the
//! new name cannot connect.
//!
//! That needs nothing but what is documented of RouterOS, and the device's own order of
//! events. It is never done while another node has the volume, as its session would end, too:
//! a live migration goes on, and what is left of the lost node is settled when the volume is
//! next attached to one node alone. For the machine itself that an entry is of nothing is done:
//! its kernel is one, and a pod may be running on the session. That it is the same must be
//! known ([`NodeIdentity`]): one that only has the name of the lost one shuts it out like any
//! other. And nobody is shut out for an attachment that no pod wants any more
//! ([`Observations::is_wanted`](super::observation::Observations::is_wanted)): the lost node
//! may be back with a pod on what was left to it.
//!
//! An entry without a node is of an earlier release, which kept those too that had let go; it
//! says nothing.

use std::fmt;
use std::str::FromStr;

use super::grant::{Entry, Observed, Record};
use super::identity::NodeIdentity;
use crate::kind::{Failure, Kind};
use crate::nqn::Epoch;

/// Whether the array fences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fencing {
    /// Nothing is done.
    Off,
    /// What would be done is told and counted.
    Record,
    /// A volume is not attached to the next node before the lost one is shut out.
    #[default]
    Enforce,
}

impl Fencing {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Record, Self::Enforce];

    /// Its name in flags.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Record => "record",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Fencing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no mode of fencing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fencing {0:?} is unknown: off, record or enforce")]
pub struct FencingError(String);

impl Failure for FencingError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for Fencing {
    type Err = FencingError;

    fn from_str(text: &str) -> Result<Self, FencingError> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| FencingError(text.chars().take(32).collect()))
    }
}

/// What is to be done about nodes that a volume was taken from and that may still write,
/// before another one may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// Nothing: there are none.
    Clear,
    /// The record is to be cleaned of what needs no fence: entries of nodes that have let go,
    /// and of the machine itself.
    Clean(Record),
    /// The export is to begin this epoch; then this record is to be written.
    Due {
        /// The epoch.
        epoch: Epoch,
        /// The record without the lost nodes.
        record: Record,
        /// Who is shut out.
        lost: Vec<Lost>,
    },
    /// A node may be on the export, which therefore cannot be ended.
    InUse {
        /// Who would be shut out.
        lost: Vec<Lost>,
    },
    /// Another node was granted the volume and is to be waited for: shutting the lost one
    /// out is on its way.
    Underway {
        /// The other node.
        node: String,
    },
}

impl Fence {
    /// Who would be shut out, where somebody would.
    #[must_use]
    pub fn lost(&self) -> Option<&[Lost]> {
        match self {
            Self::Due { lost, .. } | Self::InUse { lost } => Some(lost),
            Self::Clear | Self::Clean(_) | Self::Underway { .. } => None,
        }
    }
}

/// Who had a volume and was never known to let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The UID of the VolumeAttachment that is gone.
    pub attachment: String,
    /// The node.
    pub node: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)
    }
}

impl Observed<'_> {
    /// What is due before `node`, to which the volume was granted in this record, may use it;
    /// `identity` is who it is. Once it is done and its record written, nothing is due any more.
    #[must_use]
    pub fn fence(&self, node: &str, identity: Option<NodeIdentity>) -> Fence {
        let gone = self.gone();
        if gone.is_empty() {
            return Fence::Clear;
        }
        let record = self.pruned();
        let is_itself = |entry: &Entry| {
            let both = entry.identity.zip(identity);
            entry.node.as_deref() == Some(node)
                && both.is_some_and(|(then, now)| then.is_machine_of(now))
        };
        let lost: Vec<Lost> = gone
            .into_iter()
            .filter(|(_, entry)| !entry.released && !is_itself(entry))
            .filter_map(|(uid, entry)| {
                let attachment = uid.to_owned();
                let node = entry.node.clone()?;
                Some(Lost { attachment, node })
            })
            .collect();
        if lost.is_empty() {
            return Fence::Clean(record);
        }
        let standing = self.standing();
        let mut others = standing
            .iter()
            .filter(|found| found.attachment.node != node && found.holds());
        if let Some(other) = others.find(|other| !other.attachment.attached) {
            let node = other.attachment.node.clone();
            return Fence::Underway { node };
        }
        let is_used = standing.iter().any(|found| found.attachment.attached);
        if is_used {
            return Fence::InUse { lost };
        }
        match self.epoch(node, &lost) {
            Some(epoch) => Fence::Due {
                epoch,
                record,
                lost,
            },
            None => Fence::InUse { lost },
        }
    }

    /// The epoch that an export begins which has ended although nobody is to be shut out: a
    /// renewal was cut short, and whoever it was for is gone. `None` while a node is on it.
    #[must_use]
    pub fn restart(&self, node: &str) -> Option<Epoch> {
        let is_used = self.attachments.iter().any(|found| found.attached);
        self.epoch(node, &[]).filter(|_| !is_used)
    }

    /// The epoch of an attachment to a node, by the UIDs of those that it shuts out: another
    /// one if it is to shut out others.
    fn epoch(&self, node: &str, lost: &[Lost]) -> Option<Epoch> {
        let own = self.attachments_of(node).next()?;
        let mut begins = vec![own.uid.as_str()];
        begins.extend(lost.iter().map(|lost| lost.attachment.as_str()));
        Some(Epoch::of(&begins.join(" ")))
    }

    /// The record without what is of no attachment any more.
    #[must_use]
    pub fn pruned(&self) -> Record {
        self.record
            .without(self.gone().into_iter().map(|(uid, _)| uid))
    }

    fn gone(&self) -> Vec<(&str, &Entry)> {
        let is_gone = |uid: &str| self.attachments.iter().all(|found| found.uid != uid);
        let entries = self.record.entries();
        entries.filter(|(uid, _)| is_gone(uid)).collect()
    }
}

#[cfg(test)]
mod tests;
