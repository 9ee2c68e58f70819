//! Pods that leave their node: drained, or forgotten by force.

use rds_csi_tests::cluster::namespace::Claim;
use serde_json::{Value, json};

use crate::stand::{Stand, pod_at};

const SETS: [&str; 3] = ["set-0", "set-1", "set-2"];
const WRITE: &str = "head -c 1048576 /dev/urandom >/data/file; sync; md5sum /data/file";
const READ: &str = "md5sum /data/file";

/// A StatefulSet of three with a claim each.
fn stateful_set() -> Value {
    let claim = Claim::filesystem("data");
    let mut template = pod_at("set", None, &claim, "/data");
    template["metadata"] = json!({"labels": {"app": "set"}});
    // Its claims are made from the template.
    template["spec"]["volumes"] = json!([]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "set"},
        "spec": {
            "replicas": SETS.len(),
            "serviceName": "set",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "set"}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
            "volumeClaimTemplates": [claim.manifest()],
        },
    })
}

#[tokio::test]
async fn a_stateful_set_is_drained_from_one_node_to_the_other_with_its_data() {
    let stand = Stand::open("work-set").await;
    let cluster = &stand.cluster;
    cluster.kubectl(&["cordon", "node-b"]).await.unwrap();
    stand.apply(&[stateful_set()]).await;
    // The pods are the controller's to make.
    stand
        .wait("jsonpath={.status.readyReplicas}=3", &["statefulset/set"])
        .await;
    let mut written = Vec::new();
    for pod in SETS {
        written.push(stand.sh(pod, WRITE).await);
    }
    assert_eq!(nodes(&stand).await, ["node-a"; 3]);

    cluster.kubectl(&["uncordon", "node-b"]).await.unwrap();
    cluster.kubectl(&["cordon", "node-a"]).await.unwrap();
    stand.remove(&["pod/set-0", "pod/set-1", "pod/set-2"]).await;
    stand
        .wait("jsonpath={.status.readyReplicas}=3", &["statefulset/set"])
        .await;
    cluster.kubectl(&["uncordon", "node-a"]).await.unwrap();
    assert_eq!(nodes(&stand).await, ["node-b"; 3]);
    for (pod, written) in SETS.iter().zip(written) {
        assert_eq!(stand.sh(pod, READ).await, written, "{pod}");
    }
    stand.close().await;
}

/// Where the pods of the set are, in order.
async fn nodes(stand: &Stand) -> Vec<String> {
    let path = "jsonpath={.items[*].spec.nodeName}";
    let nodes = stand.kubectl(&["get", "pods", "-o", path]).await;
    nodes.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_pod_deleted_by_force_leaves_its_volume_to_the_next_on_the_same_and_another_node() {
    let stand = Stand::open("work-force").await;
    let claim = Claim::filesystem("claim");
    let pod = |name: &str, node: &str| pod_at(name, Some(node), &claim, "/data");
    stand
        .apply(&[claim.manifest(), pod("first", "node-a")])
        .await;
    stand.ready(&["first"]).await;
    let written = stand.sh("first", WRITE).await;
    for (old, new, node) in [("first", "second", "node-a"), ("second", "third", "node-b")] {
        let force = ["delete", "pod", old, "--force", "--grace-period=0"];
        stand.kubectl(&force).await;
        stand.apply(&[pod(new, node)]).await;
        stand.ready(&[new]).await;
        assert_eq!(stand.sh(new, READ).await, written, "{new} on {node}");
        stand.sh(new, "echo more >>/data/log; sync").await;
    }
    assert_eq!(stand.sh("third", "cat /data/log").await, "more\nmore");
    // The node that was left has let go of the session too.
    let volume = stand.volume("claim").await;
    let sessions = "cat /sys/class/nvme-subsystem/*/subsysnqn 2>/dev/null || true";
    for (node, has) in [("node-a", false), ("node-b", true)] {
        let node = stand.cluster.node(node).unwrap();
        let output = node.run(&["sh", "-c", sessions]).await.unwrap();
        assert_eq!(output.text().contains(&volume.handle), has);
    }
    stand.close().await;
}
