//! Pods beside a machine's own: hot-plugged disks, and CDI that copies a disk.

use rds_csi_tests::cluster::kubevirt::migration;
use rds_csi_tests::cluster::mend::PAST;
use serde_json::{Value, json};

use crate::stand::{A, B, C, PodToBe, Stand};

/// The pod by which KubeVirt plugs a disk into the machine of a launcher, by name and UID.
fn hot_plug<'a>(
    name: &'a str,
    node: &'a str,
    launcher: (&'a str, &'a str),
    labels: Value,
) -> PodToBe<'a> {
    PodToBe {
        name,
        node: Some(node),
        disks: &["data"],
        labels,
        owner: Some(("Pod", launcher.0, launcher.1)),
    }
}

#[tokio::test]
async fn a_disk_that_is_plugged_in_while_its_machine_moves_comes_along() {
    let stand = Stand::open("sequences-hot-plug", &["root", "data"]).await;
    let (machine, root) = (stand.machine("web", &["root"]).await, ["root"]);
    let source = stand.launcher("source", A, &root, &machine, None).await;
    stand.gets("root", A).await;
    let migration = stand.migration("move", &machine).await;
    let target = stand
        .launcher("target", B, &root, &machine, Some(&migration))
        .await;
    stand.gets("root", B).await;
    stand.phase(&migration, "Running").await;

    let plain = json!({"kubevirt.io": "hotplug-disk"});
    let mut moving = plain.clone();
    moving["kubevirt.io/migrationJobUID"] = json!(migration.uid);
    let on_source = hot_plug("hp-source", A, ("source", &source), plain.clone());
    stand.running(on_source).await;
    stand.gets("data", A).await;
    // Whoever only has the words of a hot-plug pod, and another machine, gets nothing.
    let other = stand.machine("other", &[]).await;
    let alien = stand.launcher("alien", B, &[], &other, None).await;
    let pretends = hot_plug("hp-alien", B, ("alien", &alien), moving.clone());
    stand.running(pretends).await;
    stand.refused("data", B, "moves another machine").await;
    stand.pod_gone("hp-alien").await;

    let on_target = hot_plug("hp-target", B, ("target", &target), moving);
    stand.running(on_target).await;
    stand.gets("data", B).await;
    let mut told = vec![stand.started(A, B, "move")];
    let words = "two is the most that a live migration needs";
    for disk in ["root", "data"] {
        stand.told(disk, &told).await;
        stand.refused(disk, C, words).await;
    }

    stand.phase(&migration, "Succeeded").await;
    stand.pod_is("source", "Succeeded").await;
    stand.pod_gone("hp-source").await;
    told.push(stand.completed(A, B, "move"));
    for disk in ["root", "data"] {
        stand.lets_go(disk, A).await;
        assert_eq!(stand.nodes_with(disk).await, [B]);
        stand.told(disk, &told).await;
    }
    stand.close().await;
}

/// A pod of CDI's.
async fn cdi(stand: &Stand, name: &str, node: &str, labels: Value) {
    let pod = PodToBe {
        name,
        node: Some(node),
        disks: &["root"],
        labels,
        owner: None,
    };
    stand.running(pod).await;
}

#[tokio::test]
async fn the_disk_of_a_machine_that_runs_is_cloned_and_not_written_to_from_elsewhere() {
    let stand = Stand::open("sequences-clone", &["root"]).await;
    let (machine, root) = (stand.machine("web", &["root"]).await, ["root"]);
    stand.launcher("source", A, &root, &machine, None).await;
    stand.gets("root", A).await;

    let app = "containerized-data-importer";
    cdi(&stand, "importer", B, json!({"app": app})).await;
    let words =
        "pod importer on node alone-b is not for one, as it is no part of a KubeVirt machine";
    stand.refused("root", B, words).await;
    stand.pod_gone("importer").await;

    // An export reads the disk, and nothing but who owns its pod says so.
    stand
        .running(PodToBe {
            name: "export",
            node: Some(B),
            disks: &["root"],
            labels: json!({"kubevirt.io.virt-export-service": "virt-export-web"}),
            owner: Some(("VirtualMachineExport", "web", "uid-of-the-export")),
        })
        .await;
    stand.gets("root", B).await;
    stand.pod_gone("export").await;
    stand.lets_go("root", B).await;

    let clone = json!({"app": app, "cdi.kubevirt.io": "cdi-clone-source"});
    cdi(&stand, "clone", B, clone).await;
    stand.gets("root", B).await;
    let words = "two is the most that a live migration needs";
    stand.refused("root", C, words).await;
    // The machine that is to move is not what is in the way.
    let words = "(Pod sequences-clone/clone is in the way). It is free once the copy is done";
    stand.refused("root", C, words).await;

    // A migration waits for the end of the copy, and is told so.
    let asked = migration("move", "web", "Pending");
    let refusal = stand.migration_refusal(&asked).await;
    for words in [
        "nodes alone-a and alone-b have its volume already, and the target would be a third",
        "It is free once the copy is done",
        "kubectl describe pod -n sequences-clone clone",
    ] {
        assert!(refusal.contains(words), "{refusal}");
    }
    let mut past = asked.clone();
    past["metadata"] = json!({"name": "past", "labels": {PAST: "yes"}});
    let past = stand.migration_as(&past).await;
    stand
        .launcher("target", C, &root, &machine, Some(&past))
        .await;
    stand.waits("root", C, words).await;
    stand.pod_gone("clone").await;
    stand.lets_go("root", B).await;
    stand.granted("root", C).await;
    // That two nodes had it for a clone was no migration.
    stand.told("root", &[stand.started(A, C, "past")]).await;
    stand.phase(&past, "Succeeded").await;
    stand.pod_is("source", "Succeeded").await;
    stand.lets_go("root", A).await;
    assert_eq!(stand.nodes_with("root").await, [C]);
    stand.migration("move", &machine).await;
    stand.close().await;
}
