//! A volume's life, call by call, as the sidecars and kubelet drive it.
//!
//! Each method is one CSI call with what Kubernetes would send; none retries, and each
//! gives the driver's own status where it fails.

use std::collections::HashMap;

use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi_proto::v1::{
    CapacityRange, ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest,
    CreateVolumeRequest, DeleteVolumeRequest, NodePublishVolumeRequest, NodeStageVolumeRequest,
    NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, Volume as CsiVolume, VolumeCapability,
};
use tonic::Status;

use crate::plugin::Plugin;

/// What a claim asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The PersistentVolume's name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// `ext4`, `xfs`, or `None` for a raw block volume.
    pub filesystem: Option<String>,
    /// Access mode.
    pub mode: Mode,
    /// The StorageClass's parameters.
    pub parameters: HashMap<String, String>,
}

impl Claim {
    /// A claim for one node, of a filesystem.
    #[must_use]
    pub fn filesystem(name: &str, mebibytes: i64, fs: &str) -> Self {
        Self {
            name: name.to_owned(),
            size: mebibytes << 20,
            filesystem: Some(fs.to_owned()),
            mode: Mode::SingleNodeWriter,
            parameters: HashMap::new(),
        }
    }

    /// A claim for one node, of a raw device.
    #[must_use]
    pub fn block(name: &str, mebibytes: i64) -> Self {
        Self {
            filesystem: None,
            ..Self::filesystem(name, mebibytes, "")
        }
    }

    /// The same under another access mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The same with a parameter of its StorageClass.
    #[must_use]
    pub fn parameter(mut self, key: &str, value: &str) -> Self {
        self.parameters.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The capability that it asks for.
    #[must_use]
    pub fn capability(&self) -> VolumeCapability {
        let access_type = match &self.filesystem {
            None => AccessType::Block(BlockVolume {}),
            Some(fs) => AccessType::Mount(MountVolume {
                fs_type: fs.clone(),
                ..MountVolume::default()
            }),
        };
        VolumeCapability {
            access_mode: Some(AccessMode {
                mode: self.mode.into(),
            }),
            access_type: Some(access_type),
        }
    }

    /// The request to provision it.
    #[must_use]
    pub fn request(&self) -> CreateVolumeRequest {
        CreateVolumeRequest {
            name: self.name.clone(),
            capacity_range: Some(CapacityRange {
                required_bytes: self.size,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![self.capability()],
            parameters: self.parameters.clone(),
            ..CreateVolumeRequest::default()
        }
    }

    /// Provisions it.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn create(self, controller: &Plugin) -> Result<Volume, Status> {
        let response = controller
            .controller()
            .create_volume(self.request())
            .await?
            .into_inner();
        let volume = response
            .volume
            .ok_or_else(|| Status::internal("no volume in the answer"))?;
        Ok(Volume {
            claim: self,
            volume,
        })
    }
}

/// A provisioned volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// What was asked.
    pub claim: Claim,
    /// What the driver answered.
    pub volume: CsiVolume,
}

/// What an attachment told.
pub type PublishContext = HashMap<String, String>;

impl Volume {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.volume.volume_id
    }

    /// Where kubelet would stage it.
    #[must_use]
    pub fn staging_path(&self) -> String {
        format!(
            "/var/lib/kubelet/plugins/kubernetes.io/csi/{}/globalmount",
            self.id()
        )
    }

    /// Where kubelet would publish it to a pod.
    #[must_use]
    pub fn target_path(&self, pod: &str) -> String {
        match self.claim.filesystem {
            Some(_) => format!(
                "/var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~csi/{}/mount",
                self.claim.name
            ),
            None => format!(
                "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/{}/{pod}",
                self.claim.name
            ),
        }
    }

    /// Attaches it to a node.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn attach(&self, controller: &Plugin, node: &str) -> Result<PublishContext, Status> {
        let request = ControllerPublishVolumeRequest {
            volume_id: self.id().to_owned(),
            node_id: node.to_owned(),
            volume_capability: Some(self.claim.capability()),
            volume_context: self.volume.volume_context.clone(),
            ..ControllerPublishVolumeRequest::default()
        };
        Ok(controller
            .controller()
            .controller_publish_volume(request)
            .await?
            .into_inner()
            .publish_context)
    }

    /// Detaches it from a node.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn detach(&self, controller: &Plugin, node: &str) -> Result<(), Status> {
        let request = ControllerUnpublishVolumeRequest {
            volume_id: self.id().to_owned(),
            node_id: node.to_owned(),
            ..ControllerUnpublishVolumeRequest::default()
        };
        controller
            .controller()
            .controller_unpublish_volume(request)
            .await
            .map(drop)
    }

    /// The request to stage it.
    #[must_use]
    pub fn stage_request(&self, context: &PublishContext) -> NodeStageVolumeRequest {
        NodeStageVolumeRequest {
            volume_id: self.id().to_owned(),
            staging_target_path: self.staging_path(),
            volume_capability: Some(self.claim.capability()),
            volume_context: self.volume.volume_context.clone(),
            publish_context: context.clone(),
            ..NodeStageVolumeRequest::default()
        }
    }

    /// Stages it.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn stage(&self, node: &Plugin, context: &PublishContext) -> Result<(), Status> {
        node.node()
            .node_stage_volume(self.stage_request(context))
            .await
            .map(drop)
    }

    /// Unstages it.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn unstage(&self, node: &Plugin) -> Result<(), Status> {
        let request = NodeUnstageVolumeRequest {
            volume_id: self.id().to_owned(),
            staging_target_path: self.staging_path(),
        };
        node.node().node_unstage_volume(request).await.map(drop)
    }

    /// Publishes it to a pod and returns where.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn publish(
        &self,
        node: &Plugin,
        context: &PublishContext,
        pod: &str,
        readonly: bool,
    ) -> Result<String, Status> {
        let target_path = self.target_path(pod);
        let request = NodePublishVolumeRequest {
            volume_id: self.id().to_owned(),
            staging_target_path: self.staging_path(),
            target_path: target_path.clone(),
            volume_capability: Some(self.claim.capability()),
            volume_context: self.volume.volume_context.clone(),
            publish_context: context.clone(),
            readonly,
            ..NodePublishVolumeRequest::default()
        };
        node.node().node_publish_volume(request).await?;
        Ok(target_path)
    }

    /// Unpublishes it from a pod.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn unpublish(&self, node: &Plugin, pod: &str) -> Result<(), Status> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: self.id().to_owned(),
            target_path: self.target_path(pod),
        };
        node.node().node_unpublish_volume(request).await.map(drop)
    }

    /// Deletes it.
    ///
    /// # Errors
    /// The driver's status.
    pub async fn delete(&self, controller: &Plugin) -> Result<(), Status> {
        let request = DeleteVolumeRequest {
            volume_id: self.id().to_owned(),
            ..DeleteVolumeRequest::default()
        };
        controller
            .controller()
            .delete_volume(request)
            .await
            .map(drop)
    }
}
