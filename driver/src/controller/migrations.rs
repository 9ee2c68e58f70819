//! Follows live migrations, where this controller is the one that does so: looks from time
//! to time who has what, and tells what has changed.

use std::time::Duration;

use rds_csi_cluster::ClusterError;
use rds_csi_core::attachment::{HandOver, Holders, Migrations};
use rds_csi_core::kind::Chain;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::attachments::InCluster;

/// How often a look is taken: a migration takes tens of seconds.
const LOOK: Duration = Duration::from_secs(5);

/// Follows migrations for ever.
pub(super) async fn follow(cluster: &InCluster) {
    let (began, leadership) = (Instant::now(), cluster.cluster.leadership());
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut migrations = Migrations::default();
    let mut seen = true;
    loop {
        ticks.tick().await;
        if !leadership.is_held() {
            migrations = Migrations::default();
            cluster.reports.migrations(0);
            continue;
        }
        let looked = look(cluster, &mut migrations, began.elapsed()).await;
        if let (true, Err(error)) = (seen, &looked) {
            warn!("following migrations: {}", Chain(error));
        }
        seen = looked.is_ok();
    }
}

async fn look(
    cluster: &InCluster,
    migrations: &mut Migrations,
    now: Duration,
) -> Result<(), ClusterError> {
    let attachments = cluster.cluster.volume_attachments().await?;
    let mut holders = Holders::new();
    for attachment in attachments.iter().filter(|found| found.attached) {
        let volume = attachment.persistent_volume.clone();
        let nodes = holders.entry(volume).or_default();
        nodes.insert(attachment.node.clone());
    }
    let mut found: Vec<(String, Option<HandOver>)> = Vec::new();
    for volume in migrations.unknown(&holders) {
        // What could not be read is asked about again.
        if let Ok(hand_over) = cluster.hand_over(&volume, &attachments).await? {
            found.push((volume, hand_over));
        }
    }
    for told in migrations.look(&holders, found, now) {
        cluster.reports.migration(&told);
    }
    cluster.reports.migrations(migrations.active());
    Ok(())
}

#[cfg(test)]
mod tests;
