//! The next step towards an unstaged volume on a node.
//!
//! A session is ended only if it is proved ours and nobody holds its device; nothing
//! that the node remembers is needed for that proof.

use crate::kind::{Failure, Kind};
use crate::nqn::Nqn;
use crate::nvme::{Controller, Subsystem};

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
    #[error(
        "{nqn} is connected as {found}, not by this driver; it is not disconnected. Make sure on the node that nobody uses it, then run: nvme disconnect -n {nqn}"
    )]
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
/// A session is ours if it was opened under `host`, an identity that only this driver
/// uses, or, where it does not say its name, if the record has the volume. One of
/// somebody else's is left alone, and so is one of ours beside it: they lead to one
/// device. `holders_known` says whether
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
    if let Some(found) = not_ours(subsystem, host, staged.recorded) {
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

/// Under whose name a session was opened that is not ours to end.
fn not_ours(subsystem: &Subsystem, host: &Nqn, recorded: bool) -> Option<String> {
    let nameless = |controller: &Controller| controller.host_nqn.is_none();
    match subsystem.stranger(host) {
        Some(stranger) => Some(stranger.to_owned()),
        None if !recorded && subsystem.controllers.iter().any(nameless) => {
            Some("an unknown host".to_owned())
        }
        None => None,
    }
}
