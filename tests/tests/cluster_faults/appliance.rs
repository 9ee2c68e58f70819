//! The appliance loses its power under pods that write.

use anyhow::ensure;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::wait::until;

use crate::ground::{LONG, on_whole_cluster};
use crate::writer::{apply, restarts, start, verify, writes};

const PODS: usize = 10;

#[tokio::test]
async fn ten_writing_pods_outlast_a_restart_of_the_appliance_without_an_error() {
    on_whole_cluster(async |cluster| {
        let namespace = Namespace::new(cluster, "faults-appliance").await?;
        let mut claims = Vec::new();
        for number in 0..=PODS / 3 {
            claims.extend(cluster.kinds(&format!("writer-{number}-")).await?);
        }
        claims.truncate(PODS);
        apply(&namespace, &claims).await?;
        start(&namespace, &claims, &cluster.node_names()).await?;

        cluster.appliance().power_off().await?;
        until("every session has lost its device", LONG, async || {
            Ok((lost_sessions(cluster).await? >= PODS).then_some(()))
        })
        .await?;
        cluster.appliance().power_on().await?;
        for claim in &claims {
            writes(&namespace, claim).await?;
            verify(&namespace, claim, 0).await?;
            let name = &claim.name;
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
