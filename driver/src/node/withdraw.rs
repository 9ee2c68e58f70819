//! Raw targets whose device is gone.
//!
//! A device node is a number, and the number of a device that is gone is given to the next
//! one, be it another volume or the machine's own disk: whoever then opens the target of
//! one volume writes into another. So before this driver makes a device, by connecting any
//! volume, every target whose number is not its volume's is taken away, and again after it,
//! because one may have been passed over. Each is written down first, and made anew once
//! its volume has a device again.

use rds_csi_core::kind::Chain;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::mounter::{PathState, Unmount};
use rds_csi_host::registry::{RawTarget, Session};
use std::path::Path;
use tracing::info;

use super::{Node, NodeError};

impl Node {
    /// Takes away every raw target whose number is not that of its volume's device. `held`
    /// is the volume whose guard the caller has; a volume that somebody else is working on
    /// is passed over. What cannot be taken away holds up nobody; it is returned in words.
    pub(super) async fn withdraw_stale_targets(&self, held: Option<&VolumeId>) -> Vec<String> {
        let targets = match self.registry.raw_targets().await {
            Ok(targets) => targets,
            Err(unread) => {
                let words = Chain(&unread);
                return vec![format!("which raw targets there are is not known: {words}")];
            }
        };
        let mut left = Vec::new();
        for target in targets {
            if let Err(failed) = self.withdraw_if_stale(&target, held).await {
                let RawTarget { volume, path, .. } = target;
                left.push(format!(
                    "the raw target {path:?} of volume {volume} is left, and its device may be gone: {}",
                    Chain(&failed)
                ));
            }
        }
        left
    }

    /// Takes away the raw targets of a volume that has no device and is about to be
    /// forgotten: nobody would know of them afterwards.
    pub(super) async fn withdraw_all(&self, session: &Session) -> Result<(), NodeError> {
        for target in session.raw_targets().into_iter().flatten() {
            if let PathState::Block(number) = self.host.path(&target).await? {
                self.take_away(&session.volume, &target, number).await?;
            }
        }
        Ok(())
    }

    async fn withdraw_if_stale(
        &self,
        target: &RawTarget,
        held: Option<&VolumeId>,
    ) -> Result<(), NodeError> {
        let RawTarget { volume, nqn, path } = target;
        if self.stale_number(path, nqn).await?.is_none() {
            return Ok(());
        }
        let _guard = match held {
            Some(held) if held == volume => None,
            _ => match self.locks.try_lock_unasked(volume.as_str()) {
                Ok(guard) => Some(guard),
                Err(_) => return Ok(()),
            },
        };
        // Once more: it may have been published anew meanwhile.
        let Some(number) = self.stale_number(path, nqn).await? else {
            return Ok(());
        };
        let Some(mut session) = self.registry.get(volume).await? else {
            return Ok(());
        };
        let Some(read_only) = session.targets.get(path).copied() else {
            return Ok(());
        };
        if self.is_of_this_boot(&session) {
            let waiting = session.recovery.get_or_insert_default();
            waiting.insert(path.clone(), read_only);
        } else {
            // Whoever wants it after a restart of the machine publishes it.
            session.targets.remove(path);
        }
        self.registry.record(&session).await?;
        self.take_away(volume, path, number).await
    }

    /// The number of the device node at the path, where it is not that of a device of the
    /// subsystem.
    async fn stale_number(
        &self,
        path: &Path,
        nqn: &Nqn,
    ) -> Result<Option<DeviceNumber>, NodeError> {
        let PathState::Block(number) = self.host.path(path).await? else {
            return Ok(None);
        };
        let owner = self.host.owner(number).await?;
        Ok((owner.as_deref() != Some(nqn.as_str())).then_some(number))
    }

    async fn take_away(
        &self,
        volume: &VolumeId,
        target: &Path,
        number: DeviceNumber,
    ) -> Result<(), NodeError> {
        if self.mounts_at(target).await?.is_empty() {
            self.host.remove_file(target).await?;
        } else {
            self.host.unmount(target, Unmount::Plain).await?;
        }
        info!(volume_id = %volume, target = %target.display(), %number, "raw target withdrawn: its device is gone");
        Ok(())
    }
}
