//! What is recorded of a session.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rds_csi_core::access::Access;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::VolumeContext;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Of which volume.
    pub volume: VolumeId,
    /// Its subsystem.
    pub nqn: Nqn,
    /// Where it was connected.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// The staging path, once the volume was staged.
    pub staged_at: Option<PathBuf>,
    /// How it was staged: enough to tell its device from another and to do it again.
    /// Absent until then, and where an older version of this driver staged it.
    pub staging: Option<Staging>,
    /// When it was recorded, in seconds since 1970.
    pub opened: u64,
    /// The targets at which the volume is published as a raw device or read-only, and
    /// whether each is read-only. Written before a target is made, so one here may not exist.
    pub targets: BTreeMap<PathBuf, bool>,
    /// The targets that are to get the volume's new device, after the one that they had
    /// was lost, and whether each is read-only. Written before anything of the old one is
    /// taken away, and absent again once every target has the new one.
    pub recovery: Option<BTreeMap<PathBuf, bool>>,
}

impl Session {
    /// The targets at which it is published as a raw device, if there are any.
    #[must_use]
    pub fn raw_targets(&self) -> Option<BTreeSet<PathBuf>> {
        let is_raw = self.staging.as_ref()?.access.is_block();
        (is_raw && !self.targets.is_empty()).then(|| self.targets.keys().cloned().collect())
    }

    /// How the volume was staged, if that was in this boot of the machine.
    #[must_use]
    pub fn staging_in(&self, boot: &str) -> Option<&Staging> {
        self.staging.as_ref().filter(|staging| staging.boot == boot)
    }

    /// Takes a target out; whether it was there.
    pub fn forget_target(&mut self, target: &Path) -> bool {
        let recorded = self.targets.remove(target).is_some();
        let waiting = self.recovery.as_mut();
        waiting.is_some_and(|targets| targets.remove(target).is_some()) || recorded
    }
}

/// A recorded target of a raw device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTarget {
    /// Of which volume.
    pub volume: VolumeId,
    /// The volume's subsystem.
    pub nqn: Nqn,
    /// Where.
    pub path: PathBuf,
}

/// How a volume was staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// In which boot of the machine (`/proc/sys/kernel/random/boot_id`): after another
    /// one nothing of it is left.
    pub boot: String,
    /// For which access.
    pub access: Access,
    /// What the PersistentVolume said.
    pub context: VolumeContext,
    /// The namespace's size.
    pub size: Bytes,
    /// The namespace's identifier, where the kernel showed one.
    pub wwid: Option<String>,
}
