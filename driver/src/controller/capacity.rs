//! GetCapacity: what may still be promised.

use rds_csi_core::bytes::Bytes;
use rds_csi_core::parameters::StorageClassParameters;
use rds_csi_core::provision;

use super::Controller;
use super::error::ControllerError;

/// What may still be promised of the pool that a StorageClass uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// In all.
    pub(crate) available: Bytes,
    /// To one volume.
    pub(crate) largest: Bytes,
}

impl Controller {
    /// What may still be promised to a StorageClass that a create would take. A pool that
    /// is degraded or not mounted has nothing to give now.
    pub(crate) async fn capacity(
        &self,
        parameters: &StorageClassParameters,
    ) -> Result<Capacity, ControllerError> {
        let directory = self.directory(parameters)?;
        let reading = self.rds.inventory().await?;
        let pool = reading
            .inventory
            .pool(&directory)
            .filter(|pool| pool.is_healthy());
        let available = pool.map_or(Bytes::default(), |pool| {
            provision::available(
                &reading.inventory,
                pool,
                Bytes::default(),
                self.settings.overcommit_percent,
            )
        });
        Ok(Capacity {
            available,
            largest: available.min(Bytes::MAX_VOLUME).align_down(),
        })
    }
}
