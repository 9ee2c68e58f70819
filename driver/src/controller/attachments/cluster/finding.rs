//! Which PersistentVolume and which attachments are a volume's, and which nodes have it.

use std::collections::{BTreeMap, BTreeSet};

use rds_csi_cluster::{PersistentVolume, ReadAttachment, attachments_of, observed};
use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::names::DriverName;
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

    /// These attachments, which are all, by the volumes that they are of.
    pub(crate) fn by_volume<'a>(&'a self, all: &'a [ReadAttachment]) -> ByVolume<'a> {
        let mut made_for: BTreeMap<VolumeId, Vec<&ReadAttachment>> = BTreeMap::new();
        for read in all {
            let id = VolumeId::for_name(&self.owner, &read.attachment.persistent_volume);
            made_for.entry(id).or_default().push(read);
        }
        let by_name = |read: &'a ReadAttachment| (read.attachment.name.as_str(), read);
        ByVolume {
            driver: &self.driver,
            nodes: all.iter().map(|read| &*read.attachment.node).collect(),
            named: all.iter().map(by_name).collect(),
            made_for,
        }
    }

    /// See [`super::Attachments::holders`].
    pub(crate) async fn holders(&self, id: &VolumeId) -> Result<BTreeSet<String>, ControllerError> {
        within_deadline(async {
            let attachments = self.cluster.read_attachments().await?;
            let Some(first) = self.by_volume(&attachments).of(id).into_iter().next() else {
                return Ok(BTreeSet::new());
            };
            // The record first: whoever is in it and not in what is read after it is gone.
            let name = &first.attachment.persistent_volume;
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
        let attachments = self.cluster.read_attachments().await?;
        let of_it = self.by_volume(&attachments).of(id).into_iter();
        Ok(of_it.map(|read| read.attachment.node.clone()).collect())
    }
}

/// Every attachment, to be asked for those of a volume. The attach-detach controller names each
/// after volume, driver and node, which says the volume whatever its PersistentVolume is called;
/// one of another name is the volume's that its PersistentVolume was made for.
pub(crate) struct ByVolume<'a> {
    driver: &'a DriverName,
    nodes: BTreeSet<&'a str>,
    named: BTreeMap<&'a str, &'a ReadAttachment>,
    made_for: BTreeMap<VolumeId, Vec<&'a ReadAttachment>>,
}

impl<'a> ByVolume<'a> {
    /// Those of a volume, each once.
    pub(crate) fn of(&self, id: &VolumeId) -> Vec<&'a ReadAttachment> {
        let mut found = self.made_for.get(id).cloned().unwrap_or_default();
        // A digest for each node and not for each attachment, of which there are many more.
        for node in &self.nodes {
            let name = attachment_name(id, self.driver, node);
            let named = self.named.get(name.as_str());
            let is_new = |read: &&&ReadAttachment| {
                let mut known = found.iter();
                known.all(|known| known.attachment.name != read.attachment.name)
            };
            found.extend(named.filter(is_new).copied());
        }
        found
    }
}
