//! Certificates that last a minute, under a stream of claims: each is judged.

use std::time::Duration;

use rds_csi_tests::cluster::namespace::{Claim, Namespace};
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::DryRun;
use crate::certificates::bundle;
use crate::ground::{DENIED_BY_WEBHOOK, await_refusal, clone_of_another, close, install, open};

const LEAF: Duration = Duration::from_secs(60);
/// Between two claims.
const PAUSE: Duration = Duration::from_millis(50);

/// Short lives; and an answer that does not come is a refusal that the stream sees.
fn values() -> Value {
    json!({
        "webhook": {
            "certificates": {"self": {
                "leafLifetime": "60s", "caLifetime": "180s", "caLeadTime": "10s",
            }},
            "failurePolicy": {"persistentVolumeClaims": "Fail"},
            // The processors may be busy with something else; this is not about time.
            "timeoutSeconds": 30,
        },
    })
}

/// Asks for claims, good and bad in turn, until told to stop: how many were judged.
async fn claims(requests: DryRun, stop: CancellationToken) -> Result<u64, String> {
    let (good, bad) = (
        Claim::filesystem("good").manifest(),
        clone_of_another("copy"),
    );
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judged = 0;
    while !stop.is_cancelled() {
        ticks.tick().await;
        requests.create(&good).await?;
        match requests.create(&bad).await {
            Err(said) if said.contains(DENIED_BY_WEBHOOK) => judged += 2,
            Err(said) => return Err(said),
            Ok(()) => return Err("a bad claim was admitted".to_owned()),
        }
    }
    Ok(judged)
}

/// The certificate in use, as the Secret has it.
async fn leaf(product: &Namespace) -> anyhow::Result<String> {
    let secret = product.get("secret", "rds-csi-webhook-tls").await?;
    Ok(secret["data"]["tls.crt"].to_string())
}

/// Watches until neither a CA nor a certificate of the beginning is in use: how many
/// different certificates there were.
async fn rotated(cluster: &Cluster, product: &Namespace) -> anyhow::Result<(usize, usize)> {
    let first = bundle(cluster).await;
    let (mut bundles, mut leaves) = (vec![first], vec![leaf(product).await?]);
    until(
        "every CA and certificate was replaced",
        LEAF * 8,
        async || {
            let (now, leaf) = (bundle(cluster).await, leaf(product).await?);
            if bundles.last() != Some(&now) {
                bundles.push(now);
            }
            if leaves.last() != Some(&leaf) {
                leaves.push(leaf);
            }
            // Both CAs are trusted for a while, then the new one alone: three bundles.
            Ok((bundles.len() >= 3 && leaves.len() >= 4).then_some((bundles.len(), leaves.len())))
        },
    )
    .await
}

#[tokio::test]
async fn no_claim_is_lost_while_the_webhook_replaces_its_certificates() {
    let (cluster, namespace) = open("admission-rotation").await;
    let product = Namespace::named(&cluster, NAMESPACE);
    install(&cluster, &values()).await;
    // The one from before would last for months.
    let old = leaf(&product).await.unwrap();
    product
        .remove("secret", "rds-csi-webhook-tls")
        .await
        .unwrap();
    until("there is a short-lived certificate", DEADLINE, async || {
        let secret = product.find("secret", "rds-csi-webhook-tls").await?;
        let made = secret.map(|secret| secret["data"]["tls.crt"].to_string());
        Ok(made.filter(|made| made.len() > 8 && *made != old).map(drop))
    })
    .await
    .unwrap();
    await_refusal(&namespace).await;

    let stop = CancellationToken::new();
    let requests = DryRun::new(&namespace).await;
    let began = Instant::now();
    let (judged, rotated) = tokio::join!(claims(requests, stop.clone()), async {
        let rotated = rotated(&cluster, &product).await;
        stop.cancel();
        rotated
    });
    let (bundles, leaves) = rotated.unwrap();
    let judged = judged.unwrap();
    println!(
        "{judged} claims judged in {:.0?}, none lost, over {leaves} certificates and {bundles} bundles",
        began.elapsed()
    );
    assert!(judged > 100, "{judged} claims are no load");

    // Long lives again.
    install(&cluster, &json!({})).await;
    product
        .remove("secret", "rds-csi-webhook-tls")
        .await
        .unwrap();
    await_refusal(&namespace).await;
    close(&cluster, namespace).await;
}
