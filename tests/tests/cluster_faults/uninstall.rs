//! The chart goes while its volumes are in use, and comes back.

use anyhow::ensure;
use rds_csi_core::names::DEFAULT_DRIVER_NAME;
use rds_csi_tests::cluster::namespace::{Claim, Namespace};

use crate::books::{balanced, differences};
use crate::ground::on_whole_cluster;
use crate::processes::controllers;
use crate::writer::{restarts, verify, writer, writes};

#[tokio::test]
async fn pods_write_on_while_the_chart_is_uninstalled_and_all_is_well_once_it_is_back() {
    on_whole_cluster(async |cluster| {
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-uninstall").await?;
        let nodes = cluster.node_names();
        for node in &nodes {
            let claim = Claim::filesystem(node);
            namespace.apply(&claim.manifest()).await?;
            namespace.apply(&writer(node, Some(node), &claim)).await?;
        }
        for node in &nodes {
            namespace.running(node).await?;
            writes(&namespace, node).await?;
        }

        cluster.uninstall().await?;
        let driver = cluster.find(&["csidriver", DEFAULT_DRIVER_NAME]).await?;
        ensure!(driver.is_none(), "the driver is still there: {driver:?}");
        ensure!(
            controllers(cluster).await?.is_empty(),
            "a controller still runs"
        );
        for node in &nodes {
            writes(&namespace, node).await?;
        }
        balanced(cluster, &before).await?;

        cluster.ensure_installed().await?;
        for (node, other) in nodes.iter().zip(nodes.iter().rev()) {
            writes(&namespace, node).await?;
            let last = verify(&namespace, node).await?;
            ensure!(
                restarts(&namespace, node).await? == 0,
                "{node} saw an error"
            );
            namespace.remove("pod", node).await?;
            // The volume moves, as it always could.
            let moved = writer(node, Some(other), &Claim::filesystem(node));
            namespace.apply(&moved).await?;
            namespace.running(node).await?;
            writes(&namespace, node).await?;
            ensure!(verify(&namespace, node).await? > last, "{node} lost blocks");
        }
        namespace.delete().await?;
        balanced(cluster, &before).await.map(drop)
    })
    .await;
}
