//! Certificates that last less than a minute, under a stream of claims: each is judged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use k8s_openapi::ByteString;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::{NAMESPACE, WEBHOOK_SECRET};
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::api::DryRun;
use crate::certificates::bundle;
use crate::ground::{DENIED_BY_WEBHOOK, await_refusal, clone_of_another, install, open};

const LEAF: Duration = Duration::from_secs(45);
/// For so long claims are judged by what the new CA has certified.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// Claims judged a second, at least.
const RATE: f64 = 100.0;
/// Claims asked for a second: somewhat more, as the last ones are judged after the end.
const ASKED: u32 = 110;
/// Claims that may await their answers together: the API server takes 600 of everybody.
const AT_ONCE: usize = 300;

/// Short lives; and an answer that does not come is a refusal that the stream sees.
fn values() -> Value {
    json!({
        "webhook": {
            "certificates": {"self": {
                "leafLifetime": "45s", "caLifetime": "135s", "caLeadTime": "7s",
            }},
            "failurePolicy": {"persistentVolumeClaims": "Fail"},
            // The processors may be busy with something else; this is not about time.
            "timeoutSeconds": 30,
        },
    })
}

/// Asks for claims, good and bad in turn, at [`ASKED`] until told to stop: how many were
/// judged. One that was not is an error.
async fn claims(requests: DryRun, stop: CancellationToken) -> anyhow::Result<u64> {
    let (good, bad) = (
        Claim::filesystem("good").manifest(),
        clone_of_another("copy"),
    );
    let mut ticks = interval(Duration::from_secs(1) / ASKED);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let (mut asked, mut judged) = (JoinSet::new(), 0);
    for number in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        ticks.tick().await;
        let place = Arc::clone(&room).acquire_owned().await?;
        let is_bad = number % 2 == 1;
        let (requests, claim) = (requests.clone(), if is_bad { &bad } else { &good }.clone());
        asked.spawn(async move {
            let answer = requests.create(&claim).await;
            drop(place);
            is_judged(is_bad, answer)
        });
        while let Some(answer) = asked.try_join_next() {
            answer??;
            judged += 1;
        }
    }
    while let Some(answer) = asked.join_next().await {
        answer??;
        judged += 1;
    }
    Ok(judged)
}

fn is_judged(is_bad: bool, answer: Result<(), String>) -> anyhow::Result<()> {
    match answer {
        Ok(()) if is_bad => bail!("a bad claim was admitted"),
        Err(said) if !(is_bad && said.contains(DENIED_BY_WEBHOOK)) => bail!(said),
        _ => Ok(()),
    }
}

/// The certificate in use, as the Secret has it.
async fn leaf(product: &Namespace) -> anyhow::Result<String> {
    let secret = product.get("secret", WEBHOOK_SECRET).await?;
    Ok(secret["data"]["tls.crt"].to_string())
}

/// The CAs of a bundle.
fn authorities(bundle: &str) -> Vec<String> {
    let bundle: ByteString = serde_json::from_value(json!(bundle)).unwrap();
    let bundle = String::from_utf8(bundle.0).unwrap();
    let parts = bundle.split("-----BEGIN CERTIFICATE-----").skip(1);
    parts.map(|part| part.trim().to_owned()).collect()
}

/// Watches until neither a CA nor a certificate of the beginning is in use, and a while longer:
/// how many different bundles and certificates there were.
///
/// Both CAs are trusted for a while, then the new one alone; only then is it the new one that
/// lets the API server believe a certificate.
async fn rotated(cluster: &Cluster, product: &Namespace) -> anyhow::Result<(usize, usize)> {
    let first = bundle(cluster).await;
    let of_first = authorities(&first);
    ensure!(!of_first.is_empty(), "nothing is trusted at first");
    let (mut bundles, mut leaves) = (vec![first], vec![leaf(product).await?]);
    let counts = until(
        "every CA and certificate was replaced",
        LEAF * 8,
        async || {
            let (now, leaf) = (bundle(cluster).await, leaf(product).await?);
            let now_trusted = authorities(&now);
            if bundles.last() != Some(&now) {
                bundles.push(now);
            }
            if leaves.last() != Some(&leaf) {
                leaves.push(leaf);
            }
            let replaced = !now_trusted.is_empty()
                && of_first.iter().all(|first| !now_trusted.contains(first))
                && leaves.len() >= 4;
            Ok(replaced.then_some((bundles.len(), leaves.len())))
        },
    )
    .await?;
    sleep(AFTERWARDS).await;
    Ok(counts)
}

#[tokio::test]
async fn no_claim_is_lost_while_the_webhook_replaces_its_certificates() {
    let (cluster, namespace) = open("admission-rotation").await;
    let product = Namespace::named(&cluster, NAMESPACE);
    install(&cluster, &values()).await;
    // The one from before would last for months.
    let old = leaf(&product).await.unwrap();
    cluster.empty_webhook_secret().await.unwrap();
    until("there is a short-lived certificate", DEADLINE, async || {
        let made = leaf(&product).await?;
        Ok((made.len() > 8 && made != old).then_some(()))
    })
    .await
    .unwrap();
    await_refusal(&namespace).await;

    let stop = CancellationToken::new();
    let requests = DryRun::new(&namespace).await;
    let began = Instant::now();
    let both = tokio::try_join!(claims(requests, stop.clone()), async {
        let rotated = rotated(&cluster, &product).await;
        stop.cancel();
        rotated
    });
    let (judged, (bundles, leaves)) = both.unwrap();
    let took = began.elapsed();
    let rate = judged as f64 / took.as_secs_f64();
    println!(
        "{judged} claims judged in {took:.0?}, {rate:.0} a second, none lost, over {leaves} \
         certificates and {bundles} bundles"
    );
    assert!(rate >= RATE, "{rate:.0} a second are too few to prove it");

    // Long lives again.
    install(&cluster, &json!({})).await;
    cluster.empty_webhook_secret().await.unwrap();
    await_refusal(&namespace).await;
    namespace.delete().await.unwrap();
}
