//! ControllerExpandVolume.

use rds_csi_core::bytes::{Bytes, CapacityRange};
use rds_csi_core::provision::{self, ProvisionError};
use rds_csi_core::volume_id::VolumeId;
use tracing::info;

use super::Controller;
use super::error::ControllerError;

impl Controller {
    /// Grows the volume and returns the size that the device then says it has.
    pub(crate) async fn expand(
        &self,
        id: &VolumeId,
        range: CapacityRange,
    ) -> Result<Bytes, ControllerError> {
        let reading = self.rds.inventory().await?;
        let cluster = &self.settings.cluster;
        let (growth, _reservation) = self.ledger.reserve(id, &reading, |others| {
            let space = self.space(others);
            let growth = provision::expand(&reading.inventory, id, cluster, range, space)
                .map_err(ControllerError::Existing)?;
            let (added, size) = (growth.added, growth.size);
            Ok::<_, ControllerError>((growth, added, size))
        })?;
        let Some(step) = growth.step else {
            return Ok(growth.size);
        };
        // A device told to grow a file that is gone may make a blank one.
        let before = self.rds.volume(id, &growth.file).await?;
        provision::usable(&before, id, cluster).map_err(ControllerError::Existing)?;
        let state = self
            .rds
            .apply(id, &growth.file, growth.owner.as_ref(), &[step])
            .await?;
        let not_verified = |source| ControllerError::NotVerified {
            id: id.clone(),
            operation: "its growth",
            source: Box::new(source),
        };
        let size = provision::usable(&state, id, cluster)
            .map_err(not_verified)?
            .size;
        if size < growth.size {
            return Err(not_verified(ProvisionError::Different {
                id: id.clone(),
                property: "size",
                found: size.to_string(),
                wanted: growth.size.to_string(),
            }));
        }
        info!(volume_id = %id, size = size.get(), "volume grown");
        Ok(size)
    }
}
