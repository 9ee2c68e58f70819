//! Offers volumes again under the names that their nodes were told, where the device has
//! forgotten them and this controller is the one that does so: see
//! [`rds_csi_core::provision::forgotten`]. Until then the nodes wait for a name that is not
//! there, and whoever was shut out could come in: so it is looked at once when the device is
//! back, and from time to time.
//!
//! No export is renewed while a node has the volume attached, so another name under which it is
//! offered then is one of before. Nothing is recalled by what could not be read, nor where
//! sessions were seen to outlive their export: who came in meanwhile would stay.

use std::time::Duration;

use rds_csi_cluster::{Leadership, ReadAttachment, observed};
use rds_csi_core::appliance::DiskItem;
use rds_csi_core::attachment::observation::VolumeAttachment;
use rds_csi_core::kind::Chain;
use rds_csi_core::provision::{self, ProvisionError, Told};
use rds_csi_core::volume_id::VolumeId;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::admit::Admission;
use super::attachments::InCluster;
use super::error::ControllerError;
use super::probe::Sessions;

/// How often it is asked whether the device is back, which needs no request.
const GLANCE: Duration = Duration::from_secs(1);
/// Until the next look, where one failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks for ever, so often and whenever the device is back.
pub(super) async fn follow(admission: &Admission, cluster: &InCluster, every: Duration) {
    let recall = Recall {
        admission,
        cluster,
        leadership: cluster.cluster.leadership(),
    };
    let mut ticks = interval(GLANCE.min(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = None;
    loop {
        ticks.tick().await;
        if !recall.leadership.is_held() || !admission.rds.link().connected {
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
    admission: &'a Admission,
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
        let reading = self.admission.rds.inventory().await?;
        let by_volume = self.cluster.by_volume(&attachments);
        let mut looked = Ok(());
        for item in &reading.inventory.items {
            let Some(id) = provision::named(item, &self.cluster.owner) else {
                continue;
            };
            let of_it = by_volume.of(&id).into_iter();
            let told: Vec<Told<'_>> = of_it.filter(|read| is_attached(read)).map(told).collect();
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

    /// The device is read before the attachments and the record: whoever was about to get the
    /// volume when its export was renewed has an attachment by then that was granted.
    async fn put_right(&self, id: &VolumeId, item: &DiskItem) -> Result<(), ControllerError> {
        let Some(file) = item.backing_file() else {
            return Ok(());
        };
        // Who is getting the volume is told the name that the device was seen to have.
        let _guard = self.admission.locks.try_lock_unasked(id.as_str())?;
        let state = self.admission.rds.volume(id, &file).await?;
        let attachments = self.cluster.cluster.read_attachments().await?;
        let mut told_names = Vec::new();
        for read in self.cluster.by_volume(&attachments).of(id) {
            if is_attached(read) || self.is_granted(&read.attachment).await? {
                told_names.push(told(read));
            }
        }
        let recalled = provision::recall(&state, id, &self.cluster.owner, &told_names)
            .map_err(ControllerError::Existing)?;
        let Some(renewal) = recalled.filter(|_| self.leadership.is_held()) else {
            return Ok(());
        };
        let nqn = &renewal.nqn;
        // Whoever was shut out may have come in by the name of now, and would stay.
        if self.admission.sessions() != Sessions::End {
            warn!(volume_id = %id, %nqn, "the device has forgotten the volume's name, and it is not offered under it again, as sessions may outlive their export on this device: make sure that no other node has it connected, then set nvme-tcp-server-nqn by hand");
            return Ok(());
        }
        let owner = renewal.owner.as_ref();
        let state = self
            .admission
            .rds
            .apply(id, &file, owner, &renewal.steps)
            .await?;
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

    /// Whether an attachment that is not attached yet was granted. One that was not may stand for
    /// as long as its pod waits, and holds nobody up: it has no part in how the volume is offered.
    async fn is_granted(&self, attachment: &VolumeAttachment) -> Result<bool, ControllerError> {
        let InCluster {
            cluster, driver, ..
        } = self.cluster;
        let volume = cluster.persistent_volume(&attachment.persistent_volume);
        // What was granted of one that is gone is not known.
        Ok(volume.await?.is_none_or(|volume| {
            let record = observed(driver, &volume, &[]).record;
            record.has(&attachment.uid)
        }))
    }
}

fn is_attached(read: &ReadAttachment) -> bool {
    read.attachment.attached
}

/// What an attachment says of the volume's name.
fn told(read: &ReadAttachment) -> Told<'_> {
    Told {
        settled: read.attachment.attached && !read.attachment.leaving,
        nqn: read.nqn.as_ref(),
    }
}

#[cfg(test)]
mod tests;
