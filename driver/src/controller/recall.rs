//! Offers volumes again under the names that their nodes were told, where the device has
//! forgotten them and this controller is the one that does so: see
//! [`rds_csi_core::provision::forgotten`]. Until then the nodes wait for a name that is not
//! there, and whoever was shut out could come in: so it is looked at once when the device is
//! back, and from time to time.
//!
//! No export is renewed while a node has the volume attached, so another name under which it is
//! offered then is one of before. Nothing is recalled by what could not be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_cluster::{Leadership, ReadAttachment};
use rds_csi_core::appliance::DiskItem;
use rds_csi_core::attachment::observation::VolumeAttachment;
use rds_csi_core::kind::Chain;
use rds_csi_core::provision::{self, ProvisionError, Told};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_routeros::Rds;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::attachments::InCluster;
use super::error::ControllerError;

/// How often it is asked whether the device is back, which needs no request.
const GLANCE: Duration = Duration::from_secs(1);
/// Until the next look, where one failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks for ever, so often and whenever the device is back.
pub(super) async fn follow(rds: &Arc<dyn Rds>, cluster: &InCluster, every: Duration) {
    let recall = Recall {
        rds: &**rds,
        cluster,
        leadership: cluster.cluster.leadership(),
    };
    let mut ticks = interval(GLANCE.min(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = None;
    loop {
        ticks.tick().await;
        if !recall.leadership.is_held() || !rds.link().connected {
            next = None;
            continue;
        }
        if next.is_some_and(|next| Instant::now() < next) {
            continue;
        }
        let looked = recall.look().await;
        let pause = looked.as_ref().map_or(AGAIN.min(every), |()| every);
        next = Some(Instant::now() + pause);
        if let Err(error) = looked {
            warn!("looking for forgotten names of volumes: {}", Chain(&error));
        }
    }
}

struct Recall<'a> {
    rds: &'a dyn Rds,
    cluster: &'a InCluster,
    leadership: Leadership,
}

impl Recall<'_> {
    /// One look, which puts right what it finds.
    async fn look(&self) -> Result<(), ControllerError> {
        let attachments = self.cluster.cluster.read_attachments().await?;
        if attachments.iter().all(|read| read.nqn.is_none()) {
            return Ok(());
        }
        let reading = self.rds.inventory().await?;
        let mut looked = Ok(());
        for (id, told) in self.told(&attachments) {
            let Some(item) = reading.inventory.item(&id) else {
                continue;
            };
            if provision::forgotten(item, &id, &told).is_none() {
                continue;
            }
            // One that cannot be put right holds up no other.
            if let Err(error) = self.put_right(&id, item).await {
                looked = looked.and(Err(error));
            }
        }
        looked
    }

    fn told<'a>(&self, attachments: &'a [ReadAttachment]) -> BTreeMap<VolumeId, Vec<Told<'a>>> {
        let mut told: BTreeMap<VolumeId, Vec<Told<'a>>> = BTreeMap::new();
        for read in attachments {
            let VolumeAttachment {
                persistent_volume,
                attached,
                leaving,
                ..
            } = &read.attachment;
            let id = VolumeId::for_name(&self.cluster.owner, persistent_volume);
            told.entry(id).or_default().push(Told {
                settled: *attached && !leaving,
                nqn: read.nqn.as_ref(),
            });
        }
        told
    }

    /// The device is read before the attachments: whoever was about to get the volume when its
    /// export was renewed has an attachment by then.
    async fn put_right(&self, id: &VolumeId, item: &DiskItem) -> Result<(), ControllerError> {
        let Some(file) = item.backing_file() else {
            return Ok(());
        };
        let state = self.rds.volume(id, &file).await?;
        let attachments = self.cluster.cluster.read_attachments().await?;
        let told = self.told(&attachments).remove(id).unwrap_or_default();
        let recalled = provision::recall(&state, id, &self.cluster.owner, &told)
            .map_err(ControllerError::Existing)?;
        let Some(renewal) = recalled.filter(|_| self.leadership.is_held()) else {
            return Ok(());
        };
        let nqn = &renewal.nqn;
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
        warn!(volume_id = %id, %nqn, "the device had forgotten the volume's name; it is offered under it again");
        Ok(())
    }
}
