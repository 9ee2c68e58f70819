//! DeleteVolume: export off, item removed, file removed, all verified; two round trips.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rds_csi_core::backing_file::BackingFile;
use rds_csi_core::provision;
use rds_csi_core::volume_id::VolumeId;
use tracing::info;

use super::Controller;
use super::error::ControllerError;

/// The files that removals under way set out to remove. The disk item says where its
/// file lies and goes first; should the connection break after it, only this process
/// still knows which file was the volume's.
#[derive(Debug, Default)]
pub(super) struct Removals(Mutex<HashMap<VolumeId, BackingFile>>);

impl Removals {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VolumeId, BackingFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self, id: &VolumeId) -> Option<BackingFile> {
        self.lock().get(id).cloned()
    }

    fn begin(&self, id: &VolumeId, file: &BackingFile) {
        self.lock().insert(id.clone(), file.clone());
    }

    fn end(&self, id: &VolumeId) {
        self.lock().remove(id);
    }
}

impl Controller {
    /// Removes the volume and its file. What is gone already is success.
    pub(crate) async fn delete(&self, id: &VolumeId) -> Result<(), ControllerError> {
        let nodes = self.attachments.nodes(id).await?;
        if !nodes.is_empty() {
            return Err(ControllerError::Attached {
                id: id.clone(),
                nodes,
            });
        }
        let reading = self.rds.inventory().await?;
        let (directory, cluster) = (&self.settings.volume_directory, &self.settings.cluster);
        let begun = self.removals.begun(id);
        let removal = provision::delete(&reading.inventory, id, directory, cluster, begun.as_ref())
            .map_err(ControllerError::Existing)?;
        if removal.steps.is_empty() {
            self.removals.end(id);
            return Ok(());
        }
        self.removals.begin(id, &removal.file);
        let state = self
            .rds
            .apply(id, &removal.file, removal.owner.as_ref(), &removal.steps)
            .await?;
        let left = match (&state.item, state.file_exists) {
            (None, false) => {
                self.removals.end(id);
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
