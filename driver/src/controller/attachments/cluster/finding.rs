//! Which PersistentVolume and which attachments are a volume's, and which nodes have it.

use std::collections::BTreeSet;

use rds_csi_cluster::{PersistentVolume, attachments_of, observed};
use rds_csi_core::attachment::observation::VolumeAttachment;
use rds_csi_core::volume_id::VolumeId;

use super::{InCluster, within_deadline};
use crate::controller::attachments::Wanted;
use crate::controller::error::ControllerError;

impl InCluster {
    /// The PersistentVolume that stands for the volume: nearly always the one that it was
    /// made for. One made by hand, or a volume of the older driver, is found by the
    /// attachment that asks for it.
    pub(super) async fn persistent_volume(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<Option<PersistentVolume>, ControllerError> {
        let is_it = |volume: &PersistentVolume| volume.is_of(wanted.id, &self.driver);
        if let Some(name) = wanted.made_for {
            let volume = self.cluster.persistent_volume(name.as_str()).await?;
            if let Some(volume) = volume.filter(is_it) {
                return Ok(Some(volume));
            }
        }
        let attachments = self.cluster.volume_attachments().await?;
        let asking = attachments.iter().find(|attachment| {
            attachment.node == wanted.node && attachment.is_named_after(wanted.id, &self.driver)
        });
        let Some(asking) = asking else {
            return Ok(None);
        };
        let volume = self.cluster.persistent_volume(&asking.persistent_volume);
        Ok(volume.await?.filter(is_it))
    }

    /// Whether an attachment is of a volume, by its own name or by that of its
    /// PersistentVolume.
    pub(super) fn is_of(&self, id: &VolumeId, attachment: &VolumeAttachment) -> bool {
        attachment.is_named_after(id, &self.driver)
            || VolumeId::for_name(&self.owner, &attachment.persistent_volume) == *id
    }

    /// See [`super::Attachments::holders`].
    pub(crate) async fn holders(&self, id: &VolumeId) -> Result<BTreeSet<String>, ControllerError> {
        within_deadline(async {
            let attachments = self.cluster.volume_attachments().await?;
            let mut of_it = attachments.iter().filter(|found| self.is_of(id, found));
            let Some(first) = of_it.next() else {
                return Ok(BTreeSet::new());
            };
            // The record first: whoever is in it and not in what is read after it is gone.
            let name = &first.persistent_volume;
            let Some(volume) = self.cluster.persistent_volume(name).await? else {
                return Ok(BTreeSet::new());
            };
            let all = self.cluster.volume_attachments().await?;
            let attachments = attachments_of(&self.driver, id, &volume, &all);
            let standing = observed(&self.driver, &volume, &attachments).standing();
            let holding = standing.into_iter().filter(|found| found.holds());
            Ok(holding.map(|found| found.attachment.node).collect())
        })
        .await
    }

    /// See [`super::Attachments::nodes`].
    pub(crate) async fn nodes(&self, id: &VolumeId) -> Result<Vec<String>, ControllerError> {
        let attachments = self.cluster.volume_attachments().await?;
        let of_it = attachments
            .into_iter()
            .filter(|attachment| self.is_of(id, attachment));
        Ok(of_it.map(|attachment| attachment.node).collect())
    }
}
