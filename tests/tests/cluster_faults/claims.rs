//! Claims that go away while their volumes are being made.

use std::time::Duration;

use anyhow::Context as _;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::wait::until;
use serde_json::json;
use tokio::time::Instant;

use crate::books::{balanced, differences};
use crate::ground::{LONG, apply_claims, numbered, on_whole_cluster};
use crate::leaders::in_flight;

const CLAIMS: usize = 8;
/// Long enough to see the volume being made, short enough for the provisioner's patience.
const SLOW: Duration = Duration::from_secs(4);
/// Longer than a command takes, and than a pause between two of them.
const STILL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn claims_deleted_while_their_volumes_are_made_leave_nothing() {
    on_whole_cluster(async |cluster| {
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-deleted").await?;
        cluster.appliance().latency(SLOW).await?;
        let claims = numbered("claim", CLAIMS);
        apply_claims(&namespace, &claims).await?;
        until("volumes are being made", LONG, async || {
            Ok((in_flight(cluster).await? > 0).then_some(()))
        })
        .await?;
        let delete = ["delete", "pvc", "--all", "--timeout=150s"];
        namespace.kubectl(&delete).await?;
        cluster.appliance().latency(Duration::ZERO).await?;
        // Before, nothing may be there because a command that makes it has not ended.
        is_still(cluster).await?;
        balanced(cluster, &before).await?;
        namespace.delete().await?;
        balanced(cluster, &before).await.map(drop)
    })
    .await;
}

/// How many commands the device was given since it started.
async fn executions(cluster: &Cluster) -> anyhow::Result<u64> {
    let answer = cluster
        .appliance()
        .control(json!({"op": "counters"}))
        .await?;
    let count = answer["counters"]["executions"].as_u64();
    count.with_context(|| format!("no count of executions: {answer}"))
}

/// Waits until no controller has anything under way and the device has nothing to do.
async fn is_still(cluster: &Cluster) -> anyhow::Result<()> {
    let (mut last, mut since) = (executions(cluster).await?, Instant::now());
    until("nobody asks the device for anything", LONG, async || {
        let now = executions(cluster).await?;
        if now != last || in_flight(cluster).await? > 0 {
            (last, since) = (now, Instant::now());
        }
        Ok((since.elapsed() >= STILL).then_some(()))
    })
    .await
}
