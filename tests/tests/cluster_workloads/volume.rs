//! A volume's way through a real cluster, as a person takes it: kubectl and the chart.

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::{Claim, MOUNT, pod};
use rds_csi_tests::cluster::namespace::Namespace;

#[tokio::test]
async fn a_pod_writes_to_its_claim_and_reads_it_back_on_the_other_node() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = Namespace::new(&cluster, "volume-moves").await.unwrap();
    let claim = Claim::filesystem("claim");
    namespace.apply(&claim.manifest()).await.unwrap();
    let volume = namespace.bound("claim").await.unwrap();

    namespace
        .apply(&pod("writer", Some("node-a"), &claim))
        .await
        .unwrap();
    namespace.running("writer").await.unwrap();
    let write = format!(
        "dd if=/dev/urandom of={MOUNT}/data bs=1M count=8 2>/dev/null; sync; md5sum {MOUNT}/data"
    );
    let written = namespace.sh("writer", &write).await.unwrap();
    let mount = namespace
        .sh("writer", &format!("grep ' {MOUNT} ' /proc/mounts"))
        .await
        .unwrap();
    assert!(
        mount.starts_with("/dev/nvme") && mount.contains(" ext4 "),
        "{mount}"
    );
    namespace.remove("pod", "writer").await.unwrap();

    namespace
        .apply(&pod("reader", Some("node-b"), &claim))
        .await
        .unwrap();
    namespace.running("reader").await.unwrap();
    let read = namespace
        .sh("reader", &format!("md5sum {MOUNT}/data"))
        .await
        .unwrap();
    assert_eq!(read, written);
    namespace.remove("pod", "reader").await.unwrap();

    namespace.remove("pvc", "claim").await.unwrap();
    let words = [
        "wait",
        "--for=delete",
        &format!("pv/{volume}"),
        "--timeout=120s",
    ];
    cluster.kubectl(&words).await.unwrap();
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_claim_that_would_destroy_data_is_refused_when_it_is_applied() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = Namespace::new(&cluster, "volume-refused").await.unwrap();
    let claim = Claim::filesystem("claim").access("ReadWriteMany");
    let refusal = namespace.apply(&claim.manifest()).await.unwrap_err();
    let refusal = format!("{refusal:#}");
    assert!(refusal.contains("denied"), "{refusal}");
    assert!(refusal.contains("volumeMode: Block"), "{refusal}");
    assert_eq!(namespace.find("pvc", "claim").await.unwrap(), None);
    namespace.delete().await.unwrap();
}
