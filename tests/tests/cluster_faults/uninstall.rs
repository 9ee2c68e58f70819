//! The chart goes while its volumes are in use, and comes back.

use anyhow::ensure;
use rds_csi_core::names::DEFAULT_DRIVER_NAME;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::cluster::{AuditLog, Cluster};
use rds_csi_tests::wait::until;

use crate::books::{balanced, differences};
use crate::ground::{LONG, on_whole_cluster};
use crate::processes::controllers;
use crate::writer::{apply, restarts, start, verify, writes};

const CONFIGURATIONS: &str = "validatingwebhookconfigurations";
/// The service of the webhook, and its configuration.
const SERVICE: &str = "rds-csi-webhook";

#[tokio::test]
async fn pods_write_on_while_the_chart_is_uninstalled_and_all_is_well_once_it_is_back() {
    on_whole_cluster(async |cluster| {
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-uninstall").await?;
        let claims = cluster.kinds("").await?;
        apply(&namespace, &claims).await?;
        let nodes = cluster.node_names();
        start(&namespace, &claims, &nodes).await?;

        uninstall(cluster).await?;
        for claim in &claims {
            writes(&namespace, claim).await?;
        }
        balanced(cluster, &before).await?;

        cluster.ensure_installed().await?;
        let mut last = Vec::new();
        for claim in &claims {
            writes(&namespace, claim).await?;
            last.push(verify(&namespace, claim, 0).await?);
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
            let moved = verify(&namespace, claim, last).await?;
            ensure!(moved > last, "{} lost blocks", claim.name);
        }
        namespace.delete().await?;
        balanced(cluster, &before).await.map(drop)
    })
    .await;
}

/// Uninstalls the chart and waits until nothing of it runs.
async fn uninstall(cluster: &Cluster) -> anyhow::Result<()> {
    let mut log = cluster.audit();
    log.skip()?;
    cluster.uninstall().await?;
    admission_went_first(cluster, &mut log).await?;
    let driver = cluster.find(&["csidriver", DEFAULT_DRIVER_NAME]).await?;
    ensure!(driver.is_none(), "the driver is still there: {driver:?}");
    // helm awaits the end of its own objects, not of the pods that were made for them.
    until("no controller is left", LONG, async || {
        Ok(controllers(cluster).await?.is_empty().then_some(()))
    })
    .await
}

/// The webhook's configuration goes before the service that it names: in between, the API
/// server would ask nobody, and hold up or let pass what it should have asked about. The
/// webhook's own Secret goes too, with what the webhook wrote into it.
async fn admission_went_first(cluster: &Cluster, log: &mut AuditLog) -> anyhow::Result<()> {
    for (kind, name) in [
        (CONFIGURATIONS, SERVICE),
        ("secrets", "rds-csi-webhook-tls"),
    ] {
        let words = ["--namespace", NAMESPACE, kind, name];
        let found = cluster.find(&words).await?;
        ensure!(found.is_none(), "still there: {found:?}");
    }
    let mut deleted = Vec::new();
    // The log may be a little behind.
    let deleted = until("the end of the service is in the log", LONG, async || {
        deleted.extend(log.pick(SERVICE, |line| {
            let target = &line["objectRef"];
            let is_it = line["verb"] == "delete"
                && target["name"] == SERVICE
                && line["responseStatus"]["code"].as_u64() < Some(300);
            is_it.then(|| target["resource"].as_str().unwrap_or_default().to_owned())
        })?);
        let has_service = deleted.iter().any(|kind| kind == "services");
        Ok(has_service.then(|| deleted.clone()))
    })
    .await?;
    let last = |kind: &str| deleted.iter().rposition(|deleted| deleted == kind);
    let configuration = last(CONFIGURATIONS);
    ensure!(
        configuration.is_some() && configuration < last("services"),
        "deleted in this order: {deleted:?}"
    );
    Ok(())
}
