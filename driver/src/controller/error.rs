//! Why an operation of the controller failed.

use rds_csi_cluster::ClusterError;
use rds_csi_core::attachment::Denial;
use rds_csi_core::attachment::grant::GrantError;
use rds_csi_core::attachment::observation::Unread;
use rds_csi_core::bytes::CapacityError;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::provision::ProvisionError;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_routeros::error::RdsError;

use super::attachments::AttachmentError;
use crate::inflight::Busy;

/// A failed operation of the controller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    /// The device did not answer, or refused.
    #[error(transparent)]
    Device(Box<RdsError>),
    /// The device's state forbids it.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The device's state forbids it for a volume that should be there already.
    #[error(transparent)]
    Existing(ProvisionError),
    /// A volume was to be made, and nobody can see whether an earlier try left a part.
    #[error("volume {id} is not made, as what is there of it cannot be seen")]
    Unseen {
        /// The volume.
        id: VolumeId,
        /// Why not.
        #[source]
        source: Box<RdsError>,
    },
    /// A volume cannot be completed now.
    #[error(
        "volume {id} is half-made; the next CreateVolume completes it, DeleteVolume removes it"
    )]
    HalfMade {
        /// The volume.
        id: VolumeId,
        /// Why it is not completed.
        #[source]
        source: Box<RdsError>,
    },
    /// No size fits.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// What was read back is not what was made.
    #[error("volume {id} is not as asked after {operation}")]
    NotVerified {
        /// The volume.
        id: VolumeId,
        /// What was done.
        operation: &'static str,
        /// What differs.
        #[source]
        source: Box<ProvisionError>,
    },
    /// Something of a removed volume was read back.
    #[error("volume {id} is not gone after its removal: {left}")]
    NotGone {
        /// The volume.
        id: VolumeId,
        /// What is left.
        left: &'static str,
    },
    /// A StorageClass that means another device.
    #[error("parameter {key}: {value} is not allowed: {allowed}")]
    Parameter {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        allowed: String,
    },
    /// Nodes have it.
    #[error("volume {id} is attached to node {}; it is deleted once it is detached", nodes.join(" and "))]
    Attached {
        /// The volume.
        id: VolumeId,
        /// Which nodes.
        nodes: Vec<String>,
    },
    /// Another node was granted the volume first, and a lost one is being shut out for it.
    #[error(
        "volume {id} was granted to node {node}, for which a lost node is shut out first; it is asked again"
    )]
    FenceUnderway {
        /// The volume.
        id: VolumeId,
        /// The node.
        node: String,
    },
    /// A lost node may still write, and no pod needs it shut out.
    #[error(
        "volume {id} is not taken from {lost}, which may still write, for node {node}, as no pod there asks for it. Nothing is to be done if the pod is gone. To see the pods there: kubectl get pods -A --field-selector spec.nodeName={node}"
    )]
    NobodyAsks {
        /// The volume.
        id: VolumeId,
        /// Which node has an attachment.
        node: String,
        /// Who may write.
        lost: String,
    },
    /// The yes is written down, the export may be made anew, and something else is in the way.
    #[error("volume {id} was granted to the node, and goes there once it is asked for again")]
    HalfAttached {
        /// The volume.
        id: VolumeId,
        /// What.
        #[source]
        source: Box<ControllerError>,
    },
    /// A lost node may still write, as its sessions could not be ended.
    #[error(
        "volume {id} is attached once the lost node that had it is shut out, and the device did not do that"
    )]
    NotRenewed {
        /// The volume.
        id: VolumeId,
        /// Why not.
        #[source]
        source: Box<RdsError>,
    },
    /// The device does not let the node in.
    #[error("volume {id} is attached once the device lets its nodes in, and it did not do that")]
    NotAdmitted {
        /// The volume.
        id: VolumeId,
        /// Why not.
        #[source]
        source: Box<ControllerError>,
    },
    /// A lost node may still write, and this device cannot shut it out.
    #[error(
        "volume {id} goes to no other node while {lost} may still write: this device was seen to keep sessions whose export ended, so nobody can be shut out by renewing it. Make sure that its machine is off, then say so: kubectl annotate pv {persistent_volume} {annotation}-"
    )]
    NotFenceable {
        /// The volume.
        id: VolumeId,
        /// Who may write.
        lost: String,
        /// The PersistentVolume with the record of it.
        persistent_volume: String,
        /// The key of that record.
        annotation: String,
    },
    /// Nobody has said yet whether a lost node can be shut out.
    #[error(
        "volume {id} goes to no other node while {lost} may still write: whether this device was seen to keep sessions whose export ended stands in the Lease of the controllers, which this one could not read yet, as its log says; it is asked again. Where that lasts, make sure that its machine is off, then say so: kubectl annotate pv {persistent_volume} {annotation}-"
    )]
    NotHeard {
        /// The volume.
        id: VolumeId,
        /// Who may write.
        lost: String,
        /// The PersistentVolume with the record of it.
        persistent_volume: String,
        /// The key of that record.
        annotation: String,
    },
    /// A node that is none of those that may have volumes.
    #[error("no node is called {node:?}: --nodes names {}", known.join(", "))]
    UnknownNode {
        /// Which node was asked for.
        node: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The attachment rules, over what this process knows.
    #[error("volume {id} cannot be attached to node {node:?}")]
    Attachment {
        /// The volume.
        id: VolumeId,
        /// Which node asked.
        node: String,
        /// Why not.
        #[source]
        source: Box<AttachmentError>,
    },
    /// The cluster shows nothing that could be granted.
    #[error("volume {id} cannot be attached")]
    NotAsked {
        /// The volume.
        id: VolumeId,
        /// Why not.
        #[source]
        source: Box<GrantError>,
    },
    /// The attachment rules, over what the cluster shows.
    #[error("volume {id} cannot be attached to node {node}")]
    Denied {
        /// The volume.
        id: VolumeId,
        /// Which node asked.
        node: String,
        /// Why not.
        #[source]
        source: Box<Denial>,
    },
    /// The node may still write.
    #[error("volume {id} stays attached to node {node}")]
    StillUsed {
        /// The volume.
        id: VolumeId,
        /// Which node has it.
        node: String,
        /// Why it is not taken from it.
        #[source]
        source: Box<Denial>,
    },
    /// Something that the attachment rules need could not be read.
    #[error("whether node {node} may have volume {id} cannot be judged now")]
    Unjudged {
        /// The volume.
        id: VolumeId,
        /// Which node it is about.
        node: String,
        /// What was not read, and why.
        #[source]
        source: Unread,
    },
    /// Something else is being done to the volume.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The cluster did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A page that does not exist.
    #[error("starting_token {0:?} is not one of ours; list again from the beginning")]
    Token(String),
}

impl From<RdsError> for ControllerError {
    fn from(error: RdsError) -> Self {
        Self::Device(Box::new(error))
    }
}

impl Failure for ControllerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Device(source) => source.kind(),
            Self::Provision(source) => source.kind(),
            // ALREADY_EXISTS is for whoever makes something.
            Self::Existing(source) => match source.kind() {
                Kind::Exists => Kind::Conflict,
                kind => kind,
            },
            Self::Capacity(source) => source.kind(),
            // Steps were taken, now or earlier: whatever is wrong, the orchestrator must
            // not forget the volume, and asking again looks again.
            Self::HalfMade { .. } | Self::NotVerified { .. } | Self::NotGone { .. } => {
                Kind::Unreachable
            }
            // The same holds where nobody can see whether steps were taken earlier, even
            // if the device says for good that it lets nobody see.
            Self::Unseen { source, .. } => match source.kind() {
                kind if kind.is_retryable() => kind,
                _ => Kind::Unreachable,
            },
            Self::Parameter { .. } => Kind::Invalid,
            Self::Attached { .. } => Kind::Conflict,
            Self::UnknownNode { .. } => Kind::NotFound,
            Self::Attachment { source, .. } => source.kind(),
            Self::NotAsked { source, .. } => source.kind(),
            Self::Denied { source, .. } => source.kind(),
            // Whatever the rule: the orchestrator must not take it for detached.
            Self::StillUsed { .. } | Self::Unjudged { .. } => Kind::Unreachable,
            // The export may have ended, and only the next call makes it whole.
            Self::FenceUnderway { .. } | Self::HalfAttached { .. } | Self::NotRenewed { .. } => {
                Kind::Unreachable
            }
            // Nothing was done: a pod may come for which the same call goes on.
            Self::NobodyAsks { .. } => Kind::Unreachable,
            // And asked again it goes on, once somebody has said that it may.
            Self::NotFenceable { .. } | Self::NotHeard { .. } | Self::NotAdmitted { .. } => {
                Kind::Unreachable
            }
            Self::Busy(source) => source.kind(),
            Self::Cluster(source) => source.kind(),
            // CSI's ListVolumes asks for ABORTED.
            Self::Token(_) => Kind::Busy,
        }
    }
}
