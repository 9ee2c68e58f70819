//! Nodes that lose their power, and nodes that are given up.

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::{Claim, Namespace};
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::wait::until;
use serde_json::Value;

use crate::ground::{LONG, on_whole_cluster};
use crate::writer::{apply, kinds, number, restarts, start, verify, writes};

/// A node to kill and the one that stays, which has a controller that works on.
async fn victim_and_survivor(cluster: &Cluster) -> anyhow::Result<(String, String)> {
    let selector = "app.kubernetes.io/component=controller";
    let words = ["--namespace", NAMESPACE, "pods", "--selector", selector];
    let pods = cluster.get(&words).await?;
    let first = &pods["items"][0]["spec"]["nodeName"];
    let survivor = first.as_str().context("no controller runs")?.to_owned();
    let names = cluster.node_names();
    let victim = names.into_iter().find(|&name| name != survivor);
    Ok((
        victim.context("there is only one node")?.to_owned(),
        survivor,
    ))
}

#[tokio::test]
async fn pods_of_a_node_that_lost_its_power_go_on_with_all_they_had_synced() {
    on_whole_cluster(async |cluster| {
        let (node, _) = victim_and_survivor(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-power").await?;
        let claims = kinds(cluster, "").await?;
        apply(&namespace, &claims).await?;
        start(&namespace, &claims, &[&node]).await?;
        let mut synced = Vec::new();
        for claim in &claims {
            synced.push(number(&namespace, claim).await?);
        }

        cluster.node(&node)?.kill().await?;
        cluster.node(&node)?.boot().await?;
        for claim in &claims {
            started_again(&namespace, &claim.name).await?;
        }
        for claim in &claims {
            writes(&namespace, claim).await?;
        }
        grown(&namespace, &claims, &mut synced).await?;
        namespace.delete().await
    })
    .await;
}

/// Waits until a pod's container was started anew and is ready.
async fn started_again(namespace: &Namespace, pod: &str) -> anyhow::Result<()> {
    until(&format!("{pod} runs again"), LONG, async || {
        let again = restarts(namespace, pod).await? > 0;
        let status = namespace.get("pod", pod).await?;
        let ready = status["status"]["containerStatuses"][0]["ready"] == true;
        Ok((again && ready).then_some(()))
    })
    .await?;
    namespace.running(pod).await.map(drop)
}

#[tokio::test]
async fn volumes_of_a_node_that_is_given_up_and_deleted_move_and_it_may_come_back() {
    on_whole_cluster(async |cluster| {
        let (node, survivor) = victim_and_survivor(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-deleted-node").await?;
        let claims = kinds(cluster, "").await?;
        apply(&namespace, &claims).await?;
        start(&namespace, &claims, &[&node]).await?;
        let mut last = Vec::new();
        for claim in &claims {
            last.push(number(&namespace, claim).await?);
        }

        cluster.node(&node)?.kill().await?;
        give_up(cluster, &node).await?;
        // Only now are the volumes free: nobody gets them while the old node may still write.
        for claim in &claims {
            let pod = format!("pod/{}", claim.name);
            let words = ["wait", "--for=delete", &pod, "--timeout=170s"];
            namespace.kubectl(&words).await?;
        }
        cluster.kubectl(&["delete", "node", &node]).await?;
        start(&namespace, &claims, &[&survivor]).await?;
        grown(&namespace, &claims, &mut last).await?;
        for claim in &claims {
            namespace.remove("pod", &claim.name).await?;
        }

        cluster.node(&node)?.boot().await?;
        cluster.heal().await?;
        start(&namespace, &claims, &[&node]).await?;
        grown(&namespace, &claims, &mut last).await?;
        namespace.delete().await
    })
    .await;
}

/// Verifies what the pods wrote: all that was there before, and more.
async fn grown(namespace: &Namespace, claims: &[Claim], last: &mut [u64]) -> anyhow::Result<()> {
    for (claim, last) in claims.iter().zip(last) {
        let now = verify(namespace, claim).await?;
        let name = &claim.name;
        ensure!(
            now > *last,
            "the journal of {name} ends at {now}, not behind {last}"
        );
        *last = now;
    }
    Ok(())
}

/// Says that a node is off for good, as an administrator does who has made sure of it.
async fn give_up(cluster: &Cluster, node: &str) -> anyhow::Result<()> {
    until(&format!("{node} is missed"), LONG, async || {
        let found = cluster.get(&["node", node]).await?;
        let conditions = found["status"]["conditions"].as_array();
        let ready = |condition: &&Value| condition["type"] == "Ready";
        let ready = conditions.and_then(|all| all.iter().find(ready));
        Ok(ready
            .is_some_and(|ready| ready["status"] != "True")
            .then_some(()))
    })
    .await?;
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    cluster
        .kubectl(&["taint", "node", node, taint])
        .await
        .map(drop)
}
