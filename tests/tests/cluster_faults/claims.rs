//! Claims that go away while their volumes are being made.

use std::time::Duration;

use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::books::{balanced, differences};
use crate::ground::{LONG, apply_claims, device, latency, numbered, on_whole_cluster};

const CLAIMS: usize = 8;
/// Long enough to see the volume being made, short enough for the provisioner's patience.
const SLOW: Duration = Duration::from_secs(4);

#[tokio::test]
async fn claims_deleted_while_their_volumes_are_made_leave_nothing() {
    on_whole_cluster(async |cluster| {
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-deleted").await?;
        latency(cluster, SLOW.as_millis().try_into()?).await?;
        let executions = async || {
            let state = device(cluster, json!({"op": "counters"})).await?;
            anyhow::Ok(state["counters"].clone())
        };
        let idle = executions().await?;
        let claims = numbered("claim", CLAIMS);
        apply_claims(&namespace, &claims).await?;
        until("the device is being asked", LONG, async || {
            Ok((executions().await? != idle).then_some(()))
        })
        .await?;
        let words = [&["delete", "pvc", "--all", "--timeout=150s"][..]].concat();
        namespace.kubectl(&words).await?;
        latency(cluster, 0).await?;
        balanced(cluster, &before).await?;
        namespace.delete().await?;
        balanced(cluster, &before).await.map(drop)
    })
    .await;
}
