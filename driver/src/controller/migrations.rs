//! Follows live migrations, where this controller is the one that does so: looks from time
//! to time who has what, and tells what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use rds_csi_cluster::ClusterError;
use rds_csi_core::attachment::observation::{KubeVirt, Migration, VolumeAttachment};
use rds_csi_core::attachment::{Found, Holders, Migrations, Seen};
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
    let (lists, unread) = lists(cluster, migrations.namespaces()).await;
    let seen = Seen {
        holders,
        migrations: lists,
    };
    let mut found = Vec::new();
    for volume in migrations.unknown(&seen) {
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
    for told in migrations.look(&seen, found, now) {
        cluster.reports.migration(&told);
    }
    cluster.reports.migrations(migrations.active());
    unread
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

/// The migrations of those of these namespaces where all could be read, and an error if that is
/// not so in each.
async fn lists(
    cluster: &InCluster,
    namespaces: BTreeSet<String>,
) -> (BTreeMap<String, Vec<Migration>>, Result<(), ClusterError>) {
    let (mut lists, mut outcome) = (BTreeMap::new(), Ok(()));
    let no_machines = BTreeSet::new();
    for namespace in namespaces {
        match cluster.cluster.kubevirt(&namespace, &no_machines).await {
            Ok(KubeVirt::Present { migrations, .. }) => {
                lists.insert(namespace, migrations);
            }
            Ok(KubeVirt::Absent) => {
                lists.insert(namespace, Vec::new());
            }
            // A kind that is not served for now hides objects.
            Ok(KubeVirt::Incomplete { missing }) => {
                outcome = Err(ClusterError::Without { missing });
            }
            Err(error) => outcome = Err(error),
        }
    }
    (lists, outcome)
}

#[cfg(test)]
mod tests;
