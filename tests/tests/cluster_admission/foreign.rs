//! The objects of other drivers are none of the webhook's business: the API server keeps
//! them away, so that an absent webhook can hold nobody else up.

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use serde_json::{Value, json};

use crate::ground::{counted, dry_run, open};

const OTHER: &str = "admission-other";

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": OTHER}, "provisioner": "other.example.com",
        "parameters": {"anything": "goes"},
    })
}

fn volume() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": OTHER},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "64Mi"},
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": OTHER,
            "csi": {"driver": "other.example.com", "volumeHandle": "theirs"},
        },
    })
}

/// Nobody attaches it: there is no driver of that name.
fn attachment() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": OTHER},
        "spec": {
            "attacher": "other.example.com", "nodeName": "node-a",
            "source": {"persistentVolumeName": OTHER},
        },
    })
}

/// What attributes a volume may be given.
fn attributes() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass",
        "metadata": {"name": OTHER}, "driverName": "other.example.com",
        "parameters": {"anything": "goes"},
    })
}

/// What of the requests to the webhook could be about others' objects: those that it found
/// to be so, and all about claims and classes, which are quiet here. Volumes of ours are
/// not: they change by themselves, long after the test that made them.
async fn asked(cluster: &Cluster) -> u64 {
    let reviews = "rds_csi_webhook_reviews_total";
    counted(cluster, "rds_csi_webhook_foreign_reviews_total", &[]).await
        + counted(cluster, "rds_csi_webhook_rejected_requests_total", &[]).await
        + counted(cluster, reviews, &["kind=\"PersistentVolumeClaim\""]).await
        + counted(cluster, reviews, &["kind=\"StorageClass\""]).await
        + counted(cluster, reviews, &["kind=\"VolumeAttributesClass\""]).await
}

#[tokio::test]
async fn what_is_of_another_driver_never_reaches_the_webhook() {
    let (cluster, namespace) = open("admission-foreign").await;
    let before = asked(&cluster).await;

    // Created, bound to one another, changed and deleted: claims and volumes of a foreign
    // class and of none, with modes that would be refused on a class of ours.
    let claim = Claim::filesystem("theirs")
        .of_class(OTHER)
        .access("ReadWriteMany");
    let mut classless = Claim::filesystem("classless").manifest();
    classless["spec"]["storageClassName"] = json!("");
    let objects = [
        class(),
        volume(),
        claim.manifest(),
        classless,
        attachment(),
        attributes(),
    ];
    for object in &objects {
        namespace.apply(object).await.unwrap();
    }
    namespace.bound("theirs").await.unwrap();
    for kind in [
        &format!("volumeattachment/{OTHER}"),
        &format!("volumeattributesclass/{OTHER}"),
        "pvc/theirs",
        "pvc/classless",
        &format!("pv/{OTHER}"),
        &format!("sc/{OTHER}"),
    ] {
        namespace
            .kubectl(&["label", kind, "changed=yes"])
            .await
            .unwrap();
        namespace
            .kubectl(&["delete", kind, "--timeout=150s"])
            .await
            .unwrap();
    }
    assert_eq!(asked(&cluster).await, before);

    // The count is of what it seems to be: one request of ours is one more.
    let ours = Claim::filesystem("ours").manifest();
    dry_run(&namespace, &ours).await.unwrap();
    assert_eq!(asked(&cluster).await, before + 1);
    namespace.delete().await.unwrap();
}
