//! CreateVolume: one reading, one script, two round trips.

use rds_csi_core::access::Access;
use rds_csi_core::appliance::Inventory;
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::bytes::{Bytes, CapacityRange};
use rds_csi_core::context::VolumeContext;
use rds_csi_core::names::parameter;
use rds_csi_core::parameters::StorageClassParameters;
use rds_csi_core::provision::{self, Desired};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::{Owner, VolumeName};
use rds_csi_routeros::error::RdsError;
use tracing::info;

use super::Controller;
use super::error::ControllerError;

/// What CreateVolume asks for.
#[derive(Debug)]
pub(crate) struct CreateRequest {
    /// The CSI name.
    pub(crate) name: VolumeName,
    /// What sizes are acceptable.
    pub(crate) range: CapacityRange,
    /// How the volume will be used; at least one.
    pub(crate) accesses: Vec<Access>,
    /// The StorageClass's parameters.
    pub(crate) parameters: StorageClassParameters,
}

/// The volume that there is now.
#[derive(Debug)]
pub(crate) struct Created {
    /// Its id.
    pub(crate) id: VolumeId,
    /// Its size, as the device says it.
    pub(crate) size: Bytes,
    /// What its nodes will need.
    pub(crate) context: VolumeContext,
}

impl Controller {
    /// Makes the volume, completes it, or finds it made.
    pub(crate) async fn create(&self, request: CreateRequest) -> Result<Created, ControllerError> {
        let desired = self.desired(&request)?;
        let reading = self.rds.inventory().await;
        let reading = reading.map_err(|source| ControllerError::Unseen {
            id: desired.id.clone(),
            source: Box::new(source),
        })?;
        let (steps, _reservation) = self.ledger.reserve(&desired.id, &reading, |others| {
            let steps = provision::create(&reading.inventory, &desired, self.space(others))?;
            Ok::<_, ControllerError>((steps, desired.size, desired.size))
        })?;
        let file = desired.directory.file(&desired.id);
        let size = if steps.is_empty() {
            let found = reading
                .inventory
                .item(&desired.id)
                .and_then(|item| item.file());
            found.map_or(desired.size, |disk| disk.size)
        } else {
            let state = self
                .rds
                .apply(&desired.id, &file, Some(&desired.owner), &steps)
                .await
                .map_err(|source| half_made(&reading.inventory, &desired, source))?;
            info!(volume_id = %desired.id, name = %request.name, size = desired.size.get(), steps = steps.len(), "volume made");
            provision::created(&state, &desired).map_err(|source| ControllerError::NotVerified {
                id: desired.id.clone(),
                operation: "its creation",
                source: Box::new(source),
            })?
        };
        let context = VolumeContext {
            nvme_address: request
                .parameters
                .nvme_address
                .unwrap_or(self.settings.nvme_address),
            nvme_port: desired.port,
            nqn: desired.nqn,
            volume_directory: desired.directory,
            tuning: request.parameters.tuning,
            migration_timeout_seconds: request.parameters.migration_timeout_seconds,
        };
        Ok(Created {
            id: desired.id,
            size,
            context,
        })
    }

    fn desired(&self, request: &CreateRequest) -> Result<Desired, ControllerError> {
        let CreateRequest {
            name,
            range,
            accesses,
            parameters,
        } = request;
        let directory = self.directory(parameters)?;
        let smallest = accesses
            .iter()
            .map(Access::smallest_volume)
            .max()
            .unwrap_or(Bytes::ALIGNMENT);
        let id = self.id_for(name.as_str());
        Ok(Desired {
            owner: Owner {
                cluster: self.settings.cluster.clone(),
                name: name.clone(),
            },
            directory,
            range: *range,
            size: range.choose(smallest)?,
            nqn: self.settings.nqn_prefix.nqn(&id),
            port: parameters.nvme_port.unwrap_or(self.settings.nvme_port),
            id,
        })
    }

    /// Where a StorageClass wants its files, if this driver serves it.
    pub(super) fn directory(
        &self,
        parameters: &StorageClassParameters,
    ) -> Result<VolumeDirectory, ControllerError> {
        self.check_device(parameters)?;
        let base = &self.settings.volume_directory;
        let directory = parameters.volume_directory.as_ref().unwrap_or(base);
        if directory.is_within(base) {
            return Ok(directory.clone());
        }
        Err(ControllerError::Parameter {
            key: parameter::VOLUME_PATH,
            value: directory.to_string(),
            allowed: format!("it takes {base} or a directory below it"),
        })
    }

    /// One controller serves one device: a class that names another one would silently
    /// get its volumes here.
    fn check_device(&self, parameters: &StorageClassParameters) -> Result<(), ControllerError> {
        match (parameters.rds_address, self.settings.rds_address) {
            (Some(asked), Some(ours)) if asked != ours => Err(ControllerError::Parameter {
                key: parameter::RDS_ADDRESS,
                value: asked.to_string(),
                allowed: format!("this driver serves {ours}; leave the parameter out"),
            }),
            _ => Ok(()),
        }
    }
}

/// A final error would let the orchestrator forget a volume of which a part is on the
/// device, from this call or an earlier one.
fn half_made(before: &Inventory, desired: &Desired, source: RdsError) -> ControllerError {
    let after = source
        .refusal()
        .and_then(|refusal| refusal.state.item.as_ref());
    let ours = [before.item(&desired.id), after]
        .into_iter()
        .flatten()
        .any(|item| item.owner().as_ref() == Some(&desired.owner));
    if ours {
        let id = desired.id.clone();
        let source = Box::new(source);
        ControllerError::HalfMade { id, source }
    } else {
        source.into()
    }
}
