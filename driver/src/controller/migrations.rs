//! Follows live migrations, where this controller is the one that does so: looks from time
//! to time who has what, and tells what has changed.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rds_csi_cluster::ClusterError;
use rds_csi_core::attachment::observation::{KubeVirt, Migration, VolumeAttachment};
use rds_csi_core::attachment::{Found, HandOver, Holders, Migrations};
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
    let mut last = None;
    let mut seen = true;
    loop {
        ticks.tick().await;
        let term = leadership.term();
        // Another one may have looked meanwhile, and told what it saw.
        if term != last {
            migrations = Migrations::default();
            last = term;
        }
        if term.is_none() {
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
    let mut found = Vec::new();
    for volume in migrations.unknown(&holders) {
        let (younger, age) = younger(&attachments, &volume);
        // What could not be read is asked about again.
        if let Ok(hand_over) = cluster.hand_over(&volume, &attachments, younger).await? {
            found.push(Found {
                volume,
                hand_over,
                age,
            });
        }
    }
    let failed = failed(cluster, migrations.arrived(&holders)).await?;
    for told in migrations.look(&holders, found, &failed, now) {
        cluster.reports.migration(&told);
    }
    cluster.reports.migrations(migrations.active());
    Ok(())
}

/// Which node's attachment of a volume that two have is the younger one, unless they are of one
/// age, and how old it is.
fn younger<'a>(attachments: &'a [VolumeAttachment], volume: &str) -> (Option<&'a str>, Duration) {
    let is_its = |found: &&VolumeAttachment| found.attached && found.persistent_volume == volume;
    let mut of_it: Vec<&VolumeAttachment> = attachments.iter().filter(is_its).collect();
    of_it.sort_by_key(|found| found.created);
    let [.., elder, younger] = of_it.as_slice() else {
        return (None, Duration::ZERO);
    };
    let now = Timestamp::now().as_second();
    // Another one's clock may be ahead.
    let age = younger
        .created
        .and_then(|made| u64::try_from(now - made).ok())
        .map(Duration::from_secs);
    let node = (elder.created < younger.created).then_some(younger.node.as_str());
    (node, age.unwrap_or_default())
}

/// Of the namespaces of migrations, the UIDs of those that have failed.
async fn failed(
    cluster: &InCluster,
    arrived: impl Iterator<Item = &HandOver>,
) -> Result<BTreeSet<String>, ClusterError> {
    let namespace = |hand_over: &HandOver| Some(hand_over.migration.split_once('/')?.0.to_owned());
    let namespaces: BTreeSet<String> = arrived.filter_map(namespace).collect();
    let mut failed = BTreeSet::new();
    for namespace in namespaces {
        let kubevirt = cluster
            .cluster
            .kubevirt(&namespace, &BTreeSet::new())
            .await?;
        if let KubeVirt::Present { migrations, .. } = kubevirt {
            let of_it = migrations.into_iter().filter(Migration::has_failed);
            failed.extend(of_it.map(|migration| migration.uid));
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests;
