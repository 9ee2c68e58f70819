//! What is asked to clear VolumeAttachments whose nodes exist no more: see
//! [`rds_csi_core::attachment::leftovers`].

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::FutureExt as _;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Preconditions};
use rds_csi_core::attachment::observation::{Pod, VolumeAttachment};
use rds_csi_core::nqn::Nqn;

use super::ClusterError;
use super::api_server::{ApiServer, LIST_ATTACHMENTS, LIST_PODS, PAGE, WATCHED_PAGE};
use super::wire::{AttachmentSpec, NodeSpec, Object, PodSpec};

const LIST_NODES: &str = "list nodes";
const DELETE_ATTACHMENT: &str = "delete volumeattachments";

/// A VolumeAttachment, what its node was told, and which version of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAttachment {
    /// The object.
    pub attachment: VolumeAttachment,
    /// The name of the volume that its node was told, where it is not that of the PersistentVolume.
    pub nqn: Option<Nqn>,
    /// Its version.
    pub resource_version: String,
}

/// A cluster of which attachments can be cleared. Every list is whole and as of one moment
/// after the call began, or an error.
#[async_trait]
pub trait Clearing {
    /// Every VolumeAttachment of this driver, with what its node was told and what it is cleared by.
    async fn read_attachments(&self) -> Result<Vec<ReadAttachment>, ClusterError>;

    /// The name of every node.
    async fn node_names(&self) -> Result<BTreeSet<String>, ClusterError>;

    /// Every pod that is bound to a node, of all namespaces.
    async fn pods_on(&self, node: &str) -> Result<Vec<Pod>, ClusterError>;

    /// Deletes a VolumeAttachment that is still what was read. It is gone once whoever attached
    /// it has detached it.
    ///
    /// [`ClusterError::Changed`] if it is another by now, or gone; after every other error it
    /// may have been deleted or not.
    async fn clear(&self, read: &ReadAttachment) -> Result<(), ClusterError>;
}

#[async_trait]
impl Clearing for ApiServer {
    async fn read_attachments(&self) -> Result<Vec<ReadAttachment>, ClusterError> {
        let reading = async {
            let mut attachments = Vec::new();
            let ours = |object: Object<AttachmentSpec>| {
                if object.spec.attacher == self.driver.as_str() {
                    attachments.push(object.into());
                }
            };
            let api = Api::all(self.client.clone());
            let all = ListParams::default().limit(PAGE);
            self.list(LIST_ATTACHMENTS, api, all, ours).await?;
            Ok(attachments)
        };
        self.attachments.read((), reading.boxed()).await
    }

    async fn node_names(&self) -> Result<BTreeSet<String>, ClusterError> {
        let mut names = BTreeSet::new();
        let api = Api::all(self.client.clone());
        // A node names every image that it has.
        let all = ListParams::default().limit(WATCHED_PAGE);
        let name = |node: Object<NodeSpec>| {
            names.insert(node.meta.name);
        };
        self.list(LIST_NODES, api, all, name).await?;
        Ok(names)
    }

    async fn pods_on(&self, node: &str) -> Result<Vec<Pod>, ClusterError> {
        let mut pods = Vec::new();
        let api = Api::all(self.client.clone());
        let there = ListParams::default()
            .fields(&format!("spec.nodeName={node}"))
            .limit(WATCHED_PAGE);
        let pod = |pod: Object<PodSpec>| pods.push(pod.into());
        self.list(LIST_PODS, api, there, pod).await?;
        Ok(pods)
    }

    async fn clear(&self, read: &ReadAttachment) -> Result<(), ClusterError> {
        let api: Api<Object<AttachmentSpec>> = Api::all(self.client.clone());
        let name = &read.attachment.name;
        let still = DeleteParams::default().preconditions(Preconditions {
            uid: Some(read.attachment.uid.clone()),
            resource_version: Some(read.resource_version.clone()),
        });
        let deleted = self.calls.run(DELETE_ATTACHMENT, api.delete(name, &still));
        match deleted.await {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.code, Some(404 | 409)) => Err(ClusterError::Changed {
                name: format!("VolumeAttachment {name}"),
            }),
            Err(refusal) => Err(refusal.error),
        }
    }
}
