//! Webhooks that die while claims are made.

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::{Claim, Namespace};
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::ground::{LONG, all_bound, apply_claims, numbered, on_whole_cluster};
use crate::processes::webhooks;

const BURSTS: usize = 4;
const CLAIMS: usize = 10;

#[tokio::test]
async fn a_burst_of_claims_outlasts_the_death_of_every_webhook() {
    on_whole_cluster(async |cluster| {
        let namespace = Namespace::new(cluster, "faults-webhook").await?;
        let mut all = Vec::new();
        for burst in 0..BURSTS {
            let claims = numbered(&format!("claim-{burst}"), CLAIMS);
            let (applied, killed) = tokio::join!(apply_claims(&namespace, &claims), kill(cluster));
            applied?;
            killed?;
            all.extend(claims);
        }
        all_bound(&namespace, &all).await?;

        cluster.product_is_ready().await?;
        refuses_again(&namespace).await?;
        namespace.delete().await
    })
    .await;
}

/// Kills every webhook that runs.
async fn kill(cluster: &Cluster) -> anyhow::Result<()> {
    for webhook in webhooks(cluster).await? {
        webhook.kill(cluster).await?;
    }
    Ok(())
}

/// Waits until the webhook refuses what only it knows to be impossible.
async fn refuses_again(namespace: &Namespace) -> anyhow::Result<()> {
    let mut claim = Claim::filesystem("impossible").manifest();
    claim["spec"]["dataSource"] = json!({
        "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "any",
    });
    until("the webhook refuses again", LONG, async || {
        let Err(refusal) = namespace.apply(&claim).await else {
            namespace.remove("pvc", "impossible").await?;
            return Ok(None);
        };
        let refusal = format!("{refusal:#}");
        anyhow::ensure!(refusal.contains("would have to copy the data"), "{refusal}");
        Ok(Some(()))
    })
    .await
}
