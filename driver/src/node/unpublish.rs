//! NodeUnpublishVolume: the target is gone, one mount, node, file or empty directory at
//! a time, and never recursively.

use std::path::Path;

use rds_csi_core::publish::{Found, Step, next_unpublish};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::mounter::Unmount;
use tracing::{debug, info};

use super::budget::Budget;
use super::{Node, NodeError};

impl Node {
    /// Takes the volume from the target, or finds nothing there.
    pub(crate) async fn unpublish(&self, id: &VolumeId, target: &Path) -> Result<(), NodeError> {
        let mut budget = Budget::new();
        let mut changed = false;
        loop {
            let mounts = self.mounts_at(target).await?.len();
            // A look at a mount whose device is dead fails or hangs.
            let path = if mounts > 0 {
                Found::Other
            } else {
                self.host.path(target).await?
            };
            let Some(step) = next_unpublish(mounts, path)? else {
                break;
            };
            budget.spend(&format_args!("{step:?}"))?;
            debug!(volume_id = %id, ?step, "unpublishing");
            match step {
                Step::Unmount => self.host.unmount(target, Unmount::Plain).await?,
                Step::RemoveDirectory => self.host.remove_directory(target).await?,
                Step::RemoveFile => self.host.remove_file(target).await?,
                Step::MakeDirectory
                | Step::Bind
                | Step::MakeFile
                | Step::SetReadOnly(_)
                | Step::MakeNode
                | Step::BindNode => {
                    return Err(NodeError::Unplanned {
                        step: format!("{step:?}"),
                    });
                }
            }
            changed = true;
        }
        self.forget_target(id, target).await?;
        if changed {
            info!(volume_id = %id, target = %target.display(), elapsed_ms = %budget.elapsed().as_millis(), "volume unpublished");
        }
        Ok(())
    }
}
