//! Attachments as a cluster shows them.
//!
//! Every decision is made from readings of its own: the PersistentVolume first, then the
//! VolumeAttachments, then one write over the version that was read. Nothing is kept
//! between calls, so several processes decide as one; see [`grant`].

use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::attachment::grant::{Grant, GrantError, Observed, Record, grant};
use rds_csi_core::cluster_id::ClusterId;
use rds_csi_core::names::{DriverName, annotation};
use rds_csi_core::volume_id::VolumeId;
use tokio::time::timeout;

use super::{Granted, Wanted};
use crate::cluster::{Cluster, ClusterError, PersistentVolume};
use crate::controller::error::ControllerError;

/// How long a decision may take in all.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a decision is made anew because the PersistentVolume changed under it.
const ATTEMPTS: u32 = 3;

/// The attachments of a cluster.
#[derive(Debug)]
pub(crate) struct InCluster {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) driver: DriverName,
    /// Whose volumes these are.
    pub(crate) owner: ClusterId,
}

impl InCluster {
    /// See [`super::Attachments::attach`].
    pub(crate) async fn attach(&self, wanted: &Wanted<'_>) -> Result<Granted, ControllerError> {
        let late = ClusterError::TimedOut {
            call: "deciding on an attachment",
            after: DEADLINE,
        };
        let decided = timeout(DEADLINE, async {
            for _ in 1..ATTEMPTS {
                match self.decide(wanted).await {
                    Err(ControllerError::Cluster(ClusterError::Changed { .. })) => {}
                    decided => return decided,
                }
            }
            self.decide(wanted).await
        });
        decided.await.unwrap_or(Err(late.into()))
    }

    async fn decide(&self, wanted: &Wanted<'_>) -> Result<Granted, ControllerError> {
        let refused = |source| ControllerError::Refused {
            id: wanted.id.clone(),
            node: wanted.node.to_owned(),
            source: Box::new(source),
        };
        let Some(volume) = self.persistent_volume(wanted).await? else {
            let node = wanted.node.to_owned();
            return Err(refused(GrantError::NotAsked { node }));
        };
        // After the PersistentVolume: whoever is in its record and not here is gone.
        let mut attachments = self.cluster.volume_attachments().await?;
        attachments.retain(|attachment| {
            attachment.persistent_volume == volume.name
                || attachment.is_named_after(wanted.id, &self.driver)
        });
        let noted = |key| {
            volume
                .annotations
                .get(&self.driver.annotation(key))
                .cloned()
        };
        let observed = Observed {
            persistent_volume: &volume.name,
            shared: volume.is_shared(),
            record: Record::parse(&noted(annotation::GRANTED).unwrap_or_default()),
            attachments: &attachments,
        };
        match grant(&observed, wanted.node, wanted.access).map_err(refused)? {
            Grant::Stands => {}
            Grant::Write(record) => {
                let key = self.driver.annotation(annotation::GRANTED);
                let record = record.to_string();
                self.cluster.annotate(&volume, &key, &record).await?;
            }
        }
        Ok(Granted {
            first_used: noted(annotation::FIRST_USED),
            format_override: noted(annotation::FORMAT_OVERRIDE),
        })
    }

    /// The PersistentVolume that stands for the volume: nearly always the one that it was
    /// made for. One made by hand, or a volume of the older driver, is found by the
    /// attachment that asks for it.
    async fn persistent_volume(
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

    /// See [`super::Attachments::nodes`].
    pub(crate) async fn nodes(&self, id: &VolumeId) -> Result<Vec<String>, ControllerError> {
        let attachments = self.cluster.volume_attachments().await?;
        let of_it = attachments.into_iter().filter(|attachment| {
            attachment.is_named_after(id, &self.driver)
                || VolumeId::for_name(&self.owner, &attachment.persistent_volume) == *id
        });
        Ok(of_it.map(|attachment| attachment.node).collect())
    }
}

#[cfg(test)]
mod tests;
