//! Offers volumes again under the names that their nodes were told, where the device has
//! forgotten them and this controller is the one that does so: see
//! [`rds_csi_core::provision::forgotten`]. Until then the nodes wait for a name that is not there.
//!
//! What is not as it should be may be on its way, so it is put right only if the look before
//! found the same, and only if it is still so by what is read then. Nothing is recalled by what
//! could not be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_cluster::{Leadership, ReadAttachment};
use rds_csi_core::appliance::DiskItem;
use rds_csi_core::backing_file::BackingFile;
use rds_csi_core::kind::Chain;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::provision::{self, ProvisionError, Told};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_routeros::Rds;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::attachments::InCluster;
use super::error::ControllerError;

/// The names that were forgotten.
type Due = BTreeMap<VolumeId, Nqn>;

/// Looks for ever, so often.
pub(super) async fn follow(rds: &Arc<dyn Rds>, cluster: &InCluster, every: Duration) {
    let recall = Recall {
        rds: &**rds,
        cluster,
        leadership: cluster.cluster.leadership(),
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Due::new();
    loop {
        ticks.tick().await;
        if !recall.leadership.is_held() || !rds.link().connected {
            before.clear();
            continue;
        }
        match recall.look(&before).await {
            Ok(due) => before = due,
            Err(error) => {
                before.clear();
                warn!("looking for forgotten names of volumes: {}", Chain(&error));
            }
        }
    }
}

struct Recall<'a> {
    rds: &'a dyn Rds,
    cluster: &'a InCluster,
    leadership: Leadership,
}

impl Recall<'_> {
    /// One look: puts right what was found `before` already, and gives what is found now.
    async fn look(&self, before: &Due) -> Result<Due, ControllerError> {
        let attachments = self.cluster.cluster.read_attachments().await?;
        if attachments.iter().all(|read| read.nqn.is_none()) {
            return Ok(Due::new());
        }
        let reading = self.rds.inventory().await?;
        let mut due = Due::new();
        for item in &reading.inventory.items {
            let Some((id, _)) = provision::marked(item, &self.cluster.owner) else {
                continue;
            };
            let told = self.told(&attachments, &id);
            let Some(nqn) = provision::forgotten(item, &id, &told) else {
                continue;
            };
            if before.get(&id) == Some(&nqn) {
                self.put_right(&id, item, &nqn).await?;
            } else {
                due.insert(id, nqn);
            }
        }
        Ok(due)
    }

    fn told<'a>(&self, attachments: &'a [ReadAttachment], id: &VolumeId) -> Vec<Told<'a>> {
        let owner = &self.cluster.owner;
        let of_volume = attachments
            .iter()
            .filter(|read| VolumeId::for_name(owner, &read.attachment.persistent_volume) == *id);
        let told = of_volume.map(|read| Told {
            settled: read.attachment.attached && !read.attachment.leaving,
            nqn: read.nqn.as_ref(),
        });
        told.collect()
    }

    async fn put_right(
        &self,
        id: &VolumeId,
        item: &DiskItem,
        nqn: &Nqn,
    ) -> Result<(), ControllerError> {
        let path = item
            .file()
            .and_then(|disk| disk.path.parse::<BackingFile>().ok());
        let Some(file) = path else {
            return Ok(());
        };
        let state = self.rds.volume(id, &file).await?;
        // After the device: whoever is about to get the volume by now has an attachment.
        let attachments = self.cluster.cluster.read_attachments().await?;
        let told = self.told(&attachments, id);
        let recalled = provision::recall(&state, id, &self.cluster.owner, &told)
            .map_err(ControllerError::Existing)?;
        let Some(renewal) = recalled.filter(|renewal| renewal.nqn == *nqn) else {
            return Ok(());
        };
        if !self.leadership.is_held() {
            return Ok(());
        }
        let owner = renewal.owner.as_ref();
        let state = self.rds.apply(id, &file, owner, &renewal.steps).await?;
        let found = state.item.and_then(|item| item.nqn).unwrap_or_default();
        if found != nqn.as_str() {
            return Err(ControllerError::Existing(ProvisionError::Different {
                id: id.clone(),
                property: "nvme-tcp-server-nqn",
                found,
                wanted: nqn.to_string(),
            }));
        }
        info!(volume_id = %id, %nqn, "the device had forgotten the volume's name; it is offered under it again");
        Ok(())
    }
}
