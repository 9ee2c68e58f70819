//! Webhooks that die while claims are made.

use anyhow::ensure;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::metrics;
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::ground::{LONG, all_bound, apply_claims, numbered, on_whole_cluster};
use crate::processes::webhooks;

const BURSTS: usize = 4;
const CLAIMS: usize = 12;
/// The webhook of claims, in the API server's metrics.
const OF_CLAIMS: &str = "persistentvolumeclaims.webhook";

#[tokio::test]
async fn a_burst_of_claims_outlasts_the_death_of_every_webhook() {
    on_whole_cluster(async |cluster| {
        let namespace = Namespace::new(cluster, "faults-webhook").await?;
        let before = unasked(cluster).await?;
        let mut all = Vec::new();
        for burst in 0..BURSTS {
            cluster.product_is_ready().await?;
            let asked = reviewed(cluster).await?;
            let claims = numbered(&format!("claim-{burst}"), CLAIMS);
            let one_by_one = async {
                for claim in &claims {
                    apply_claims(&namespace, std::slice::from_ref(claim)).await?;
                }
                anyhow::Ok(())
            };
            let killed = async {
                until("a claim of the burst was reviewed", LONG, async || {
                    Ok((reviewed(cluster).await? > asked).then_some(()))
                })
                .await?;
                kill(cluster).await
            };
            let (applied, killed) = tokio::join!(one_by_one, killed);
            applied?;
            ensure!(killed? > 0, "no webhook died in burst {burst}");
            all.extend(claims);
        }
        all_bound(&namespace, &all).await?;
        let unasked = unasked(cluster).await? - before;
        println!("{unasked} of {} claims found no webhook", all.len());
        ensure!(unasked > 0, "every claim found a webhook");

        cluster.product_is_ready().await?;
        refuses_again(&namespace).await?;
        namespace.delete().await
    })
    .await;
}

/// How many claims were admitted since the API server's start because no webhook answered.
async fn unasked(cluster: &Cluster) -> anyhow::Result<u64> {
    let metric = "apiserver_admission_webhook_fail_open_count";
    let page = cluster.api_metrics().await?;
    metrics::sum(&page, metric, &[OF_CLAIMS])
}

/// How many new claims a webhook has answered about since the API server's start.
async fn reviewed(cluster: &Cluster) -> anyhow::Result<u64> {
    let metric = "apiserver_admission_webhook_request_total";
    let page = cluster.api_metrics().await?;
    let answered = [OF_CLAIMS, "operation=\"CREATE\"", "code=\"200\""];
    metrics::sum(&page, metric, &answered)
}

/// Kills every webhook that runs: how many died.
async fn kill(cluster: &Cluster) -> anyhow::Result<usize> {
    let mut killed = 0;
    for webhook in webhooks(cluster).await? {
        killed += usize::from(webhook.kill(cluster).await?);
    }
    Ok(killed)
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
