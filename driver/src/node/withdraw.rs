//! Raw targets whose device is gone.
//!
//! A device node is a number, and the number of a device that is gone is given to the next
//! one: whoever then opens the target of one volume writes into another. So before this
//! driver makes a device, by connecting any volume, every target whose number means nothing
//! is taken away, and after it every target of another volume that got the new number by
//! chance. Each is written down first, and made anew once its volume has a device again.

use rds_csi_core::kind::Chain;
use rds_csi_core::nvme::{DeviceNumber, Subsystem};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::mounter::{PathState, Unmount};
use std::path::Path;
use tracing::{error, info};

use super::{Node, NodeError};

impl Node {
    /// Takes away every raw target whose number is that of no device. `held` is the volume
    /// whose guard the caller has; a volume that somebody else is working on is passed
    /// over. What cannot be taken away holds up nobody; it is returned in words.
    pub(super) async fn withdraw_dead_targets(&self, held: Option<&VolumeId>) -> Vec<String> {
        self.withdraw(held, None).await
    }

    /// Takes away the raw targets of other volumes that have the number of this one's
    /// device, which was made just now.
    pub(super) async fn withdraw_namesakes(&self, held: &VolumeId, subsystem: &Subsystem) {
        for namespace in &subsystem.namespaces {
            for left in self.withdraw(Some(held), Some(namespace.number)).await {
                error!("{left}");
            }
        }
    }

    /// `new` is the number of the device of `held`, where it was made just now.
    async fn withdraw(&self, held: Option<&VolumeId>, new: Option<DeviceNumber>) -> Vec<String> {
        let targets = match self.registry.raw_targets().await {
            Ok(targets) => targets,
            Err(unread) => {
                let words = Chain(&unread);
                return vec![format!("which raw targets there are is not known: {words}")];
            }
        };
        let mut left = Vec::new();
        for (id, target) in targets {
            let withdrawn = async {
                let PathState::Block(number) = self.host.path(&target).await? else {
                    return Ok(());
                };
                let is_stale = match new {
                    Some(new) => new == number && held != Some(&id),
                    None => !self.host.exists(number).await?,
                };
                if is_stale {
                    self.withdraw_one(&id, &target, number, held).await?;
                }
                Ok::<_, NodeError>(())
            };
            if let Err(failed) = withdrawn.await {
                left.push(format!(
                    "the raw target {target:?} of volume {id} is left, and its device may be gone: {}",
                    Chain(&failed)
                ));
            }
        }
        left
    }

    async fn withdraw_one(
        &self,
        id: &VolumeId,
        target: &Path,
        number: DeviceNumber,
        held: Option<&VolumeId>,
    ) -> Result<(), NodeError> {
        let _guard = match held {
            Some(held) if held == id => None,
            _ => match self.locks.try_lock(id.as_str()) {
                Ok(guard) => Some(guard),
                Err(_) => return Ok(()),
            },
        };
        let Some(mut session) = self.registry.get(id).await? else {
            return Ok(());
        };
        let Some(read_only) = session.targets.get(target).copied() else {
            return Ok(());
        };
        if self.is_of_this_boot(&session) {
            let waiting = session.recovery.get_or_insert_default();
            waiting.insert(target.to_owned(), read_only);
        } else {
            // Whoever wants it after a restart of the machine publishes it.
            session.targets.remove(target);
        }
        self.registry.record(&session).await?;
        if self.mounts_at(target).await?.is_empty() {
            self.host.remove_file(target).await?;
        } else {
            self.host.unmount(target, Unmount::Plain).await?;
        }
        info!(volume_id = %id, target = %target.display(), %number, "raw target withdrawn: its device is gone");
        Ok(())
    }
}
