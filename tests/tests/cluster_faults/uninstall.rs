//! The chart goes while its volumes are in use, and comes back.

use anyhow::ensure;
use rds_csi_core::names::DEFAULT_DRIVER_NAME;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::wait::until;

use crate::books::{balanced, differences};
use crate::ground::{LONG, on_whole_cluster};
use crate::processes::controllers;
use crate::writer::{apply, kinds, restarts, start, verify, writes};

#[tokio::test]
async fn pods_write_on_while_the_chart_is_uninstalled_and_all_is_well_once_it_is_back() {
    on_whole_cluster(async |cluster| {
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-uninstall").await?;
        let claims = kinds(cluster, "").await?;
        apply(&namespace, &claims).await?;
        let nodes = cluster.node_names();
        start(&namespace, &claims, &nodes).await?;

        cluster.uninstall().await?;
        let driver = cluster.find(&["csidriver", DEFAULT_DRIVER_NAME]).await?;
        ensure!(driver.is_none(), "the driver is still there: {driver:?}");
        // helm awaits the end of its own objects, not of the pods that were made for them.
        until("no controller is left", LONG, async || {
            Ok(controllers(cluster).await?.is_empty().then_some(()))
        })
        .await?;
        for claim in &claims {
            writes(&namespace, claim).await?;
        }
        balanced(cluster, &before).await?;

        cluster.ensure_installed().await?;
        let mut last = Vec::new();
        for claim in &claims {
            writes(&namespace, claim).await?;
            last.push(verify(&namespace, claim).await?);
            let name = &claim.name;
            ensure!(
                restarts(&namespace, name).await? == 0,
                "{name} saw an error"
            );
            namespace.remove("pod", name).await?;
        }
        // The volumes move, as they always could.
        let others: Vec<&str> = nodes.into_iter().rev().collect();
        start(&namespace, &claims, &others).await?;
        for (claim, last) in claims.iter().zip(last) {
            let moved = verify(&namespace, claim).await?;
            ensure!(moved > last, "{} lost blocks", claim.name);
        }
        namespace.delete().await?;
        balanced(cluster, &before).await.map(drop)
    })
    .await;
}
