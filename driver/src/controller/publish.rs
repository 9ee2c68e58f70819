//! ControllerPublishVolume, ControllerUnpublishVolume and the question whether a volume
//! is there.

use rds_csi_core::access::Access;
use rds_csi_core::appliance::{DiskItem, VolumeState};
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::{PublishContext, VolumeContext};
use rds_csi_core::kind::Failure as _;
use rds_csi_core::nqn::Epoch;
use rds_csi_core::provision::{self, ProvisionError};
use rds_csi_core::volume_id::VolumeId;
use tracing::info;

use super::Controller;
use super::attachments::{Granted, Wanted};
use super::error::ControllerError;

/// What ControllerPublishVolume asks for.
#[derive(Debug)]
pub(crate) struct PublishRequest {
    /// The volume.
    pub(crate) id: VolumeId,
    /// The node, as NodeGetInfo named it.
    pub(crate) node: String,
    /// How it will be used there.
    pub(crate) access: Access,
    /// Whether it is only to be read there.
    pub(crate) read_only: bool,
    /// What the PersistentVolume says of it, where that came along.
    pub(crate) context: Option<VolumeContext>,
}

impl Controller {
    /// Lets a node have the volume and tells what the node should find.
    pub(crate) async fn publish(
        &self,
        request: PublishRequest,
    ) -> Result<PublishContext, ControllerError> {
        let PublishRequest {
            id,
            node,
            access,
            read_only,
            context,
        } = request;
        self.known(&node)?;
        let directory = context
            .as_ref()
            .map(|context| context.volume_directory.clone());
        let state = self.state(&id, directory.clone()).await?;
        let cluster = &self.settings.cluster;
        // One that is not exported may be one whose renewal was cut short.
        let owner = if state.file_exists && self.attachments.may_renew() {
            provision::ours(&state, &id, cluster).map(DiskItem::owner)
        } else {
            provision::usable(&state, &id, cluster)
                .map(|_| state.item.as_ref().and_then(DiskItem::owner))
        };
        let owner = owner.map_err(ControllerError::Existing)?;
        let wanted = Wanted {
            id: &id,
            made_for: owner.as_ref().map(|owner| &owner.name),
            node: &node,
            access: &access,
            read_only,
            ended: state.item.as_ref().is_some_and(|item| !item.exported),
            renewed: None,
            sessions: self.admission.sessions(),
        };
        let granted = self.attachments.attach(&wanted).await?;
        let told = self
            .open(&wanted, state, granted, directory, context.as_ref())
            .await
            .map_err(|source| not_final(&id, source))?;
        info!(volume_id = %id, node, "volume attached");
        Ok(told)
    }

    /// Has the device let a node in that was granted the volume: what the node is told. Beside
    /// another node it is judged once more when the device has answered, which may take a minute:
    /// who asks for it on that node may be another by then.
    async fn open(
        &self,
        wanted: &Wanted<'_>,
        mut state: VolumeState,
        mut granted: Granted,
        directory: Option<VolumeDirectory>,
        context: Option<&VolumeContext>,
    ) -> Result<PublishContext, ControllerError> {
        let id = wanted.id;
        let due = granted.due.take();
        let wanted = Wanted {
            renewed: due.as_ref().map(|due| &due.epoch),
            ..*wanted
        };
        if let Some(due) = &due {
            state = self.renew(id, state, &due.epoch, context).await?;
            granted = self.granted(&wanted).await?;
        }
        // Another controller may have closed it meanwhile to a node that it did not know of yet.
        // Where hosts are to be set it is read again by that.
        let nodes = &granted.nodes;
        if granted.is_new && self.admission.is_set(id, &state, nodes) {
            state = self.state(id, directory).await?;
        }
        let disk = provision::usable(&state, id, &self.settings.cluster)
            .map_err(ControllerError::Existing)?;
        let size = disk.size;
        let state = self.admission.admit(id, state, nodes).await?;
        let was_asked = due.is_some() || self.admission.is_kept(id);
        if was_asked && granted.nodes.len() > 1 {
            granted = self.granted(&wanted).await?;
        }
        let item = state.item.as_ref();
        Ok(PublishContext {
            size: Some(size),
            first_used: granted.first_used,
            format_override: granted.format_override,
            nqn: item.and_then(|item| provision::renewed(item, id)),
            reader: granted.reader,
        })
    }

    /// Asks again for a node that was granted the volume, once the export is as it is to be.
    async fn granted(&self, wanted: &Wanted<'_>) -> Result<Granted, ControllerError> {
        let granted = self.attachments.attach(wanted).await?;
        if granted.due.is_some() {
            let (id, node) = (wanted.id.clone(), wanted.node.to_owned());
            return Err(ControllerError::FenceUnderway { id, node });
        }
        Ok(granted)
    }

    /// Ends the export and offers the volume anew, so that no session of before is left and
    /// none of them can be opened again.
    async fn renew(
        &self,
        id: &VolumeId,
        state: VolumeState,
        epoch: &Epoch,
        context: Option<&VolumeContext>,
    ) -> Result<VolumeState, ControllerError> {
        let made = context.map(|context| (&context.nqn, context.nvme_port));
        let plan = |state: &VolumeState| {
            provision::renew(state, id, &self.settings.cluster, epoch, made)
                .map_err(ControllerError::Existing)
        };
        let renewal = plan(&state)?;
        if renewal.steps.is_empty() {
            return Ok(state);
        }
        let owner = renewal.owner.as_ref();
        let applied = self.rds.apply(id, &renewal.file, owner, &renewal.steps);
        let state = applied
            .await
            .map_err(|source| ControllerError::NotRenewed {
                id: id.clone(),
                source: Box::new(source),
            })?;
        if !plan(&state)?.steps.is_empty() {
            return Err(ControllerError::NotVerified {
                id: id.clone(),
                operation: "being offered anew",
                source: Box::new(ProvisionError::NotReady {
                    id: id.clone(),
                    exported: state.item.is_some_and(|item| item.exported),
                    file_exists: state.file_exists,
                }),
            });
        }
        info!(volume_id = %id, nqn = %renewal.nqn, "volume offered anew");
        Ok(state)
    }

    fn known(&self, node: &str) -> Result<(), ControllerError> {
        let nodes = &self.settings.nodes;
        if nodes.is_empty() || nodes.contains(node) {
            return Ok(());
        }
        Err(ControllerError::UnknownNode {
            node: node.to_owned(),
            known: nodes.iter().cloned().collect(),
        })
    }

    /// Takes the volume from a node, or from all where none is named. Needs no device.
    pub(crate) async fn unpublish(
        &self,
        id: &VolumeId,
        node: Option<&str>,
    ) -> Result<(), ControllerError> {
        self.attachments.detach(id, node).await?;
        info!(volume_id = %id, node = node.unwrap_or("*"), "volume detached");
        if let Some(node) = node {
            self.close_behind(id, node).await;
        }
        Ok(())
    }

    /// The size of a volume that is there and whole.
    pub(crate) async fn size(
        &self,
        id: &VolumeId,
        directory: Option<VolumeDirectory>,
    ) -> Result<Bytes, ControllerError> {
        let state = self.state(id, directory).await?;
        let disk = provision::usable(&state, id, &self.settings.cluster)
            .map_err(ControllerError::Existing)?;
        Ok(disk.size)
    }

    pub(super) async fn state(
        &self,
        id: &VolumeId,
        directory: Option<VolumeDirectory>,
    ) -> Result<VolumeState, ControllerError> {
        let directory = directory.unwrap_or_else(|| self.settings.volume_directory.clone());
        Ok(self.rds.volume(id, &directory.file(id)).await?)
    }
}

/// A final error would say that the node has no part in the volume, though the yes is written
/// down, and the export was or may have been made anew for it.
fn not_final(id: &VolumeId, source: ControllerError) -> ControllerError {
    if source.kind().is_retryable() {
        return source;
    }
    ControllerError::HalfAttached {
        id: id.clone(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests;
