//! Nodes that lose their power, and nodes that are given up.

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::wait::until;
use serde_json::Value;

use crate::ground::{LONG, on_whole_cluster};
use crate::writer::{apply, number, restarts, start, verify, writes};

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
        let (claims, mut synced) = writing(cluster, &namespace, &node).await?;

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

/// Starts pods on a node that write to volumes of every kind: their claims, and how far each
/// has come.
async fn writing(
    cluster: &Cluster,
    namespace: &Namespace,
    node: &str,
) -> anyhow::Result<([Claim; 3], Vec<u64>)> {
    let claims = cluster.kinds("").await?;
    apply(namespace, &claims).await?;
    start(namespace, &claims, &[node]).await?;
    let mut last = Vec::new();
    for claim in &claims {
        last.push(number(namespace, claim).await?);
    }
    Ok((claims, last))
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
        let (claims, mut last) = writing(cluster, &namespace, &node).await?;

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

/// Kubernetes takes the volumes of a node that it hears nothing of from it, six minutes after
/// their pods were forgotten; here that is done at once, by hand.
#[tokio::test]
async fn a_node_that_only_lost_the_api_server_keeps_what_it_still_writes_to() {
    on_whole_cluster(async |cluster| {
        let (node, survivor) = victim_and_survivor(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-isolated").await?;
        let (claims, mut last) = writing(cluster, &namespace, &node).await?;

        cluster.node(&node)?.cut_api().await?;
        missed(cluster, &node).await?;
        for claim in &claims {
            let words = ["delete", "pod", &claim.name, "--force", "--grace-period=0"];
            namespace.kubectl(&words).await?;
            let volume = namespace.bound(&claim.name).await?;
            let attachment = attachment_of(cluster, &volume).await?;
            let words = ["delete", "volumeattachment", &attachment, "--wait=false"];
            cluster.kubectl(&words).await?;
            kept(cluster, &attachment).await?;
        }
        forgotten_pods_write(cluster, &node).await?;

        cluster.node(&node)?.restore().await?;
        start(&namespace, &claims, &[&survivor]).await?;
        grown(&namespace, &claims, &mut last).await?;
        namespace.delete().await
    })
    .await;
}

/// The VolumeAttachment of a PersistentVolume.
async fn attachment_of(cluster: &Cluster, volume: &str) -> anyhow::Result<String> {
    let all = cluster.get(&["volumeattachments"]).await?;
    let all = all["items"].as_array().context("no list")?;
    let of_it = |found: &&Value| found["spec"]["source"]["persistentVolumeName"] == volume;
    let found = all.iter().find(of_it).context("it is not attached")?;
    let name = found["metadata"]["name"].as_str();
    Ok(name.context("it has no name")?.to_owned())
}

/// Waits until it says why it stays, with the command that helps.
async fn kept(cluster: &Cluster, attachment: &str) -> anyhow::Result<()> {
    until("the attachment says why it stays", LONG, async || {
        let found = cluster.get(&["volumeattachment", attachment]).await?;
        let message = found["status"]["detachError"]["message"].as_str();
        let says = |message: &str| {
            ["may still write", "kubectl taint node"]
                .iter()
                .all(|part| message.contains(part))
        };
        Ok(message.is_some_and(says).then_some(()))
    })
    .await
}

/// Sees in the node that pods which the cluster has forgotten write on, each of them.
async fn forgotten_pods_write(cluster: &Cluster, node: &str) -> anyhow::Result<()> {
    // How long each journal is, which the node shows at a second place too, and the number in
    // each raw device.
    const WRITTEN: &str = "
        sed -n 's|^[^ ]* \\(/var/lib/kubelet/[^ ]*/globalmount\\) .*|\\1|p' /proc/mounts | sort -u |
          while read -r at; do wc -l <$at/journal; done
        for device in /dev/nvme*n*; do
          grep -q \"^$device \" /proc/mounts ||
            dd if=$device bs=4096 skip=256 count=1 iflag=direct 2>/dev/null | tr -d '\\0'
        done";
    let written = async || -> anyhow::Result<Vec<u64>> {
        let output = cluster.node(node)?.run(&["sh", "-c", WRITTEN]).await?;
        let text = output.text();
        let numbers = text.split_whitespace().map(str::parse);
        numbers
            .collect::<Result<_, _>>()
            .with_context(|| text.clone())
    };
    let before = written().await?;
    ensure!(before.len() == 3, "not every kind is there: {before:?}");
    until("the forgotten pods write on", LONG, async || {
        let now = written().await?;
        let more =
            now.len() == before.len() && now.iter().zip(&before).all(|(now, before)| now > before);
        Ok(more.then_some(()))
    })
    .await
}

/// Verifies what the pods wrote: all that was there before, and more.
async fn grown(namespace: &Namespace, claims: &[Claim], last: &mut [u64]) -> anyhow::Result<()> {
    for (claim, last) in claims.iter().zip(last) {
        let now = verify(namespace, claim, *last).await?;
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
    missed(cluster, node).await?;
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    cluster
        .kubectl(&["taint", "node", node, taint])
        .await
        .map(drop)
}

/// Waits until the cluster says that it hears nothing of a node.
async fn missed(cluster: &Cluster, node: &str) -> anyhow::Result<()> {
    until(&format!("{node} is missed"), LONG, async || {
        let found = cluster.get(&["node", node]).await?;
        let conditions = found["status"]["conditions"].as_array();
        let ready = |condition: &&Value| condition["type"] == "Ready";
        let ready = conditions.and_then(|all| all.iter().find(ready));
        Ok(ready
            .is_some_and(|ready| ready["status"] != "True")
            .then_some(()))
    })
    .await
}
