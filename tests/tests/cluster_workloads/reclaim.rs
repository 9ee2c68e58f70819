//! What becomes of volumes whose claims are deleted, and how a person takes one up again.

use rds_csi_tests::cluster::namespace::Claim;
use serde_json::{Value, json};

use crate::stand::{Stand, Volume, pod_at};

/// What a person writes by hand to use a volume that is on the appliance.
fn by_hand(old: &Value, name: &str, namespace: &str) -> Value {
    let csi = &old["spec"]["csi"];
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            // The provisioner deletes what it is told to have made, and nothing else.
            "annotations": {"pv.kubernetes.io/provisioned-by": "rds.csi.srvlab.io"},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "64Mi"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "",
            "volumeMode": "Filesystem",
            "claimRef": {"namespace": namespace, "name": "again"},
            "csi": {
                "driver": "rds.csi.srvlab.io",
                "volumeHandle": csi["volumeHandle"],
                "fsType": "ext4",
                "volumeAttributes": csi["volumeAttributes"],
            },
        },
    })
}

/// The claims `deleted` and `kept`, the second by a class with the policy Retain, with a
/// file in each.
async fn two_claims_with_data(stand: &Stand) -> [Volume; 2] {
    let deleted = Claim::filesystem("deleted");
    // The class is for raw devices by its name only.
    let kept = Claim::filesystem("kept").of_class("rds-csi-block");
    let pod = crate::stand::with(
        pod_at("writer", Some("node-a"), &deleted, "/deleted"),
        &kept,
        "/kept",
    );
    stand
        .apply(&[deleted.manifest(), kept.manifest(), pod])
        .await;
    stand.ready(&["writer"]).await;
    let write = "echo precious >/kept/file; echo cheap >/deleted/file; sync";
    stand.sh("writer", write).await;
    let volumes = [stand.volume("deleted").await, stand.volume("kept").await];
    stand.remove(&["pod/writer"]).await;
    volumes
}

#[tokio::test]
async fn a_deleted_claim_takes_its_volume_along_unless_it_is_retained_and_taken_up_again_by_hand() {
    let stand = Stand::open("work-reclaim").await;
    let [deleted, kept] = two_claims_with_data(&stand).await;
    for volume in [&deleted, &kept] {
        assert_eq!(stand.appliance().await.of(&volume.handle), (true, true));
    }
    stand.remove(&["pvc/deleted", "pvc/kept"]).await;
    stand
        .wait("delete", &[&format!("pv/{}", deleted.name)])
        .await;
    stand.gone_from_appliance(&deleted.handle).await;
    let volume = format!("pv/{}", kept.name);
    stand
        .wait("jsonpath={.status.phase}=Released", &[&volume])
        .await;
    let old = stand.cluster.get(&[&volume]).await.unwrap();
    // Not even with its object does a retained volume go.
    stand.remove(&[&volume]).await;
    assert_eq!(stand.appliance().await.of(&kept.handle), (true, true));

    let again = Claim::filesystem("again").of_class("");
    let hand = by_hand(&old, "work-by-hand", stand.namespace.name());
    let pod = pod_at("reader", Some("node-b"), &again, "/data");
    stand.apply(&[hand, again.manifest(), pod]).await;
    stand.ready(&["reader"]).await;
    assert_eq!(stand.sh("reader", "cat /data/file").await, "precious");
    assert_eq!(stand.volume("again").await.name, "work-by-hand");
    stand.close().await;
}
