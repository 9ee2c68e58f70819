//! The cluster itself, without the product: its nodes run pods, and every fault that
//! other tests rely on does what it says and can be undone. The first test also says
//! what everything else rests on; run these when others fail in strange ways.

use std::time::Duration;

use rds_csi_tests::cluster::claim::IMAGE;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::{Cluster, Node};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
/// The address of the API server on the cluster's network.
const API: &str = "10.79.0.1";

/// A pod without a volume, on one node.
fn plain_pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main",
                "image": IMAGE,
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
            }],
        },
    })
}

#[tokio::test]
async fn pods_run_on_both_nodes_in_their_own_image_and_reach_one_another() {
    let cluster = Cluster::mended().await.unwrap();
    let namespace = Namespace::new(&cluster, "lab-pods").await.unwrap();
    for node in cluster.node_names() {
        namespace.apply(&plain_pod(node, node)).await.unwrap();
    }
    let mut addresses = Vec::new();
    for node in cluster.node_names() {
        let pod = namespace.running(node).await.unwrap();
        addresses.push(pod["status"]["podIP"].as_str().unwrap().to_owned());
        assert_eq!(namespace.sh(node, "hostname").await.unwrap(), node);
        // A guest whose root is not its real one would show this machine's files here.
        let root = namespace
            .sh(node, "ls -d /usr /lib 2>&1 || true")
            .await
            .unwrap();
        assert!(root.contains("No such file"), "{root}");
    }
    let [first, second] = cluster.node_names()[..] else {
        panic!("there are not two nodes");
    };
    let ping = format!("ping -c 1 -W 10 {}", addresses[1]);
    namespace.sh(first, &ping).await.unwrap();
    let ping = format!("ping -c 1 -W 10 {}", addresses[0]);
    namespace.sh(second, &ping).await.unwrap();
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_node_that_lost_its_power_boots_and_runs_its_pods_again() {
    let cluster = Cluster::mended().await.unwrap();
    let namespace = Namespace::new(&cluster, "lab-power").await.unwrap();
    namespace.apply(&plain_pod("pod", "node-b")).await.unwrap();
    namespace.running("pod").await.unwrap();
    let node = cluster.node("node-b").unwrap();
    let boot_id = async || {
        let output = node
            .run(&["cat", "/proc/sys/kernel/random/boot_id"])
            .await?;
        anyhow::Ok(output.text())
    };
    let before = boot_id().await.unwrap();

    node.kill().await.unwrap();
    assert!(boot_id().await.is_err());
    let parts = cluster.parts().await.unwrap();
    let part = parts.iter().find(|part| part.name == "node-b").unwrap();
    assert_eq!(part.pid, None);
    node.boot().await.unwrap();
    assert_ne!(boot_id().await.unwrap(), before);
    until("the pod was started again", SOON * 3, async || {
        let pod = namespace.get("pod", "pod").await?;
        let status = &pod["status"]["containerStatuses"][0];
        let again = status["restartCount"].as_u64() > Some(0) && status["ready"] == true;
        Ok(again.then_some(()))
    })
    .await
    .unwrap();
    namespace.sh("pod", "true").await.unwrap();
    namespace.delete().await.unwrap();
}

/// Whether an address answers a node, if only by refusing.
async fn reaches(node: &Node<'_>, address: &str) -> anyhow::Result<bool> {
    let connect = format!("exec 9<>/dev/tcp/{address}/443");
    let words = ["timeout", "3", "bash", "-c", &connect];
    let output = node.run(&words).await?;
    Ok(output.success() || output.error_text().contains("refused"))
}

/// Waits until it does: a neighbour that was not found is asked for again a little later.
async fn reaches_again(node: &Node<'_>, address: &str) -> anyhow::Result<()> {
    until(&format!("{address} answers"), SOON, async || {
        Ok(reaches(node, address).await?.then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_node_is_cut_off_from_the_api_and_from_storage_each_alone() {
    let cluster = Cluster::mended().await.unwrap();
    let node = cluster.node("node-a").unwrap();
    let nvme = &cluster.appliance().description().nvme.to_string();
    let ssh = &cluster.appliance().description().ssh.ip().to_string();
    for address in [API, nvme, ssh] {
        reaches_again(&node, address).await.unwrap();
    }
    node.cut_api().await.unwrap();
    assert!(!reaches(&node, API).await.unwrap());
    reaches_again(&node, nvme).await.unwrap();
    node.restore().await.unwrap();
    node.cut_appliance().await.unwrap();
    assert!(!reaches(&node, nvme).await.unwrap());
    reaches_again(&node, API).await.unwrap();
    cluster.heal().await.unwrap();
    reaches_again(&node, API).await.unwrap();
    reaches_again(&node, nvme).await.unwrap();

    cluster.appliance().cut_ssh().await.unwrap();
    assert!(!reaches(&node, ssh).await.unwrap());
    reaches_again(&node, nvme).await.unwrap();
    cluster.heal().await.unwrap();
    reaches_again(&node, ssh).await.unwrap();
}

#[tokio::test]
async fn the_audit_log_names_who_asked_for_what() {
    let cluster = Cluster::mended().await.unwrap();
    cluster
        .get(&["configmaps", "--namespace=kube-public"])
        .await
        .unwrap();
    let mut log = cluster.audit();
    until("the request is in the log", SOON, async || {
        let asked = log.pick("kube-public", |line| {
            let is_it = line["user"]["username"] == "lab-admin"
                && line["verb"] == "list"
                && line["objectRef"]["resource"] == "configmaps";
            is_it.then_some(())
        });
        Ok(asked?.pop())
    })
    .await
    .unwrap();
}

/// Runs `hack/cluster`, as a person does.
#[expect(
    clippy::disallowed_methods,
    reason = "the product's runner is not for tests; the supervisor's answer bounds the time"
)]
async fn by_hand(words: &[&str]) -> anyhow::Result<()> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../hack/cluster");
    let output = tokio::process::Command::new(program).args(words).output();
    let output = output.await?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "hack/cluster {words:?}: {said}");
    Ok(())
}

#[tokio::test]
async fn a_person_breaks_and_mends_the_same_by_words() {
    let cluster = Cluster::mended().await.unwrap();
    let (a, b) = (
        cluster.node("node-a").unwrap(),
        cluster.node("node-b").unwrap(),
    );
    let nvme = cluster.appliance().description().nvme.to_string();
    for (link, address) in [("api", API), ("storage", nvme.as_str())] {
        by_hand(&["cut", "node-a", link]).await.unwrap();
        assert!(!reaches(&a, address).await.unwrap(), "{link} is not cut");
        by_hand(&["restore", "node-a"]).await.unwrap();
        reaches_again(&a, address).await.unwrap();
    }
    by_hand(&["kill", "node-b"]).await.unwrap();
    assert!(b.run(&["true"]).await.is_err());
    by_hand(&["boot", "node-b"]).await.unwrap();
    assert!(b.run(&["true"]).await.unwrap().success());

    by_hand(&["cut", "node-a", "api"]).await.unwrap();
    by_hand(&["kill", "node-b"]).await.unwrap();
    by_hand(&["heal"]).await.unwrap();
    reaches_again(&a, API).await.unwrap();
    assert!(b.run(&["true"]).await.unwrap().success());
    by_hand(&["status"]).await.unwrap();
}
