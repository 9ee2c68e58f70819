//! Looks from time to time whether each volume lets in the nodes that have it, where this
//! controller is the one that does so: the device may have been away when a node let go, and
//! a volume may have been attached before it was seen what the device does.
//!
//! What is not as it should be may be on its way: an attachment is written down before the
//! device is told. So it is put right only if the look before found the same.

use std::collections::BTreeMap;
use std::time::Duration;

use rds_csi_core::attachment::Fencing;
use rds_csi_core::kind::Chain;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::provision;
use rds_csi_core::volume_id::VolumeId;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Admission;
use crate::controller::attachments::InCluster;
use crate::controller::error::ControllerError;

/// How often a volume is put right before its nodes are as they were.
const ATTEMPTS: u32 = 3;

/// What each volume should be changed to.
type Due = BTreeMap<VolumeId, Vec<Nqn>>;

/// Looks for ever, so often: what waits is closed too late, and keeps nobody from working.
pub(in crate::controller) async fn follow(
    admission: &Admission,
    cluster: &InCluster,
    every: Duration,
) {
    if admission.settings.fencing != Fencing::Enforce {
        return;
    }
    let leadership = cluster.cluster.leadership();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Due::new();
    loop {
        ticks.tick().await;
        if !leadership.is_held() || !admission.rds.link().connected {
            due.clear();
            continue;
        }
        if let Err(error) = look(admission, cluster, &mut due).await {
            warn!("looking at whom volumes let in: {}", Chain(&error));
        }
    }
}

/// One look: puts right what was found due before already, and leaves in `due` what is found
/// now; nothing where nobody could look.
pub(in crate::controller) async fn look(
    admission: &Admission,
    cluster: &InCluster,
    due: &mut Due,
) -> Result<(), ControllerError> {
    let before = std::mem::take(due);
    if admission
        .known
        .as_ref()
        .and_then(super::Known::access)
        .is_none()
    {
        return Ok(());
    }
    let term = cluster.cluster.leadership().term();
    let reading = admission.rds.inventory().await?;
    let attachments = cluster.cluster.read_attachments().await?;
    let by_volume = cluster.by_volume(&attachments);
    let mut looked = Ok(());
    for item in &reading.inventory.items {
        let Some((id, _)) = provision::marked(item, &cluster.owner) else {
            continue;
        };
        let of_it = by_volume.of(&id);
        if of_it.is_empty() {
            continue;
        }
        let have_it = of_it.iter().filter(|read| read.attachment.attached);
        let nodes = have_it.map(|read| read.attachment.node.clone()).collect();
        let Some(hosts) = admission.plan(&id, item, &nodes) else {
            continue;
        };
        if before.get(&id) == Some(&hosts) {
            // One that cannot be put right holds up no other.
            if let Err(error) = put_right(admission, cluster, &id, term).await {
                looked = looked.and(Err(error));
            }
        }
        due.insert(id, hosts);
    }
    looked
}

/// Until the nodes that have it are those that it was done for: one may come meanwhile. Ends
/// with the term in which it was begun.
async fn put_right(
    admission: &Admission,
    cluster: &InCluster,
    id: &VolumeId,
    term: Option<u64>,
) -> Result<(), ControllerError> {
    // Whoever works on the volume lets in whom he must; the next look finds what is left.
    let Ok(_guard) = admission.locks.try_lock_unasked(id.as_str()) else {
        return Ok(());
    };
    let leadership = cluster.cluster.leadership();
    let mut nodes = cluster.holders(id).await?;
    for _ in 0..ATTEMPTS {
        if leadership.term() != term {
            break;
        }
        let file = admission.settings.volume_directory.file(id);
        let state = admission.rds.volume(id, &file).await?;
        admission.admit(id, state, &nodes).await?;
        let now = cluster.holders(id).await?;
        if now == nodes {
            break;
        }
        nodes = now;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
