//! The driver and kubelet come and go under pods that write: no pod may notice.

use std::time::Duration;

use anyhow::Context as _;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::{DEADLINE, product};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::stand::{Stand, pod_with_all, run};

/// Two minutes of probes, the time that a container has to end, and twice that for a slow machine.
const HANGS: Duration = Duration::from_mins(5);

/// Counts, ten times a second, in a file of each filesystem and on a device, each number
/// down to the appliance before the next; any error ends the pod.
const COUNT: &str = "trap 'exit 0' TERM
    i=0
    while :; do
        i=$((i + 1))
        for at in /ext4 /xfs; do
            echo $i >>$at/log
            dd if=$at/log of=$at/copy bs=64k conv=fsync 2>/dev/null
        done
        printf '%012d' $i | dd of=/dev/raw bs=4k conv=fsync,notrunc 2>/dev/null
        usleep 100000
    done";
/// The last number of each file, and whether none before it is missing.
const LAST: &str = "for at in /ext4 /xfs; do
        tail -n 1 $at/log
        awk '$1 != NR {print \"gap at\", NR}' $at/log
    done";

/// The last number that both files of a pod have.
async fn last(stand: &Stand, pod: &str) -> u64 {
    let numbers = stand.sh(pod, LAST).await;
    let numbers = numbers.lines().map(|line| line.parse::<u64>().unwrap());
    let numbers: [u64; 2] = numbers.collect::<Vec<_>>().try_into().unwrap();
    numbers[0].min(numbers[1])
}

/// The writer of a node: it counts and never fails.
async fn count(stand: &Stand) -> u64 {
    let pod = stand.namespace.get("pod", "writer").await.unwrap();
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    last(stand, "writer").await
}

/// Waits until the writer has counted on by some: what it does still works.
async fn goes_on(stand: &Stand, after: &str) {
    let from = count(stand).await;
    let what = format!("the writer counts on after {after}");
    let on = until(&what, DEADLINE, async || {
        Ok((count(stand).await > from + 10).then_some(()))
    });
    on.await.unwrap();
}

#[tokio::test]
async fn a_writing_pod_sees_neither_the_node_plugin_nor_kubelet_go_and_come_back() {
    let stand = Stand::open("work-plugin").await;
    let product = Namespace::named(&stand.cluster, product::NAMESPACE);
    let claims = stand.cluster.kinds("").await.unwrap();
    let mut writer = pod_with_all("writer", Some("node-a"), &claims);
    run(&mut writer, COUNT);
    let mut objects: Vec<Value> = claims.iter().map(Claim::manifest).collect();
    objects.push(writer);
    stand.apply(&objects).await;
    stand.ready(&["writer"]).await;
    goes_on(&stand, "its start").await;

    let restart = ["rollout", "restart", "daemonset/rds-csi-node"];
    product.kubectl(&restart).await.unwrap();
    rolled_out(&product).await;
    goes_on(&stand, "a restart of the plugin").await;

    let patient = json!({"node": {"connectTimeout": "31s"}});
    stand.cluster.install(&patient).await.unwrap();
    rolled_out(&product).await;
    goes_on(&stand, "an upgrade").await;
    let back = ["rollback", product::NAMESPACE, "-n", product::NAMESPACE];
    stand.cluster.helm(&back).await.unwrap();
    rolled_out(&product).await;
    goes_on(&stand, "a rollback").await;

    let node = stand.cluster.node("node-a").unwrap();
    node.restart_kubelet().await.unwrap();
    goes_on(&stand, "a restart of kubelet").await;

    hung(&stand, &product).await;
    goes_on(&stand, "a plugin that hung").await;

    // All is as it was: another pod on the node gets the same volumes, and the node lets go.
    stand
        .apply(&[pod_with_all("second", Some("node-a"), &claims)])
        .await;
    stand.ready(&["second"]).await;
    let counted = count(&stand).await;
    stand.remove(&["pod/writer", "pod/second"]).await;
    stand
        .apply(&[pod_with_all("reader", Some("node-b"), &claims)])
        .await;
    stand.ready(&["reader"]).await;
    let last = last(&stand, "reader").await;
    let raw = stand.sh("reader", "head -c 12 /dev/raw").await;
    let raw: u64 = raw.parse().unwrap();
    assert!(last >= counted && last - raw <= 1, "{counted} {last} {raw}");
    stand.close().await;
}

/// Stops the plugin of node-a without a word, and waits until kubelet, which asks it, has begun it anew.
async fn hung(stand: &Stand, product: &Namespace) {
    let of_node = "--selector=app.kubernetes.io/component=node";
    let restarts = async || {
        let found = product
            .kubectl(&["get", "pods", of_node, "--output=json"])
            .await?;
        let found: Value = serde_json::from_str(&found)?;
        let mut pods = found["items"].as_array().into_iter().flatten();
        let pod = pods.find(|pod| pod["spec"]["nodeName"] == "node-a");
        let pod = pod.context("node-a has no plugin")?;
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"]
            .as_u64()
            .context("no container has started")
    };
    let before = restarts().await.unwrap();
    let node = stand.cluster.node("node-a").unwrap();
    let stop = ["pkill", "-STOP", "-f", "^[^ ]*rds-csi-driver node "];
    assert!(node.run(&stop).await.unwrap().success());
    let again = until(
        "kubelet begins a plugin that hangs anew",
        HANGS,
        async || Ok((restarts().await? > before).then_some(())),
    );
    again.await.unwrap();
    rolled_out(product).await;
}

/// Waits until every node has the plugin that it should have.
async fn rolled_out(product: &Namespace) {
    let words = [
        "rollout",
        "status",
        "daemonset/rds-csi-node",
        "--timeout=170s",
    ];
    let done = product.kubectl(&words).await;
    if let Err(error) = done {
        panic!("{error:#}\n{}", product.report().await);
    }
}
