//! The targets of a volume of which only the record knows enough: a device node is made
//! once and from then on nothing leads from the device to it, and a bind does not say
//! that it should have become read-only.

use std::path::{Path, PathBuf};

use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::publish::Desired;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::mounter::PathState;
use rds_csi_host::registry::Session;

use tracing::warn;

use super::{Node, NodeError};

impl Node {
    /// The recorded raw targets that are there and mean this device, each with whether it
    /// is read-only. A record may outlive its target, and a target its device.
    pub(super) async fn published_at(
        &self,
        record: Option<&Session>,
        number: DeviceNumber,
    ) -> Result<Vec<(PathBuf, bool)>, NodeError> {
        let mut found = Vec::new();
        for (target, read_only) in record.into_iter().flat_map(|session| &session.targets) {
            if self.host.path(target).await? == PathState::Block(number) {
                found.push((target.clone(), *read_only));
            }
        }
        Ok(found)
    }

    /// Records a target before it is made. A raw one is not made without: nobody would
    /// withdraw it once its device is gone.
    pub(super) async fn record_target(
        &self,
        id: &VolumeId,
        nqn: &Nqn,
        target: &Path,
        desired: Desired,
    ) -> Result<(), NodeError> {
        let recorded = match self.registry.get(id).await? {
            None => self.rebuild_record(id, nqn).await?,
            recorded => recorded,
        };
        let mut session = match recorded {
            Some(session) => session,
            None if desired.block => {
                return Err(NodeError::NotThisDrivers {
                    id: id.clone(),
                    nqn: nqn.clone(),
                });
            }
            None => {
                warn!(volume_id = %id, %nqn, "the session is not this driver's, so its targets are not recorded");
                return Ok(());
            }
        };
        let read_only = desired.read_only;
        if session.targets.insert(target.to_owned(), read_only) != Some(read_only) {
            self.registry.record(&session).await?;
        }
        Ok(())
    }

    /// Takes a target out of the record once it is gone.
    pub(super) async fn forget_target(
        &self,
        id: &VolumeId,
        target: &Path,
    ) -> Result<(), NodeError> {
        if let Some(mut session) = self.registry.get(id).await?
            && session.forget_target(target)
        {
            self.registry.record(&session).await?;
        }
        Ok(())
    }
}
