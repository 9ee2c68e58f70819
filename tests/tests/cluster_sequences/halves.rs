//! Migrations whose two sides are not one machine with one disk: decentralised ones, where source
//! and target are two machines and what joins them is the id that their migrations have in
//! common, and those of volumes, where the target writes to a copy.

use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::kubevirt::migration;
use serde_json::{Value, json};

use crate::objects::MACHINE;
use crate::stand::{A, B, C, Stand, disk};

/// One side of a decentralised migration, `sendTo` or `receive`.
fn half(name: &str, machine: &str, side: &str, id: &str) -> Value {
    let mut half = migration(name, machine, "WaitingForSync");
    half["spec"][side] = json!({"migrationID": id});
    half
}

#[tokio::test]
async fn a_decentralised_migration_shares_a_disk_between_its_two_machines_only() {
    let stand = Stand::open("sequences-halves", &["root"]).await;
    let (source, target) = (
        stand.machine("web", &["root"]).await,
        stand.machine("web-there", &["root"]).await,
    );
    let root = ["root"];
    stand.launcher("source", A, &root, &source, None).await;
    stand.gets("root", A).await;
    let receives = half("receives", "web-there", "receive", "move-1");
    let receives = stand.migration_as(&receives).await;
    stand
        .launcher("target", B, &root, &target, Some(&receives))
        .await;
    let two = "it and the pod on the other node are of two machines";
    stand.refused("root", B, two).await;
    // Another's other half does not join them.
    let others = half("others", "web", "sendTo", "move-2");
    let others = stand.migration_as(&others).await;
    stand.refused("root", B, two).await;
    stand.abort(&others).await;

    let sends = half("sends", "web", "sendTo", "move-1");
    let sends = stand.migration_as(&sends).await;
    stand.gets("root", B).await;
    let mut told = vec![stand.started(A, B, "receives")];
    stand.told("root", &told).await;
    let words = "two is the most that a live migration needs";
    stand.refused("root", C, words).await;

    for half in [&sends, &receives] {
        stand.phase(half, "Succeeded").await;
    }
    stand.pod_is("source", "Succeeded").await;
    stand.lets_go("root", A).await;
    assert_eq!(stand.nodes_with("root").await, [B]);
    told.push(stand.completed(A, B, "receives"));
    stand.told("root", &told).await;
    stand.close().await;
}

#[tokio::test]
async fn halves_with_disks_of_their_own_need_no_disk_for_many() {
    let claims = ["here", "there"].map(|name| disk(name).access("ReadWriteOnce"));
    let stand = Stand::with("sequences-own-halves", &claims as &[Claim]).await;
    let source = stand.machine("web", &["here"]).await;
    let target = stand.machine("web-there", &["there"]).await;
    stand.launcher("source", A, &["here"], &source, None).await;
    stand.gets("here", A).await;

    // The same machine cannot move within the cluster.
    let plain = migration("plain", "web", "Pending");
    let refusal = stand.migration_refusal(&plain).await;
    let words = "disk here: a live migration needs ReadWriteMany with volumeMode Block";
    assert!(refusal.contains(words), "{refusal}");
    let sends = half("sends", "web", "sendTo", "move");
    stand.migration_as(&sends).await;
    let receives = half("receives", "web-there", "receive", "move");
    let receives = stand.migration_as(&receives).await;
    stand
        .launcher("target", B, &["there"], &target, Some(&receives))
        .await;
    stand.gets("there", B).await;
    for (disk, node, other) in [("here", A, B), ("there", B, A)] {
        let words = format!("node {node} has the volume and");
        stand.refused(disk, other, &words).await;
        assert_eq!(stand.nodes_with(disk).await, [node]);
        stand.told(disk, &[]).await;
    }
    stand.close().await;
}

/// KubeVirt changes the machine's claim first and copies the disk on the way: the target has the
/// new volume alone, and neither need be for two nodes.
#[tokio::test]
async fn a_machine_whose_disk_is_copied_moves_from_one_volume_to_the_other() {
    let claims = ["old", "new"].map(|name| disk(name).access("ReadWriteOnce"));
    let stand = Stand::with("sequences-copied", &claims as &[Claim]).await;
    let machine = stand.machine("web", &["old"]).await;
    stand.launcher("source", A, &["old"], &machine, None).await;
    stand.gets("old", A).await;
    let volumes = json!([{"name": "root", "persistentVolumeClaim": {"claimName": "new"}}]);
    let spec = json!({"spec": {"volumes": volumes}});
    stand.objects.change(MACHINE, "web", &spec).await;
    let refusal = stand
        .migration_refusal(&migration("early", "web", "Pending"))
        .await;
    let words = "disk root: a live migration needs ReadWriteMany with volumeMode Block";
    assert!(refusal.contains(words), "{refusal}");

    let copied = json!([{"volumeName": "root", "sourcePVCInfo": {"claimName": "old"},
        "destinationPVCInfo": {"claimName": "new"}}]);
    let status = json!({"status": {"migratedVolumes": copied}});
    stand.objects.change(MACHINE, "web", &status).await;
    let moves = stand.migration("move", &machine).await;
    stand
        .launcher("target", B, &["new"], &machine, Some(&moves))
        .await;
    stand.gets("new", B).await;
    for (disk, node, other) in [("old", A, B), ("new", B, A)] {
        let words = format!("node {node} has the volume and");
        stand.refused(disk, other, &words).await;
        assert_eq!(stand.nodes_with(disk).await, [node]);
    }
    stand.phase(&moves, "Succeeded").await;
    stand.pod_is("source", "Succeeded").await;
    stand.lets_go("old", A).await;
    assert_eq!(stand.nodes_with("new").await, [B]);
    for disk in ["old", "new"] {
        stand.told(disk, &[]).await;
    }
    stand.close().await;
}
