//! Clears VolumeAttachments of nodes that exist no more, where this controller is the one that
//! does so: see [`rds_csi_core::attachment::leftovers`].
//!
//! An attachment is deleted over the version that was read, so that no other of its name is,
//! and is only asked to leave by that: external-attacher calls ControllerUnpublishVolume, which
//! judges for itself. What could not be read clears nothing, and nothing is cleared whose node
//! would not be shut out at the device.

use rds_csi_cluster::{ClusterError, Leadership, ReadAttachment, now};
use rds_csi_core::attachment::Fencing;
use rds_csi_core::attachment::leftovers::{Leftover, Leftovers, Pace, Seen, Step, in_the_way};
use rds_csi_core::attachment::observation::VolumeAttachment;
use rds_csi_core::kind::Chain;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::attachments::InCluster;

/// Looks for them for ever.
pub(super) async fn clear(cluster: &InCluster, pace: Pace) {
    let (began, leadership) = (Instant::now(), cluster.cluster.leadership());
    let mut ticks = interval(pace.look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leftovers = Leftovers::new(pace);
    let mut last = None;
    let mut seen = true;
    loop {
        ticks.tick().await;
        let term = leadership.term();
        // Another one may have acted meanwhile, on what it saw.
        if term != last {
            leftovers = Leftovers::new(pace);
            last = term;
        }
        if term.is_some() {
            let mut pass = Pass {
                cluster,
                began,
                leadership: &leadership,
                term,
                leftovers: &mut leftovers,
            };
            let looked = pass.look().await;
            if let (true, Err(error)) = (seen, &looked) {
                warn!("looking for leftover attachments: {}", Chain(error));
            }
            seen = looked.is_ok();
        }
        cluster.reports.leftovers(leftovers.count());
    }
}

/// One look, and what follows from it.
struct Pass<'a> {
    cluster: &'a InCluster,
    began: Instant,
    leadership: &'a Leadership,
    /// The term in which it began, which is over for what comes after it.
    term: Option<u64>,
    leftovers: &'a mut Leftovers,
}

impl Pass<'_> {
    async fn look(&mut self) -> Result<(), ClusterError> {
        let cluster = &self.cluster.cluster;
        let began = self.began.elapsed();
        let read = cluster.read_attachments().await?;
        // After the attachments: a node that is new by now may have one already.
        let nodes = cluster.node_names().await?;
        let attachments: Vec<VolumeAttachment> =
            read.iter().map(|read| read.attachment.clone()).collect();
        let steps = self.leftovers.look(&Seen {
            attachments: &attachments,
            nodes: &nodes,
            began,
            ended: self.began.elapsed(),
            at: now(),
        });
        let mut looked = Ok(());
        for (leftover, step) in steps {
            // One that cannot be cleared holds up no other.
            if let Err(error) = self.take(&leftover, step, &read).await {
                looked = looked.and(Err(error));
            }
        }
        looked
    }

    async fn take(
        &mut self,
        leftover: &Leftover,
        step: Step,
        read: &[ReadAttachment],
    ) -> Result<(), ClusterError> {
        let reports = &self.cluster.reports;
        let is_it = |read: &&ReadAttachment| read.attachment.uid == leftover.attachment.uid;
        match (step, read.iter().find(is_it)) {
            (Step::Clear, Some(read)) => self.clear(leftover, read).await?,
            // There is nothing that could be.
            (Step::Clear, None) => {}
            (Step::Cleared, _) => reports.cleared(leftover),
            (Step::Hangs, _) => reports.hangs(leftover),
        }
        Ok(())
    }

    async fn clear(
        &mut self,
        leftover: &Leftover,
        read: &ReadAttachment,
    ) -> Result<(), ClusterError> {
        let (cluster, reports) = (&self.cluster.cluster, &self.cluster.reports);
        let VolumeAttachment {
            name,
            uid,
            node,
            persistent_volume,
            ..
        } = &read.attachment;
        let volume = cluster.persistent_volume(persistent_volume).await?;
        let claim = volume.and_then(|volume| volume.claim);
        let pods = cluster.pods_on(node).await?;
        if let Some(pod) = in_the_way(node, claim.as_ref(), &pods) {
            if self.leftovers.is_news(uid) {
                reports.stays_for(leftover, pod);
            }
            return Ok(());
        }
        if self.cluster.fencing != Fencing::Enforce {
            if self.leftovers.is_news(uid) {
                reports.stays_unfenced(leftover);
            }
            return Ok(());
        }
        if self.leadership.term() != self.term {
            return Ok(());
        }
        let cleared = cluster.clear(read).await;
        if let Err(ClusterError::Changed { .. }) = cleared {
            debug!(name, "changed before it was cleared");
            return Ok(());
        }
        self.leftovers.answered(uid, cleared.is_ok());
        cleared?;
        reports.cleared(leftover);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
