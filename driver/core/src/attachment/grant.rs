//! Whether a node may have a volume, from what a Kubernetes cluster shows.
//!
//! A VolumeAttachment is the cluster's wish that a node has a volume; `status.attached`
//! says that it came true. In between there is a gap: the driver has said yes, and
//! nothing shows it yet. Kubernetes counts only what came true, so two wishes for one
//! ReadWriteOnce volume do exist at once, and a controller that dies in the gap takes
//! its memory along. So every yes is written down first, in the [`Record`]: an
//! annotation of the PersistentVolume that is only ever written over the version that
//! was read. The order of those writes decides who wins, no clock does.
//!
//! Whether the yes is right is for [`super::judge()`], which counts the entry of another node
//! like an attachment that came true. An entry counts while its VolumeAttachment exists, and only
//! then: a record that is out of date, lost or edited gives nobody a volume that another node
//! has, nor does it bring an attachment back. A wish that was neither granted nor came true
//! holds nothing.
//!
//! An entry is marked when its node is known to have let go. One whose VolumeAttachment went
//! without that is of a node that may still write: what follows is for [`super::fence`].

mod record;

use sha2::{Digest as _, Sha256};

use super::identity::NodeIdentity;
use super::observation::Standing;
use crate::kind::{Failure, Kind};
use crate::names::DriverName;
use crate::volume_id::VolumeId;
pub use record::{Entry, Record};

/// A VolumeAttachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeAttachment {
    /// Its name.
    pub name: String,
    /// Its identity, which no later object of the same name has.
    pub uid: String,
    /// `spec.nodeName`.
    pub node: String,
    /// `spec.source.persistentVolumeName`, empty where it names none.
    pub persistent_volume: String,
    /// `status.attached`.
    pub attached: bool,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
}

impl VolumeAttachment {
    /// Whether the attach-detach controller made it for this volume. It names each one
    /// after volume, driver and node, so that two PersistentVolumes of one volume do not
    /// hide from each other.
    #[must_use]
    pub fn is_named_after(&self, id: &VolumeId, driver: &DriverName) -> bool {
        self.name == attachment_name(id, driver, &self.node)
    }
}

/// What the attach-detach controller names the VolumeAttachment of a volume to a node:
/// `csi-` and the SHA-256 of the three, one behind the other.
#[must_use]
pub fn attachment_name(id: &VolumeId, driver: &DriverName, node: &str) -> String {
    let digest = Sha256::new()
        .chain_update(id.as_str())
        .chain_update(driver.as_str())
        .chain_update(node)
        .finalize();
    format!("csi-{digest:x}")
}

/// What a volume is called in a Node's `status.volumesInUse` and `status.volumesAttached`.
#[must_use]
pub fn name_on_nodes(id: &VolumeId, driver: &DriverName) -> String {
    format!("kubernetes.io/csi/{driver}^{id}")
}

/// What the cluster shows of one volume. The PersistentVolume must have been read before
/// the VolumeAttachments: an entry of its record without an attachment is taken for an
/// attachment that is gone.
#[derive(Debug, Clone)]
pub struct Observed<'a> {
    /// The PersistentVolume's name.
    pub persistent_volume: &'a str,
    /// What was granted so far.
    pub record: Record,
    /// Every VolumeAttachment of the volume.
    pub attachments: &'a [VolumeAttachment],
}

impl Observed<'_> {
    /// The same attachments for [`super::judge()`], each with whether it was granted: one
    /// that is in the record but not attached yet counts like one that is.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let standing = |attachment: &VolumeAttachment| Standing {
            attachment: attachment.clone(),
            granted: self.record.has(&attachment.uid),
        };
        self.attachments.iter().map(standing).collect()
    }

    /// Whether there is something to judge: an attachment of `node`, by the one name that
    /// the volume has.
    ///
    /// # Errors
    /// See [`GrantError`].
    pub fn asked_by(&self, node: &str) -> Result<(), GrantError> {
        let here = self.persistent_volume;
        let is_other = |attachment: &&VolumeAttachment| attachment.persistent_volume != here;
        if let Some(other) = self.attachments.iter().find(is_other) {
            return Err(GrantError::TwoNames {
                here: here.to_owned(),
                there: other.persistent_volume.clone(),
                attachment: other.name.clone(),
            });
        }
        if self
            .attachments
            .iter()
            .all(|attachment| attachment.node != node)
        {
            let node = node.to_owned();
            return Err(GrantError::NotAsked { node });
        }
        Ok(())
    }

    /// What makes a yes to `node` hold, once [`super::judge()`] has said it: its attachments
    /// that stay, beside everything that was granted before, and what is attached without a
    /// word of this driver or by an earlier release, of which the node would be forgotten.
    /// `identity` is who the node is now. Was it another machine when it was granted, that one
    /// is kept beside it, as one whose attachment is gone. `reader` is whether the yes was said
    /// because only pods that read ask for it.
    #[must_use]
    pub fn grant(&self, node: &str, identity: Option<NodeIdentity>, reader: bool) -> Grant {
        let mut record = self.record.clone();
        let reader = reader || self.only_reads(node);
        for own in self.attachments_of(node) {
            let is_another = record.set_aside(own, identity);
            if is_another || !record.stands(own) {
                record.grant(own, identity, reader);
            } else if reader {
                record.reads(own);
            }
        }
        for found in self.attachments {
            record.know(found);
        }
        if record == self.record {
            Grant::Stands
        } else {
            Grant::Write(record)
        }
    }

    /// Whether a node was granted the volume only to read it. That it stays while it has an
    /// attachment, whoever has the volume meanwhile: a node was told with its attachment, and
    /// nobody tells it anything else.
    #[must_use]
    pub fn only_reads(&self, node: &str) -> bool {
        let mut own = self.attachments.iter().filter(|found| found.node == node);
        own.any(|own| {
            self.record
                .entry(&own.uid)
                .is_some_and(|entry| entry.reader)
        })
    }

    /// The attachments of a node that stay.
    pub(super) fn attachments_of(&self, node: &str) -> impl Iterator<Item = &VolumeAttachment> {
        self.attachments
            .iter()
            .filter(move |found| found.node == node && !found.leaving)
    }
}

/// A node may have the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// It was granted before.
    Stands,
    /// Once this record is written over the one that was read.
    Write(Record),
}

/// Why there is nothing to judge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Nothing would show that the node has it.
    #[error("the cluster has no VolumeAttachment of it for node {node:?}")]
    NotAsked {
        /// The node.
        node: String,
    },
    /// Two PersistentVolumes lead to one volume.
    #[error(
        "PersistentVolumes {here} and {there} both name this volume, and VolumeAttachment {attachment} asks for the latter: keep one of the two"
    )]
    TwoNames {
        /// The one that was looked at.
        here: String,
        /// The other one.
        there: String,
        /// Who asks for it.
        attachment: String,
    },
}

impl Failure for GrantError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAsked { .. } => Kind::NotFound,
            Self::TwoNames { .. } => Kind::Conflict,
        }
    }
}

#[cfg(test)]
mod tests;
