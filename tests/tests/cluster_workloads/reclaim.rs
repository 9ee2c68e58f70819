//! What becomes of volumes whose claims are deleted, and how a person takes one up again.

use futures::future::join_all;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use serde_json::{Value, json};

use crate::stand::{Stand, Volume, pod_with, read_word, write_word};

/// What a person writes by hand to use a volume that is on the appliance.
fn by_hand(old: &Value, name: &str, claim: (&str, &Claim)) -> Value {
    let (namespace, claim) = claim;
    let (spec, csi) = (&old["spec"], &old["spec"]["csi"]);
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
            "capacity": spec["capacity"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "",
            "volumeMode": spec["volumeMode"],
            "claimRef": {"namespace": namespace, "name": claim.name},
            "csi": {
                "driver": "rds.csi.srvlab.io",
                "volumeHandle": csi["volumeHandle"],
                "fsType": csi["fsType"],
                "volumeAttributes": csi["volumeAttributes"],
            },
        },
    })
}

/// A claim of a kind whose volume stays. The class that retains is for raw devices by its name
/// only; a class of xfs volumes that does is not needed, since a person may say it of one.
async fn retained(stand: &Stand, kind: &Claim, name: &str) -> Claim {
    let mut claim = kind.clone();
    claim.name = name.to_owned();
    let is_of_class = claim.class == "rds-csi";
    if is_of_class {
        claim.class = "rds-csi-block".to_owned();
    }
    stand.apply(&[claim.manifest()]).await;
    let volume = stand.namespace.bound(name).await.unwrap();
    if !is_of_class {
        let patch = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}).to_string();
        stand
            .kubectl(&["patch", "pv", &volume, "--patch", &patch])
            .await;
    }
    claim
}

/// The volumes of the claims `deleted` and `kept`, the second of which stays, with a word in
/// each.
async fn two_volumes_with_data(stand: &Stand, kind: &Claim) -> [Volume; 2] {
    let kept = retained(stand, kind, "kept").await;
    let mut deleted = kind.clone();
    deleted.name = "deleted".to_owned();
    let pods = [&kept, &deleted].map(|claim| pod_with(&claim.name, Some("node-a"), claim));
    stand.apply(&[deleted.manifest()]).await;
    stand.apply(&pods).await;
    stand.ready(&["deleted", "kept"]).await;
    stand.sh("kept", &write_word(&kept, "precious")).await;
    stand.sh("deleted", &write_word(&deleted, "cheap")).await;
    let volumes = [stand.volume("deleted").await, stand.volume("kept").await];
    stand.remove(&["pod/deleted", "pod/kept"]).await;
    volumes
}

#[tokio::test]
async fn a_deleted_claim_takes_its_volume_along_unless_it_is_retained_and_taken_up_again_by_hand() {
    let cluster = Cluster::shared().await.unwrap();
    let within = &cluster;
    let kinds = cluster.kinds("").await.unwrap().map(|kind| async move {
        let stand = Stand::within(within, &format!("work-reclaim-{}", kind.name)).await;
        delete_and_take_up(&stand, &kind).await;
        stand.close().await;
    });
    join_all(kinds).await;
}

async fn delete_and_take_up(stand: &Stand, kind: &Claim) {
    let [deleted, kept] = two_volumes_with_data(stand, kind).await;
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

    let mut again = kind.clone().of_class("");
    again.name = "again".to_owned();
    let name = format!("work-by-hand-{}", kind.name);
    // What a run left behind that was interrupted.
    let words = ["delete", "--ignore-not-found", &format!("pv/{name}")];
    stand.cluster.kubectl(&words).await.unwrap();
    let hand = by_hand(&old, &name, (stand.namespace.name(), &again));
    let pod = pod_with("reader", Some("node-b"), &again);
    stand.apply(&[hand, again.manifest(), pod]).await;
    stand.ready(&["reader"]).await;
    assert_eq!(stand.sh("reader", read_word(&again)).await, "precious");
    assert_eq!(stand.volume("again").await.name, name);
}
