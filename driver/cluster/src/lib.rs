//! The Kubernetes cluster as rds-csi sees it: who asks for a volume, what is noted about
//! it, and who is told what happens to it.
//!
//! [`Reader`] is what the attachment rules are judged from, by the webhook early and by the
//! controller for good; [`Cluster`] adds what the controller writes, [`NodeCluster`] is what
//! a node asks. Every answer is a reading that began after the question, from a quorum of the API
//! server's store, and complete, or it is an error: "absent" is never what a failed reading
//! says. Only [`Watched`] may answer with what was so a moment ago. Nothing here decides who
//! gets a volume.
//!
//! What the service account of the controller needs, no more and no less:
//!
//! | API group | resource | verbs | for |
//! |---|---|---|---|
//! | core | `persistentvolumes` | `get` | each ControllerPublishVolume and ControllerUnpublishVolume |
//! | core | `persistentvolumes` | `patch` | the annotations of [`rds_csi_core::names::annotation`] |
//! | core | `persistentvolumes` | `list`, `watch` | finding volumes whose first use is not noted |
//! | core | `pods` | `list`, `watch` | seeing the first use; who uses a volume that two nodes want, or for which a lost node would be shut out |
//! | core | `nodes` | `get` | who a node is: each ControllerPublishVolume; whether it may still write: each ControllerUnpublishVolume, and a second attachment |
//! | core | `nodes` | `list` | which attachments are of nodes that exist no more |
//! | `storage.k8s.io` | `volumeattachments` | `list` | each ControllerPublishVolume, ControllerUnpublishVolume and DeleteVolume, readiness |
//! | `storage.k8s.io` | `volumeattachments` | `delete` | clearing those of nodes that exist no more |
//! | `kubevirt.io` | `virtualmachineinstances` | `list` | a second attachment, where KubeVirt is installed |
//! | `kubevirt.io` | `virtualmachineinstancemigrations` | `list` | the same |
//! | `events.k8s.io` | `events` | `create` | telling the owner of a claim |
//! | `coordination.k8s.io` | `leases` | `get` | which controller does what is done once |
//! | `coordination.k8s.io` | `leases` | `create`, `patch` | the same |
//!
//! What that of the nodes needs stands in [`node`].

mod api_server;
mod calls;
mod clearing;
mod client;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod first_use;
mod joined;
mod kubevirt;
mod lease;
mod look;
mod node;
mod notice;
mod watched;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rds_csi_core::attachment::observation::{Claim, KubeVirt, Node, Pod, VolumeAttachment};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::names::DriverName;
use rds_csi_core::volume_id::VolumeId;

pub use api_server::ApiServer;
pub use clearing::{Clearing, ReadAttachment};
pub use lease::Leadership;
pub use look::{Look, attachments_of, now, observed, volume};
pub use node::{Held, NodeApiServer, NodeCluster};
pub use notice::{Notice, Severity};
pub use watched::Watched;

/// What the attachment rules are judged from.
#[async_trait]
pub trait Reader: Send + Sync + fmt::Debug {
    /// The PersistentVolume of this name; `None` if the cluster has none.
    async fn persistent_volume(&self, name: &str)
    -> Result<Option<PersistentVolume>, ClusterError>;

    /// Every VolumeAttachment of this driver, as of one moment after the call began.
    async fn volume_attachments(&self) -> Result<Vec<VolumeAttachment>, ClusterError>;

    /// A node as it is seen from a volume; `None` if the cluster has none of this name.
    async fn node(&self, name: &str, volume: &VolumeId) -> Result<Option<Node>, ClusterError>;

    /// Every pod of a namespace that is bound to a node.
    async fn pods(&self, namespace: &str, node: &str) -> Result<Vec<Pod>, ClusterError>;

    /// What there is of KubeVirt, with every migration of a namespace and those of its machines
    /// that have one of these names.
    async fn kubevirt(
        &self,
        namespace: &str,
        machines: &BTreeSet<&str>,
    ) -> Result<KubeVirt, ClusterError>;

    /// The name of the PersistentVolume that a claim is bound to; `None` if it is bound to
    /// none, or not there.
    async fn volume_of(&self, claim: &Claim) -> Result<Option<String>, ClusterError>;

    /// The disks on claims of a machine of KubeVirt; `None` if there is no such machine.
    ///
    /// [`ClusterError::Without`] if KubeVirt is installed in part, so that none can be seen.
    async fn disks(
        &self,
        namespace: &str,
        machine: &str,
    ) -> Result<Option<Vec<MachineDisk>>, ClusterError>;
}

/// A Kubernetes cluster, as the controller needs it.
#[async_trait]
pub trait Cluster: Reader + Clearing {
    /// Sets an annotation, if nobody has changed the PersistentVolume since it was read.
    ///
    /// [`ClusterError::Changed`] if somebody has, or removed it; after every other error
    /// the annotation may have been set or not.
    async fn annotate(
        &self,
        volume: &PersistentVolume,
        key: &str,
        value: &str,
    ) -> Result<(), ClusterError>;

    /// Posts an event on the claim of a PersistentVolume. One without a claim has nobody to
    /// be told, which is success.
    async fn post(&self, volume: &str, notice: &Notice) -> Result<(), ClusterError>;

    /// Whether this is the controller, of several, that does what is to be done once.
    fn leadership(&self) -> Leadership;

    /// What is known without asking, for readiness and metrics. Never blocks.
    fn link(&self) -> ClusterLink;
}

/// What matters of a PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersistentVolume {
    /// Its name.
    pub name: String,
    /// Which version of it was read.
    pub resource_version: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its CSI driver; empty where it is of another kind.
    pub driver: String,
    /// The driver's name for it.
    pub handle: String,
    /// Whether its nodes get a filesystem and not a raw device.
    pub is_filesystem: bool,
    /// `spec.accessModes`.
    pub access_modes: Vec<String>,
    /// What its volume context says.
    pub attributes: BTreeMap<String, String>,
    /// The claim that it is bound to.
    pub claim: Option<Claim>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl PersistentVolume {
    /// Whether it stands for this volume of this driver.
    #[must_use]
    pub fn is_of(&self, id: &VolumeId, driver: &DriverName) -> bool {
        self.driver == driver.as_str() && self.handle == id.as_str()
    }
}

/// A disk of a machine that lies on a claim of the machine's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineDisk {
    /// Its name in the machine.
    pub name: String,
    /// The claim.
    pub claim: String,
    /// Whether a migration copies it to another claim.
    pub copied: bool,
}

/// What is known of the way to the API server without asking it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterLink {
    /// Why the cluster cannot be relied on now; `None` if it answers and is watched.
    pub trouble: Option<String>,
    /// Requests so far, by what was asked and how it ended. Both are of fixed sets.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
}

/// Why the cluster gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// There is no way to an API server.
    #[error("neither $KUBECONFIG nor the service account of a pod leads to an API server: {0}")]
    Config(String),
    /// It did not answer in time. What was asked may still happen.
    #[error("the Kubernetes API server did not answer within {after:?} ({call})")]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// It could not be reached, or refused.
    #[error("the Kubernetes API server gave no answer ({call}): {reason}")]
    Failed {
        /// What was asked.
        call: &'static str,
        /// What happened, in its own words.
        reason: String,
    },
    /// The cluster knows some of KubeVirt's kinds and not all.
    #[error("KubeVirt is installed without {missing}")]
    Without {
        /// A kind that it does not know.
        missing: String,
    },
    /// Somebody else was faster.
    #[error("{name} changed while it was looked at; it is safe to ask again")]
    Changed {
        /// Which.
        name: String,
    },
}

impl Failure for ClusterError {
    fn kind(&self) -> Kind {
        match self {
            Self::Config(_) => Kind::Invalid,
            // Whoever asks again finds the cluster answering, its role completed, or KubeVirt.
            Self::TimedOut { .. } | Self::Failed { .. } | Self::Without { .. } => Kind::Unreachable,
            Self::Changed { .. } => Kind::Busy,
        }
    }
}
