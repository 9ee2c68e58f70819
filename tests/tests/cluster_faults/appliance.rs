//! The appliance loses its power under pods that write.

use anyhow::ensure;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::{Claim, Namespace};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::ground::{LONG, apply_claims, numbered, on_whole_cluster};
use crate::writer::{restarts, verify, writer, writes};

const PODS: usize = 10;

#[tokio::test]
async fn ten_writing_pods_outlast_a_restart_of_the_appliance_without_an_error() {
    on_whole_cluster(async |cluster| {
        let namespace = Namespace::new(cluster, "faults-appliance").await?;
        let names = numbered("writer", PODS);
        apply_claims(&namespace, &names).await?;
        let nodes = cluster.node_names();
        let pods: Vec<Value> = names
            .iter()
            .zip(nodes.iter().cycle())
            .map(|(name, node)| writer(name, Some(node), &Claim::filesystem(name)))
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        namespace.apply(&list).await?;
        for name in &names {
            namespace.running(name).await?;
            writes(&namespace, name).await?;
        }

        cluster.appliance().power_off().await?;
        until("every session has lost its device", LONG, async || {
            Ok((lost_sessions(cluster).await? >= PODS).then_some(()))
        })
        .await?;
        cluster.appliance().power_on().await?;
        for name in &names {
            writes(&namespace, name).await?;
            verify(&namespace, name).await?;
            ensure!(restarts(&namespace, name).await? == 0, "{name} failed");
        }
        namespace.delete().await
    })
    .await;
}

/// How many NVMe sessions of all nodes look for their device.
async fn lost_sessions(cluster: &Cluster) -> anyhow::Result<usize> {
    let mut lost = 0;
    for node in cluster.node_names() {
        let script = "cat /sys/class/nvme/nvme*/state 2>/dev/null || true";
        let output = cluster.node(node)?.run(&["sh", "-c", script]).await?;
        lost += output
            .text()
            .lines()
            .filter(|state| *state == "connecting")
            .count();
    }
    Ok(lost)
}
