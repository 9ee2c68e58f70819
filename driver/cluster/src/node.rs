//! What a node asks of the cluster: whether a volume is still its own, and that somebody
//! be told what happened to it.
//!
//! Nothing is watched and nothing is asked while all is well. A node that cannot ask does
//! not know that a volume is its own, and whoever called must then leave it alone.
//!
//! What the service account of the nodes needs, no more and no less:
//!
//! | API group | resource | verbs | for |
//! |---|---|---|---|
//! | `storage.k8s.io` | `volumeattachments` | `get` | whether the volume is still this node's |
//! | core | `persistentvolumes` | `get` | whose claim is to be told |
//! | `events.k8s.io` | `events` | `create` | telling it |

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kube::{Api, Client};
use rds_csi_core::attachment::grant::{VolumeAttachment, attachment_name};
use rds_csi_core::names::{DriverName, publish};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;

use super::ClusterError;
use super::calls::{Calls, present};
use super::client::client;
use super::notice::{Notice, Teller};
use super::wire::{AttachmentSpec, Object};

const GET_ATTACHMENT: &str = "get volumeattachments";

/// A volume as the cluster has it attached to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The VolumeAttachment.
    pub attachment: VolumeAttachment,
    /// The NQN that came with it, where it is not the one of the volume context.
    pub nqn: Option<String>,
}

impl Held {
    /// Whether a session to this name of the volume is of this attachment, and not of an
    /// earlier one after which the volume was offered anew.
    #[must_use]
    pub fn is_of(&self, volume: &VolumeId, nqn: &Nqn) -> bool {
        match &self.nqn {
            Some(current) => current == nqn.as_str(),
            None => nqn.without_epoch(volume).as_ref() == Some(nqn),
        }
    }
}

/// The cluster, as a node needs it.
#[async_trait]
pub trait NodeCluster: Send + Sync + fmt::Debug {
    /// The VolumeAttachment by which this node has the volume; `None` if the cluster has
    /// none, so that the volume may be another node's.
    async fn attachment(&self, volume: &VolumeId) -> Result<Option<Held>, ClusterError>;

    /// Posts an event on the claim of the volume. A volume that had no attachment to this
    /// node as far as this process saw, or has no claim, has nobody to be told, which is
    /// success.
    async fn post(&self, volume: &VolumeId, notice: &Notice) -> Result<(), ClusterError>;
}

/// The API server, asked by a node.
pub struct NodeApiServer {
    driver: DriverName,
    node: String,
    client: Client,
    calls: Calls,
    /// The PersistentVolume of each volume whose attachment was seen: somebody is to be told
    /// when it is gone, too.
    seen: Mutex<BTreeMap<VolumeId, String>>,
}

impl fmt::Debug for NodeApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeApiServer")
            .field("driver", &self.driver)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl NodeApiServer {
    /// The API server that a kubeconfig leads to, or where none is named `$KUBECONFIG` or
    /// the service account of this pod, for the node of this name. Asks nothing yet.
    ///
    /// # Errors
    /// [`ClusterError::Config`] if nothing leads to one.
    pub async fn new(
        kubeconfig: Option<&Path>,
        driver: &DriverName,
        node: &str,
    ) -> Result<Self, ClusterError> {
        Ok(Self {
            driver: driver.clone(),
            node: node.to_owned(),
            client: client(kubeconfig, "node", driver).await?,
            calls: Calls::default(),
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<VolumeId, String>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl NodeCluster for NodeApiServer {
    async fn attachment(&self, volume: &VolumeId) -> Result<Option<Held>, ClusterError> {
        let api: Api<Object<AttachmentSpec>> = Api::all(self.client.clone());
        let name = attachment_name(volume, &self.driver, &self.node);
        let found = present(self.calls.run(GET_ATTACHMENT, api.get(&name)).await)?;
        let found = found.map(|object| Held {
            nqn: object.told(publish::NQN),
            attachment: object.into(),
        });
        if let Some(held) = &found {
            let name = held.attachment.persistent_volume.clone();
            self.seen().insert(volume.clone(), name);
        }
        Ok(found)
    }

    async fn post(&self, volume: &VolumeId, notice: &Notice) -> Result<(), ClusterError> {
        let attachment = self.attachment(volume).await?;
        let name = match attachment {
            Some(held) => Some(held.attachment.persistent_volume),
            None => self.seen().get(volume).cloned(),
        };
        let Some(name) = name else {
            return Ok(());
        };
        let teller = Teller {
            client: &self.client,
            calls: &self.calls,
            driver: &self.driver,
            instance: &self.node,
            action: "Reconnect",
        };
        teller.post(&name, notice).await
    }
}
