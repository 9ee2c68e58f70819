//! An API server that restarts, is slow or refuses while volumes are made, and a device
//! that cannot be reached meanwhile.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::mend::REFUSAL;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::order::Order;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::metrics;
use rds_csi_tests::wait::until;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::books::{balanced, differences};
use crate::ground::{LONG, all_bound, apply_claims, bound, numbered, on_whole_cluster};

const API: &str = "kube-apiserver";
const CLAIMS: usize = 50;
/// So that 50 volumes take longer than the fault needs to begin.
const COMMAND: Duration = Duration::from_millis(500);

/// How many disk items the device has.
async fn items(cluster: &Cluster) -> anyhow::Result<usize> {
    let state = cluster.appliance().control(json!({"op": "state"})).await?;
    let items = state["state"]["device"]["items"].as_array();
    Ok(items.context("the device shows no items")?.len())
}

/// Makes claims under a fault that cuts the device off, at the end of which it has so many
/// items, and then asks that every one is served and nothing is left over; and the same for
/// their end.
async fn survives(
    cluster: &Cluster,
    name: &str,
    fault: impl AsyncFnOnce() -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let before = differences(cluster).await?;
    let items_before = items(cluster).await?;
    let namespace = Namespace::new(cluster, name).await?;
    let claims = numbered("claim", CLAIMS);
    cluster.appliance().latency(COMMAND).await?;
    apply_claims(&namespace, &claims).await?;
    let begun = bound(&namespace).await.len();
    let during = fault().await?;
    ensure!(
        during < items_before + CLAIMS,
        "no volume had to wait for the device: {during} were there, {items_before} of before"
    );
    let ended = bound(&namespace).await.len();
    ensure!(
        begun.max(ended) < CLAIMS,
        "the fault met no claim: {begun} were bound before it, {ended} after it"
    );
    cluster.appliance().latency(Duration::ZERO).await?;
    all_bound(&namespace, &claims).await?;
    let books = balanced(cluster, &before).await?;
    ensure!(books.volumes() >= CLAIMS, "{books:?}");
    namespace.delete().await?;
    balanced(cluster, &before).await.map(drop)
}

/// Cuts the device's SSH while something else goes on: how many volumes the device had in the
/// end, none of them made meanwhile.
async fn cut_ssh(
    cluster: &Cluster,
    meanwhile: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    cluster.appliance().cut_ssh().await?;
    // What the device was told before ends.
    sleep(4 * COMMAND).await;
    let before = items(cluster).await?;
    meanwhile().await?;
    let after = items(cluster).await?;
    cluster.appliance().restore().await?;
    ensure!(after == before, "the device was reached through the cut");
    Ok(after)
}

/// A cut of some seconds.
async fn cut_ssh_for_a_while(cluster: &Cluster) -> anyhow::Result<usize> {
    let while_it_lasts = async || {
        sleep(Duration::from_secs(8)).await;
        Ok(())
    };
    cut_ssh(cluster, while_it_lasts).await
}

#[tokio::test]
async fn fifty_claims_outlast_restarts_of_the_api_server_and_a_cut_ssh() {
    on_whole_cluster(async |cluster| {
        survives(cluster, "faults-api-restart", async || {
            let mut during = usize::MAX;
            for _ in 0..2 {
                let part = API.to_owned();
                cluster.order(Order::KillPart { part }).await?;
                during = during.min(cut_ssh_for_a_while(cluster).await?);
                let part = API.to_owned();
                cluster.order(Order::StartPart { part }).await?;
            }
            Ok(during)
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn fifty_claims_outlast_an_api_server_that_answers_every_five_seconds() {
    on_whole_cluster(async |cluster| {
        survives(cluster, "faults-api-slow", async || {
            slow(cluster, Duration::from_secs(15)).await?;
            let slow_for_a_while = async || slow(cluster, Duration::from_secs(10)).await;
            let during = cut_ssh(cluster, slow_for_a_while).await?;
            slow(cluster, Duration::from_secs(10)).await?;
            Ok(during)
        })
        .await
    })
    .await;
}

/// Lets the API server answer every five seconds for a while.
async fn slow(cluster: &Cluster, time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        signal(cluster, "STOP").await?;
        sleep(Duration::from_secs(5)).await;
        signal(cluster, "CONT").await?;
        sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn signal(cluster: &Cluster, signal: &str) -> anyhow::Result<()> {
    let (part, signal) = (API.to_owned(), signal.to_owned());
    cluster
        .order(Order::SignalPart { part, signal })
        .await
        .map(drop)
}

#[tokio::test]
async fn fifty_claims_outlast_an_api_server_that_refuses_the_controller() {
    on_whole_cluster(async |cluster| {
        let result = survives(cluster, "faults-api-refuses", async || {
            // Counted since the API server's start, so those of a run before too.
            let before = rejections(cluster).await?;
            refuse(cluster).await?;
            until("requests were refused", LONG, async || {
                Ok((rejections(cluster).await? > before).then_some(()))
            })
            .await?;
            let during = cut_ssh_for_a_while(cluster).await?;
            allow(cluster).await?;
            Ok(during)
        })
        .await;
        allow(cluster).await?;
        result
    })
    .await;
}

/// Lets the API server answer 429 to everything that the controller's pods ask.
async fn refuse(cluster: &Cluster) -> anyhow::Result<()> {
    let version = "flowcontrol.apiserver.k8s.io/v1";
    let account = json!({"name": "rds-csi-controller", "namespace": NAMESPACE});
    let everything = json!({
        "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"],
        "clusterScope": true, "namespaces": ["*"],
    });
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": version, "kind": "PriorityLevelConfiguration",
         "metadata": {"name": REFUSAL},
         "spec": {"type": "Limited", "limited": {
             "nominalConcurrencyShares": 0, "borrowingLimitPercent": 0,
             "limitResponse": {"type": "Reject"}}}},
        {"apiVersion": version, "kind": "FlowSchema", "metadata": {"name": REFUSAL},
         "spec": {
             "matchingPrecedence": 10,
             "priorityLevelConfiguration": {"name": REFUSAL},
             "rules": [{
                 "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
                 "resourceRules": [everything]}]}},
    ]});
    cluster.apply(&objects.to_string()).await.map(drop)
}

async fn allow(cluster: &Cluster) -> anyhow::Result<()> {
    let objects = format!("flowschema/{REFUSAL} prioritylevelconfiguration/{REFUSAL}");
    let mut words = vec!["delete", "--ignore-not-found"];
    words.extend(objects.split(' '));
    cluster.kubectl(&words).await.map(drop)
}

/// How many requests were refused, as the API server counts them.
async fn rejections(cluster: &Cluster) -> anyhow::Result<u64> {
    let metric = "apiserver_flowcontrol_rejected_requests_total";
    let page = cluster.api_metrics().await?;
    metrics::sum(&page, metric, &[REFUSAL])
}
