//! Letting go of a volume, and what is noted of that.

use rds_csi_cluster::{ClusterError, Look, PersistentVolume, observed};
use rds_csi_core::attachment::fence::Lost;
use rds_csi_core::attachment::observation::{Part, Unread, Volume, VolumeAttachment};
use rds_csi_core::attachment::{Fencing, LetGo, Release, release};
use rds_csi_core::kind::Chain;
use rds_csi_core::volume_id::VolumeId;
use tracing::{info, warn};

use super::{ATTEMPTS, InCluster, within_deadline};
use crate::controller::error::ControllerError;
use crate::controller::reports::FenceTold;

impl InCluster {
    /// Whether a node may be taken to have let go of a volume: the VolumeAttachment goes
    /// when this is answered, and another node gets the volume.
    pub(crate) async fn release(&self, id: &VolumeId, node: &str) -> Result<(), ControllerError> {
        within_deadline(async {
            let mut look = Look::new(self.reader(), id, Volume::default(), Vec::new());
            let released = loop {
                let released = release(Some(node), &self.modes, look.seen());
                let Release::Unknown(Unread { part, why: None }) = &released else {
                    break released;
                };
                // Whose pods may be waiting for it matters only where the node works.
                if *part == Part::Pods {
                    look.is(self.attached(id, node).await?);
                }
                look.read(part).await;
            };
            let (id, node) = (id.clone(), node.to_owned());
            match released {
                Release::LetGo(why) => {
                    info!(volume_id = %id, node, ?why, "the node has let go");
                    self.note(&id, &node, why).await
                }
                Release::Keep(source) => {
                    self.reports.kept(&source);
                    let source = Box::new(source);
                    Err(ControllerError::StillUsed { id, node, source })
                }
                Release::Unknown(source) => Err(ControllerError::Unjudged { id, node, source }),
            }
        })
        .await
    }

    /// Notes that the node of an attachment has let go, or may not have: whoever is not in
    /// the record, as it was attached by another driver, could not be shut out.
    async fn note(&self, id: &VolumeId, node: &str, why: LetGo) -> Result<(), ControllerError> {
        if self.fencing == Fencing::Off {
            return Ok(());
        }
        let mut attempts = 1;
        loop {
            let Some((attachment, volume)) = self.attachment(id, node).await? else {
                return Ok(());
            };
            let record = observed(&self.driver, &volume, &[]).record;
            let entry = record.entry(&attachment.uid);
            if entry.is_none() && !attachment.attached {
                // It was only wished for.
                return Ok(());
            }
            let is_certain = why.is_certain(&attachment, entry);
            let noted = if is_certain {
                record.released(&attachment.uid)
            } else {
                record.lost(&attachment)
            };
            let written = match &noted {
                Some(record) => self.write(&volume, record).await,
                None => Ok(()),
            };
            match written {
                Err(ClusterError::Changed { .. }) if attempts < ATTEMPTS => attempts += 1,
                Err(failed) if is_certain => {
                    // It is shut out needlessly when the volume is next attached.
                    warn!(volume_id = %id, node, "noting that it has let go: {}", Chain(&failed));
                    return Ok(());
                }
                Err(failed) => return Err(failed.into()),
                // A pod that never began on a node that works is shut out later and no loss that
                // anybody should hear of: so ends each migration that is aborted early.
                Ok(()) if is_certain || matches!(why, LetGo::NotBegun) => return Ok(()),
                Ok(()) => return self.tell(id, &attachment).await,
            }
        }
    }

    /// Tells that a node may still write beside another one that has the volume, as after a
    /// migration from it: no attachment follows there at which it would be shut out.
    async fn tell(&self, id: &VolumeId, lost: &VolumeAttachment) -> Result<(), ControllerError> {
        let told = match self.fencing {
            Fencing::Off => return Ok(()),
            Fencing::Record => FenceTold::Recorded,
            Fencing::Enforce => FenceTold::InUse,
        };
        let (volume, gone) = (&lost.persistent_volume, &lost.node);
        let holders = self.holders(id).await?;
        let lost = Lost {
            attachment: lost.uid.clone(),
            node: gone.clone(),
        };
        for other in holders.iter().filter(|other| *other != gone) {
            let lost = std::slice::from_ref(&lost);
            self.reports.fence(volume, other, told, lost);
        }
        Ok(())
    }

    /// The volume by its attachment to a node; nothing is known of one without.
    async fn attached(&self, id: &VolumeId, node: &str) -> Result<Volume, ClusterError> {
        let found = self.attachment(id, node).await?;
        Ok(found.map_or_else(Volume::default, |(_, volume)| {
            rds_csi_cluster::volume(&volume, &self.driver)
        }))
    }

    /// The attachment of a volume to a node, and the PersistentVolume that it names.
    async fn attachment(
        &self,
        id: &VolumeId,
        node: &str,
    ) -> Result<Option<(VolumeAttachment, PersistentVolume)>, ClusterError> {
        let attachments = self.cluster.read_attachments().await?;
        let mut of_it = self.by_volume(&attachments).of(id).into_iter();
        let Some(found) = of_it.find(|found| found.attachment.node == node) else {
            return Ok(None);
        };
        let found = found.attachment.clone();
        let volume = self
            .cluster
            .persistent_volume(&found.persistent_volume)
            .await?;
        let volume = volume.filter(|volume| volume.is_of(id, &self.driver));
        Ok(volume.map(|volume| (found, volume)))
    }
}
