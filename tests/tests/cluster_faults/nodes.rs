//! Nodes that lose their power, and nodes that are given up.

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::{Claim, DEVICE, Namespace, pod};
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::wait::until;
use serde_json::Value;

use crate::ground::{LONG, on_whole_cluster};
use crate::writer::{number, restarts, verify, writer, writes};

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
        let claims = [
            ("ext4", Claim::filesystem("ext4")),
            ("block", Claim::block("block").of_class("rds-csi")),
        ];
        for (name, claim) in &claims {
            namespace.apply(&claim.manifest()).await?;
            let pod = if *name == "block" {
                pod(name, Some(&node), claim)
            } else {
                writer(name, Some(&node), claim)
            };
            namespace.apply(&pod).await?;
        }
        for (name, _) in &claims {
            namespace.running(name).await?;
        }
        writes(&namespace, "ext4").await?;
        let fill = format!("dd if=/dev/urandom of={DEVICE} bs=1M count=8 conv=fsync 2>/dev/null");
        let sum = format!("dd if={DEVICE} bs=1M count=8 2>/dev/null | md5sum");
        namespace.sh("block", &fill).await?;
        let written = namespace.sh("block", &sum).await?;
        let synced = number(&namespace, "ext4").await?;

        cluster.node(&node)?.kill().await?;
        cluster.node(&node)?.boot().await?;
        for (name, _) in &claims {
            started_again(&namespace, name).await?;
        }
        ensure!(
            namespace.sh("block", &sum).await? == written,
            "the device lost what was synced"
        );
        writes(&namespace, "ext4").await?;
        let last = verify(&namespace, "ext4").await?;
        ensure!(
            last > synced,
            "the journal ends at {last}, {synced} was synced"
        );
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
        let claim = Claim::filesystem("claim");
        namespace.apply(&claim.manifest()).await?;
        namespace.apply(&writer("pod", Some(&node), &claim)).await?;
        namespace.running("pod").await?;
        writes(&namespace, "pod").await?;
        let synced = number(&namespace, "pod").await?;

        cluster.node(&node)?.kill().await?;
        give_up(cluster, &node).await?;
        // Only now is the volume free: nobody gets it while the old node may still write.
        let words = ["wait", "--for=delete", "pod/pod", "--timeout=170s"];
        namespace.kubectl(&words).await?;
        cluster.kubectl(&["delete", "node", &node]).await?;
        namespace
            .apply(&writer("pod", Some(&survivor), &claim))
            .await?;
        namespace.running("pod").await?;
        writes(&namespace, "pod").await?;
        let moved = verify(&namespace, "pod").await?;
        ensure!(
            moved > synced,
            "the journal ends at {moved}, {synced} was synced"
        );
        namespace.remove("pod", "pod").await?;

        cluster.node(&node)?.boot().await?;
        cluster.heal().await?;
        namespace.apply(&writer("pod", Some(&node), &claim)).await?;
        namespace.running("pod").await?;
        writes(&namespace, "pod").await?;
        ensure!(verify(&namespace, "pod").await? > moved, "blocks are lost");
        namespace.delete().await
    })
    .await;
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
