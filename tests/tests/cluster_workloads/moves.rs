//! Pods that leave their node: drained, or forgotten by force.

use rds_csi_tests::cluster::claim::Claim;
use serde_json::{Value, json};

use crate::stand::{Stand, pod_with_all};

const SETS: [&str; 3] = ["set-0", "set-1", "set-2"];
/// 1 MiB that nobody can guess, in both filesystems and on the device.
const WRITE: &str = "for at in /ext4/data /xfs/data /dev/raw; do
    head -c 1048576 /dev/urandom | dd of=$at bs=1M iflag=fullblock conv=fsync,notrunc 2>/dev/null
done";
const READ: &str = "for at in /ext4/data /xfs/data /dev/raw; do head -c 1048576 $at | md5sum; done";

/// A StatefulSet of three with claims of their own.
fn stateful_set(claims: &[Claim; 3]) -> Value {
    let mut template = pod_with_all("set", None, claims);
    template["metadata"] = json!({"labels": {"app": "set"}});
    // Its claims are made from the templates.
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
            "volumeClaimTemplates": claims.each_ref().map(Claim::manifest),
        },
    })
}

/// Writes in a pod: what it must read from then on.
async fn written(stand: &Stand, pod: &str) -> String {
    stand.sh(pod, WRITE).await;
    stand.sh(pod, READ).await
}

#[tokio::test]
async fn a_stateful_set_is_drained_from_one_node_to_the_other_with_its_data() {
    let stand = Stand::open("work-set").await;
    let cluster = &stand.cluster;
    cluster.kubectl(&["cordon", "node-b"]).await.unwrap();
    let claims = cluster.kinds("").await.unwrap();
    stand.apply(&[stateful_set(&claims)]).await;
    // The pods are the controller's to make.
    stand
        .wait("jsonpath={.status.readyReplicas}=3", &["statefulset/set"])
        .await;
    let mut data = Vec::new();
    for pod in SETS {
        data.push(written(&stand, pod).await);
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
    for (pod, data) in SETS.iter().zip(data) {
        assert_eq!(stand.sh(pod, READ).await, data, "{pod}");
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
async fn a_pod_deleted_by_force_leaves_its_volumes_to_the_next_on_the_same_and_another_node() {
    let stand = Stand::open("work-force").await;
    let claims = stand.cluster.kinds("").await.unwrap();
    let pod = |name: &str, node: &str| pod_with_all(name, Some(node), &claims);
    let mut objects: Vec<Value> = claims.iter().map(Claim::manifest).collect();
    objects.push(pod("first", "node-a"));
    stand.apply(&objects).await;
    stand.ready(&["first"]).await;
    let data = written(&stand, "first").await;
    for (old, new, node) in [("first", "second", "node-a"), ("second", "third", "node-b")] {
        let force = ["delete", "pod", old, "--force", "--grace-period=0"];
        stand.kubectl(&force).await;
        stand.apply(&[pod(new, node)]).await;
        stand.ready(&[new]).await;
        assert_eq!(stand.sh(new, READ).await, data, "{new} on {node}");
        let more = "for log in /ext4/log /xfs/log; do echo more >>$log; done; sync";
        stand.sh(new, more).await;
    }
    let logs = stand.sh("third", "cat /ext4/log /xfs/log").await;
    assert_eq!(logs, ["more"; 4].join("\n"));
    // The node that was left has let go of the sessions too.
    let sessions = "cat /sys/class/nvme-subsystem/*/subsysnqn 2>/dev/null || true";
    for claim in &claims {
        let volume = stand.volume(&claim.name).await;
        for (name, has) in [("node-a", false), ("node-b", true)] {
            let node = stand.cluster.node(name).unwrap();
            let output = node.run(&["sh", "-c", sessions]).await.unwrap();
            let found = output.text().contains(&volume.handle);
            assert_eq!(found, has, "{} on {name}", claim.name);
        }
    }
    stand.close().await;
}
