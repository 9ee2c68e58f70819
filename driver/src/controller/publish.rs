//! ControllerPublishVolume, ControllerUnpublishVolume and the question whether a volume
//! is there.

use rds_csi_core::access::Access;
use rds_csi_core::appliance::VolumeState;
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::PublishContext;
use rds_csi_core::provision;
use rds_csi_core::volume_id::VolumeId;
use tracing::info;

use super::Controller;
use super::attachments::Wanted;
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
    /// Where its file lies, where the volume context says it.
    pub(crate) directory: Option<VolumeDirectory>,
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
            directory,
        } = request;
        self.known(&node)?;
        let (state, size) = self.whole(&id, directory).await?;
        let owner = state.item.and_then(|item| item.owner());
        let wanted = Wanted {
            id: &id,
            made_for: owner.as_ref().map(|owner| &owner.name),
            node: &node,
            access: &access,
            read_only,
        };
        let granted = self.attachments.attach(&wanted).await?;
        info!(volume_id = %id, node, "volume attached");
        Ok(PublishContext {
            size: Some(size),
            first_used: granted.first_used,
            format_override: granted.format_override,
        })
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
        Ok(())
    }

    /// The size of a volume that is there and whole.
    pub(crate) async fn size(
        &self,
        id: &VolumeId,
        directory: Option<VolumeDirectory>,
    ) -> Result<Bytes, ControllerError> {
        Ok(self.whole(id, directory).await?.1)
    }

    async fn whole(
        &self,
        id: &VolumeId,
        directory: Option<VolumeDirectory>,
    ) -> Result<(VolumeState, Bytes), ControllerError> {
        let directory = directory.unwrap_or_else(|| self.settings.volume_directory.clone());
        let state = self.rds.volume(id, &directory.file(id)).await?;
        let disk = provision::usable(&state, id, &self.settings.cluster)
            .map_err(ControllerError::Existing)?;
        let size = disk.size;
        Ok((state, size))
    }
}
