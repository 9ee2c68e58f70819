//! A cluster as it was a moment ago, kept by watching what is asked about often:
//! PersistentVolumes, VolumeAttachments and pods. Everything else is asked for.
//!
//! What is kept may be behind, so it serves to let pass what looks well, early, and without a
//! request where no other node has the volume: beside one, nodes, machines and migrations are
//! asked for. Nobody is refused by it: a refusal is judged by what is asked for then.

mod kept;

use std::collections::BTreeSet;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use rds_csi_core::attachment::observation::{Claim, KubeVirt, Node, Pod, Role, VolumeAttachment};
use rds_csi_core::volume_id::VolumeId;

use super::api_server::ApiServer;
use super::wire::{AttachmentSpec, Object, PodSpec, Spec, VolumeSpec};
use super::{ClusterError, MachineDisk, PersistentVolume, Reader};
use kept::Kept;

const VOLUMES: &str = "watch persistentvolumes";
const ATTACHMENTS: &str = "watch volumeattachments";
const PODS: &str = "watch pods";

/// What is kept of a cluster.
pub struct Watched {
    server: Arc<ApiServer>,
    volumes: Kept<PersistentVolume>,
    attachments: Kept<VolumeAttachment>,
    pods: Kept<Pod>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Watched {
    /// Nothing is known yet: everything is asked of `server` until [`Watched::follow`] has
    /// read it.
    #[must_use]
    pub fn over(server: Arc<ApiServer>) -> Self {
        Self {
            server,
            volumes: Kept::default(),
            attachments: Kept::default(),
            pods: Kept::default(),
        }
    }

    /// The cluster as it is now.
    #[must_use]
    pub fn live(&self) -> Arc<dyn Reader> {
        self.server.clone()
    }

    /// Whether everything that is watched is known now.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.volumes.read(|_| ()).is_some()
            && self.attachments.read(|_| ()).is_some()
            && self.pods.read(|_| ()).is_some()
    }

    /// Follows the cluster for ever, whatever the API server does.
    pub async fn follow(&self) {
        let driver = self.server.driver.as_str();
        tokio::join!(
            watch(
                &self.server,
                VOLUMES,
                &self.volumes,
                |object: Object<VolumeSpec>| {
                    let volume = PersistentVolume::from(object);
                    (volume.driver == driver).then_some(volume)
                }
            ),
            watch(
                &self.server,
                ATTACHMENTS,
                &self.attachments,
                |object: Object<AttachmentSpec>| {
                    (object.spec.attacher == driver).then(|| object.into())
                }
            ),
            watch(&self.server, PODS, &self.pods, |object: Object<PodSpec>| {
                Some(Pod::from(object)).filter(matters)
            }),
        );
    }
}

/// Whether a rule may ask for the pod: what uses no claim holds no volume, but a machine's
/// own pod stands for the hot-plugged disks that others hold for it.
fn matters(pod: &Pod) -> bool {
    let is_there = !pod.node.is_empty();
    is_there && (!pod.claims.is_empty() || matches!(pod.role, Role::Launcher { .. }))
}

/// Follows a kind of objects for ever.
async fn watch<S: Spec, T>(
    server: &ApiServer,
    call: &'static str,
    kept: &Kept<T>,
    keep: impl Fn(Object<S>) -> Option<T>,
) where
    Object<S>: kube::Resource<DynamicType = ()>,
{
    let mut events = pin!(server.events(call));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => kept.take(event, &keep),
            Err(_) => kept.broke(),
        }
    }
}

#[async_trait]
impl Reader for Watched {
    async fn persistent_volume(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolume>, ClusterError> {
        let key = (String::new(), name.to_owned());
        // One that is not there may be new, or another driver's.
        match self.volumes.read(|all| all.get(&key).cloned()).flatten() {
            Some(known) => Ok(Some(known)),
            None => self.server.persistent_volume(name).await,
        }
    }

    async fn volume_attachments(&self) -> Result<Vec<VolumeAttachment>, ClusterError> {
        let known = self.attachments.read(|all| all.values().cloned().collect());
        match known {
            Some(known) => Ok(known),
            None => self.server.volume_attachments().await,
        }
    }

    async fn node(&self, name: &str, volume: &VolumeId) -> Result<Option<Node>, ClusterError> {
        self.server.node(name, volume).await
    }

    async fn pods(&self, namespace: &str, node: &str) -> Result<Vec<Pod>, ClusterError> {
        let first = (namespace.to_owned(), String::new());
        let known = self.pods.read(|all| {
            let of_namespace = all
                .range(first..)
                .map(|(_, pod)| pod)
                .take_while(|pod| pod.namespace == namespace);
            of_namespace
                .filter(|pod| pod.node == node)
                .cloned()
                .collect()
        });
        match known {
            Some(known) => Ok(known),
            None => self.server.pods(namespace, node).await,
        }
    }

    async fn kubevirt(
        &self,
        namespace: &str,
        machines: &BTreeSet<&str>,
    ) -> Result<KubeVirt, ClusterError> {
        self.server.kubevirt(namespace, machines).await
    }

    async fn volume_of(&self, claim: &Claim) -> Result<Option<String>, ClusterError> {
        self.server.volume_of(claim).await
    }

    async fn disks(
        &self,
        namespace: &str,
        machine: &str,
    ) -> Result<Option<Vec<MachineDisk>>, ClusterError> {
        self.server.disks(namespace, machine).await
    }
}
