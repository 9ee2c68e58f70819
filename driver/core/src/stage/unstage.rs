//! The next step towards an unstaged volume on a node.
//!
//! A session is ended only if it is proved ours and nobody holds its device; nothing
//! that the node remembers is needed for that proof.

use crate::kind::{Failure, Kind};
use crate::nqn::Nqn;
use crate::nvme::Subsystem;

/// What a look at the node showed of a volume to unstage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Staged {
    /// How many mounts lie at the staging path.
    pub mounts: usize,
    /// The volume's subsystem, where the kernel knows one of exactly its NQN.
    pub subsystem: Option<Subsystem>,
    /// Whether this driver's record of sessions has the volume.
    pub recorded: bool,
    /// Who else uses the device: mount points, block devices, swap. Asked only once
    /// nothing is mounted at the staging path.
    pub holders: Vec<String>,
}

/// One step of unstaging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnstageStep {
    /// Remove the topmost mount at the staging path.
    Unmount,
    /// Ask who holds the device.
    AskHolders,
    /// End the session and wait until its controllers are gone.
    Disconnect,
    /// Take the volume out of the record.
    Forget,
}

/// Why a volume is not unstaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnstageError {
    /// Somebody uses the device.
    #[error("{nqn} is still in use by {}; it is not disconnected", holders.join(", "))]
    Held {
        /// The subsystem.
        nqn: Nqn,
        /// By whom.
        holders: Vec<String>,
    },
    /// A session that this driver did not open.
    #[error("{nqn} is connected as {found}, not by this driver; it is not disconnected")]
    NotOurs {
        /// The subsystem.
        nqn: Nqn,
        /// Under which host NQN.
        found: String,
    },
}

impl Failure for UnstageError {
    fn kind(&self) -> Kind {
        Kind::Conflict
    }
}

/// The next step of unstaging; `None` once nothing of the volume is left.
///
/// A session is ours if the record has the volume or if it was opened under `host`, an
/// identity that only this driver uses. `holders_known` says whether
/// [`Staged::holders`] has been asked for since the last change.
pub fn next_unstage(
    staged: &Staged,
    nqn: &Nqn,
    host: &Nqn,
    holders_known: bool,
) -> Result<Option<UnstageStep>, UnstageError> {
    if staged.mounts > 0 {
        return Ok(Some(UnstageStep::Unmount));
    }
    let forget = staged.recorded.then_some(UnstageStep::Forget);
    let Some(subsystem) = staged
        .subsystem
        .as_ref()
        .filter(|subsystem| !subsystem.controllers.is_empty())
    else {
        return Ok(forget);
    };
    let other = subsystem
        .controllers
        .iter()
        .find(|controller| controller.host_nqn.as_deref() != Some(host.as_str()));
    if let (Some(other), false) = (other, staged.recorded) {
        let found = other
            .host_nqn
            .clone()
            .unwrap_or_else(|| "an unknown host".to_owned());
        return Err(UnstageError::NotOurs {
            nqn: nqn.clone(),
            found,
        });
    }
    if !holders_known {
        return Ok(Some(UnstageStep::AskHolders));
    }
    if !staged.holders.is_empty() {
        return Err(UnstageError::Held {
            nqn: nqn.clone(),
            holders: staged.holders.clone(),
        });
    }
    Ok(Some(UnstageStep::Disconnect))
}
