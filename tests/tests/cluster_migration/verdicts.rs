//! What is refused when it is asked for, by kubectl as by anybody.

use rds_csi_tests::cluster::claim::{Claim, pod};
use rds_csi_tests::cluster::kubevirt::{evacuation, migration};
use serde_json::json;

use crate::stand::{LONG, Stand, attachment};

#[tokio::test]
async fn a_migration_whose_disk_cannot_follow_is_refused_when_it_is_asked_for() {
    let stand = Stand::open("migration-preflight").await;
    let alone = Claim::block("alone");
    let shared = Claim::block("shared").access("ReadWriteMany");
    let file = Claim::filesystem("file");
    for claim in [&alone, &shared, &file] {
        stand.apply(&claim.manifest()).await;
        stand.namespace.bound(&claim.name).await.unwrap();
    }
    stand.machine("stays", &[&alone, &shared, &file]).await;
    let refusal = stand.refused(&migration("move", "stays", "Pending")).await;
    for words in [
        "disk alone: a live migration needs ReadWriteMany with volumeMode Block",
        "disk file: a live migration needs",
        "PersistentVolumeClaim migration-preflight/alone is in the way",
    ] {
        assert!(refusal.contains(words), "{refusal}");
    }
    assert!(!refusal.contains("disk shared"), "{refusal}");
    // As whoever still speaks an older version of the kind.
    let mut older = migration("move", "stays", "Pending");
    older["apiVersion"] = json!("kubevirt.io/v1alpha3");
    assert_eq!(stand.refused(&older).await, refusal);
    assert_eq!(stand.namespace.find("vmim", "move").await.unwrap(), None);

    // A node that is emptied is not kept from trying.
    let evacuation = evacuation("evacuation", "stays", "node-a");
    stand.apply(&evacuation).await;
    stand.machine("moves", &[&shared]).await;
    stand.migration("free", "moves", "Pending").await;
    stand.close().await;
}

#[tokio::test]
async fn two_pods_that_are_no_machine_do_not_share_a_raw_device() {
    let stand = Stand::open("migration-pods").await;
    let disk = Claim::block("root").access("ReadWriteMany");
    stand.apply(&disk.manifest()).await;
    let volume = stand.namespace.bound("root").await.unwrap();
    stand.apply(&pod("one", Some("node-a"), &disk)).await;
    stand.namespace.running("one").await.unwrap();
    stand.apply(&pod("two", Some("node-b"), &disk)).await;
    let event = stand
        .namespace
        .event("two", "FailedAttachVolume", LONG)
        .await
        .unwrap();
    for words in [
        "live migration of the machine there",
        "Pod migration-pods/one",
    ] {
        assert!(event.contains(words), "{event}");
    }
    assert_eq!(stand.attached(&volume).await, ["node-a"]);
    // Whoever goes round the attach-detach controller hears the same.
    let refusal = stand
        .refused(&attachment("by-hand", "node-b", &volume))
        .await;
    assert!(
        refusal.contains("live migration of the machine there"),
        "{refusal}"
    );

    // It is free once the first has gone.
    stand.namespace.remove("pod", "one").await.unwrap();
    stand.namespace.running("two").await.unwrap();
    stand.close().await;
}
