//! Volumes of the older Go driver for this hardware, taken over as they are: their objects and
//! their items on the device are as that driver made them, and nothing of them is edited.
//! They attach, stage, expand and are deleted, and what was written before is read.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod before;

use rds_csi_tests::cluster::claim::{DEVICE, MOUNT, pod};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::json;

use before::{
    CLASS, DIRECTORY, FILES, NAMESPACE, RAW, claim, installed_before, name, on_device,
    remove_leftovers,
};

/// Asks for twice the size of a volume, and waits until the device has it.
async fn grow(cluster: &Cluster, namespace: &Namespace, id: &str) {
    let patch = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}).to_string();
    let words = ["patch", "pvc", name(id), "--patch", &patch];
    namespace.kubectl(&words).await.unwrap();
    let grown = "--for=jsonpath={.spec.capacity.storage}=2Gi";
    let words = ["wait", grown, &format!("pv/{id}"), "--timeout=150s"];
    cluster.kubectl(&words).await.unwrap();
    // Kubelet looks at a pod again when that changes, or after a minute.
    let words = ["annotate", "pod", name(id), "look=again"];
    namespace.kubectl(&words).await.unwrap();
}

#[tokio::test]
async fn volumes_of_the_older_driver_are_read_written_grown_and_deleted() {
    let cluster = Cluster::whole().await.unwrap();
    let namespace = Namespace::new(&cluster, NAMESPACE).await.unwrap();
    remove_leftovers(&cluster).await;
    let sums = installed_before(&cluster, &namespace).await;
    let read = [
        format!("md5sum <{MOUNT}/data"),
        format!("dd if={DEVICE} bs=1M count=8 iflag=direct 2>/dev/null | md5sum"),
    ];
    let bytes = [
        format!("df -P {MOUNT} | awk 'NR == 2 {{print $2 * 1024}}'"),
        format!("blockdev --getsize64 {DEVICE}"),
    ];
    for ((id, sum), read) in [FILES, RAW].into_iter().zip(&sums).zip(&read) {
        let pod = pod(name(id), Some("node-b"), &claim(id));
        namespace.apply(&pod).await.unwrap();
        namespace.running(name(id)).await.unwrap();
        assert_eq!(namespace.sh(name(id), read).await.unwrap(), *sum, "{id}");
    }
    let write = format!("echo after >{MOUNT}/more; sync");
    namespace.sh("files", &write).await.unwrap();

    for id in [FILES, RAW] {
        grow(&cluster, &namespace, id).await;
    }
    for ((id, sum), (read, bytes)) in [FILES, RAW]
        .into_iter()
        .zip(&sums)
        .zip(read.iter().zip(&bytes))
    {
        until("the pod has the new size", DEADLINE, async || {
            let bytes = namespace.sh(name(id), bytes).await?;
            // A filesystem keeps some for itself.
            Ok((bytes.parse::<u64>()? > 1900 << 20).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(namespace.sh(name(id), read).await.unwrap(), *sum, "{id}");
        let (item, file) = on_device(&cluster, id).await;
        let item = item.unwrap();
        assert!(file && item.to_string().contains(DIRECTORY), "{item}");
    }

    // On the other node too, and what was written meanwhile is there.
    namespace.remove("pod", "files").await.unwrap();
    let pod = pod("files", Some("node-a"), &claim(FILES));
    namespace.apply(&pod).await.unwrap();
    namespace.running("files").await.unwrap();
    let more = format!("cat {MOUNT}/more");
    assert_eq!(namespace.sh("files", &more).await.unwrap(), "after");
    assert_eq!(namespace.sh("files", &read[0]).await.unwrap(), sums[0]);

    for id in [FILES, RAW] {
        namespace.remove("pod", name(id)).await.unwrap();
        namespace.remove("pvc", name(id)).await.unwrap();
        let wait = [
            "wait",
            "--for=delete",
            &format!("pv/{id}"),
            "--timeout=150s",
        ];
        cluster.kubectl(&wait).await.unwrap();
        assert_eq!(on_device(&cluster, id).await, (None, false), "{id}");
    }
    cluster.kubectl(&["delete", "sc", CLASS]).await.unwrap();
    namespace.delete().await.unwrap();
}
