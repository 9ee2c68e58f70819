//! Migrations that do not arrive: aborted in each phase, and failed after the hand-over.

use futures::future::join_all;
use rds_csi_tests::cluster::kubevirt::migration;
use serde_json::json;

use crate::objects::{MACHINE, MIGRATION};
use crate::stand::{A, B, C, Machine, Stand};

/// The phases of a migration that goes on, from its object's first moment.
const PHASES: [&str; 9] = [
    "",
    "Pending",
    "WaitingForSync",
    "Synchronizing",
    "Scheduling",
    "Scheduled",
    "PreparingTarget",
    "TargetReady",
    "Running",
];

/// A machine whose migration is aborted in a phase, which the target has the disk in.
async fn aborted_in(stand: &Stand, disk: &str, phase: &str) {
    let (source, target, late) = (
        &*format!("source-of-{disk}"),
        &*format!("target-of-{disk}"),
        &*format!("late-of-{disk}"),
    );
    let machine = stand.machine(disk, &[disk]).await;
    stand.launcher(source, A, &[disk], &machine, None).await;
    stand.gets(disk, A).await;
    let migration = stand.migration(disk, &machine).await;
    stand.phase(&migration, phase).await;
    stand
        .launcher(target, B, &[disk], &machine, Some(&migration))
        .await;
    stand.gets(disk, B).await;
    let started = stand.started(A, B, disk);
    stand.told(disk, std::slice::from_ref(&started)).await;

    // Neither loses it because the migration is no more: the target's pod is ended first.
    stand.abort(&migration).await;
    assert_eq!(stand.nodes_with(disk).await, [A, B]);
    stand.pod_gone(target).await;
    stand.lets_go(disk, B).await;
    assert_eq!(stand.nodes_with(disk).await, [A]);
    stand.told(disk, &[started, stand.failed(B, disk)]).await;

    // A target that asks when it is over already comes too late.
    stand
        .launcher(late, B, &[disk], &machine, Some(&migration))
        .await;
    let words = format!("its migration {} exists no more", migration.uid);
    stand.refused(disk, B, &words).await;
    stand.pod_gone(late).await;
    assert_eq!(stand.nodes_with(disk).await, [A]);
}

#[tokio::test]
async fn a_migration_that_is_aborted_in_any_phase_ends_with_the_source() {
    let disks: Vec<String> = (0..PHASES.len()).map(|at| format!("disk-{at}")).collect();
    let disks: Vec<&str> = disks.iter().map(String::as_str).collect();
    let stand = Stand::open("sequences-aborted", &disks).await;
    let each = disks
        .iter()
        .zip(PHASES)
        .map(|(disk, phase)| aborted_in(&stand, disk, phase));
    join_all(each).await;
    stand.close().await;
}

/// virt-controller still has to say that it may go: nobody gets anything for it any more.
#[tokio::test]
async fn a_migration_that_is_being_aborted_brings_the_target_no_disk() {
    let stand = Stand::open("sequences-aborting", &["root"]).await;
    let (machine, root) = (stand.machine("web", &["root"]).await, ["root"]);
    stand.launcher("source", A, &root, &machine, None).await;
    stand.gets("root", A).await;
    let mut manifest = migration("move", "web", "Scheduling");
    manifest["metadata"]["finalizers"] = json!(["kubevirt.io/migrationJobFinalize"]);
    let aborted = stand.migration_as(&manifest).await;
    stand.abort(&aborted).await;
    stand
        .launcher("target", B, &root, &machine, Some(&aborted))
        .await;
    let words = "its migration move is being deleted";
    stand.refused("root", B, words).await;
    let free = json!({"metadata": {"finalizers": null}});
    stand.objects.change(MIGRATION, "move", &free).await;
    let words = format!("its migration {} exists no more", aborted.uid);
    let refusal = stand.refusal("root", B).await;
    assert!(refusal.contains(&words), "{refusal}");
    assert_eq!(stand.nodes_with("root").await, [A]);
    stand.told("root", &[]).await;
    stand.close().await;
}

/// After the hand-over of a post-copy the guest is on the target: if the rest never comes, it
/// stays there, paused, and the machine has failed.
#[tokio::test]
async fn a_post_copy_that_fails_takes_the_disk_from_nobody_and_gives_it_to_no_third() {
    let stand = Stand::open("sequences-post-copy", &["root"]).await;
    let machine = stand.machine("web", &["root"]).await;
    let root = ["root"];
    stand.launcher("source", A, &root, &machine, None).await;
    stand.gets("root", A).await;
    let migration = stand.migration("move", &machine).await;
    stand
        .launcher("target", B, &root, &machine, Some(&migration))
        .await;
    stand.gets("root", B).await;
    let started = stand.started(A, B, "move");
    stand.told("root", std::slice::from_ref(&started)).await;
    stand.phase(&migration, "Running").await;
    state(&stand, &machine, "Running", json!({"mode": "PostCopy"})).await;

    let failed = json!({"mode": "PostCopy", "failed": true, "completed": true});
    state(&stand, &machine, "Failed", failed).await;
    stand.phase(&migration, "Failed").await;
    assert_eq!(stand.nodes_with("root").await, [A, B]);
    let words = "two is the most that a live migration needs";
    stand.refused("root", C, words).await;

    // The source's pod ends. Only the target has the guest's state now.
    stand.pod_is("source", "Failed").await;
    stand.lets_go("root", A).await;
    assert_eq!(stand.nodes_with("root").await, [B]);
    let failed = stand.failed_there(A, B, "move");
    stand.told("root", &[started, failed]).await;

    // Another machine with the disk waits until the paused guest was given up.
    let again = stand.machine("again", &root).await;
    stand.launcher("again", A, &root, &again, None).await;
    let words = "pod again on node alone-a is not for one, as it was not made for a migration";
    stand.waits("root", A, words).await;
    stand.pod_gone("target").await;
    stand.lets_go("root", B).await;
    stand.granted("root", A).await;
    assert_eq!(stand.nodes_with("root").await, [A]);
    stand.close().await;
}

/// What virt-handler says of a machine and of its migration.
async fn state(stand: &Stand, machine: &Machine, phase: &str, migration: serde_json::Value) {
    let fields = json!({"status": {"phase": phase, "migrationState": migration}});
    stand.objects.change(MACHINE, &machine.name, &fields).await;
}
