//! Decentralised migrations: source and target are two machines, and what joins them is the
//! id that their migrations have in common.

use rds_csi_tests::cluster::kubevirt::migration;
use rds_csi_tests::cluster::namespace::Claim;
use serde_json::{Value, json};

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
