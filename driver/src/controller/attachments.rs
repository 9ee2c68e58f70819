//! Who may have which volume: asked of the cluster, or known to this process only.

mod cluster;
mod process;

use std::collections::BTreeSet;

use rds_csi_core::access::Access;
use rds_csi_core::attachment::Fencing;
use rds_csi_core::nqn::Epoch;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::VolumeName;

use super::error::ControllerError;
use super::probe::Sessions;
pub(crate) use cluster::InCluster;
use process::Attachment;
pub(crate) use process::{AttachmentError, InProcess};

/// Where attachments are known.
#[derive(Debug)]
pub(crate) enum Attachments {
    /// The cluster's own objects, read at each decision.
    Cluster(InCluster),
    /// Nowhere else.
    Process(InProcess),
}

/// What ControllerPublishVolume asks for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The volume.
    pub(crate) id: &'a VolumeId,
    /// The name that the device says it was made for.
    pub(crate) made_for: Option<&'a VolumeName>,
    /// The node.
    pub(crate) node: &'a str,
    /// How it will be used there.
    pub(crate) access: &'a Access,
    /// Whether it is only to be read there.
    pub(crate) read_only: bool,
    /// Whether its export was seen to have ended.
    pub(crate) ended: bool,
    /// The epoch that the export is of, once that was seen to.
    pub(crate) renewed: Option<&'a Epoch>,
    /// What becomes of sessions when their export ends, as far as anybody has seen.
    pub(crate) sessions: Sessions,
}

/// What is known of a volume that a node may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Granted {
    /// When it was first used as a filesystem, if that is noted.
    pub(crate) first_used: Option<String>,
    /// A person's reason to format it all the same.
    pub(crate) format_override: Option<String>,
    /// The nodes that have it or were granted it, this one included.
    pub(crate) nodes: BTreeSet<String>,
    /// Whether that was written down just now: nobody knew of it when the device was read.
    pub(crate) is_new: bool,
    /// Whether this one has it only to be read.
    pub(crate) reader: bool,
    /// What is to be done before the node may use it: it is to be asked for again then.
    pub(crate) due: Option<Due>,
}

/// The export is to begin an epoch: nodes that may still write are to be shut out, or it has
/// ended, as a renewal was cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// The epoch that the export must be of.
    pub(crate) epoch: Epoch,
    /// Who they are, in words; empty if nobody is to be shut out.
    pub(crate) lost: String,
    /// The PersistentVolume that has them in its record.
    pub(crate) persistent_volume: String,
}

impl Attachments {
    /// Whether a volume may have to be offered anew before a node uses it.
    pub(crate) fn may_renew(&self) -> bool {
        match self {
            Self::Cluster(cluster) => cluster.fencing == Fencing::Enforce,
            Self::Process(_) => false,
        }
    }

    /// Lets a node have a volume, if the rules allow it. Asking again is granted again.
    pub(crate) async fn attach(&self, wanted: &Wanted<'_>) -> Result<Granted, ControllerError> {
        match self {
            Self::Cluster(cluster) => cluster.attach(wanted).await,
            Self::Process(process) => {
                let attachment = Attachment {
                    node: wanted.node.to_owned(),
                    access: wanted.access.clone(),
                    read_only: wanted.read_only,
                };
                let attached = process.attach(wanted.id, attachment);
                attached.map_err(|source| ControllerError::Attachment {
                    id: wanted.id.clone(),
                    node: wanted.node.to_owned(),
                    source: Box::new(source),
                })?;
                Ok(Granted {
                    nodes: process.nodes(wanted.id).into_iter().collect(),
                    ..Granted::default()
                })
            }
        }
    }

    /// Takes a volume from a node, or from all where none is named. In a cluster it is
    /// the VolumeAttachment that says who has it, and that goes when this succeeds: it is
    /// judged whether the node may be taken to have let go, and noted in the record of the
    /// PersistentVolume whether it is known to have.
    pub(crate) async fn detach(
        &self,
        id: &VolumeId,
        node: Option<&str>,
    ) -> Result<(), ControllerError> {
        match (self, node) {
            (Self::Cluster(cluster), Some(node)) => cluster.release(id, node).await,
            (Self::Cluster(_), None) => Ok(()),
            (Self::Process(process), _) => {
                process.detach(id, node);
                Ok(())
            }
        }
    }

    /// The nodes that have a volume or were granted it, as it is now.
    pub(crate) async fn holders(&self, id: &VolumeId) -> Result<BTreeSet<String>, ControllerError> {
        match self {
            Self::Cluster(cluster) => cluster.holders(id).await,
            Self::Process(process) => Ok(process.nodes(id).into_iter().collect()),
        }
    }

    /// The nodes that have a volume or are about to.
    pub(crate) async fn nodes(&self, id: &VolumeId) -> Result<Vec<String>, ControllerError> {
        match self {
            Self::Cluster(cluster) => cluster.nodes(id).await,
            Self::Process(process) => Ok(process.nodes(id)),
        }
    }
}
