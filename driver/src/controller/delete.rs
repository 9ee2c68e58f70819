//! DeleteVolume: export off, item removed, file removed, all verified; two round trips.

use rds_csi_core::provision;
use rds_csi_core::volume_id::VolumeId;
use tracing::info;

use super::Controller;
use super::error::ControllerError;

impl Controller {
    /// Removes the volume and its file. What is gone already is success.
    pub(crate) async fn delete(&self, id: &VolumeId) -> Result<(), ControllerError> {
        let nodes = self.attachments.nodes(id);
        if !nodes.is_empty() {
            return Err(ControllerError::Attached {
                id: id.clone(),
                nodes,
            });
        }
        let reading = self.rds.inventory().await?;
        let (directory, cluster) = (&self.settings.volume_directory, &self.settings.cluster);
        let removal = provision::delete(&reading.inventory, id, directory, cluster)
            .map_err(ControllerError::Existing)?;
        if removal.steps.is_empty() {
            return Ok(());
        }
        let state = self
            .rds
            .apply(id, &removal.file, removal.owner.as_ref(), &removal.steps)
            .await?;
        let left = match (&state.item, state.file_exists) {
            (None, false) => {
                info!(volume_id = %id, file = %removal.file, "volume removed");
                return Ok(());
            }
            (Some(_), _) => "its disk item is there",
            (None, true) => "its file is there",
        };
        Err(ControllerError::NotGone {
            id: id.clone(),
            left,
        })
    }
}
