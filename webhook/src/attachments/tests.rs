//! Attachments and migrations before they are made, over a cluster in memory.

use rds_csi_cluster::PersistentVolume;
use rds_csi_cluster::fake::machine::{MIGRATION, kubevirt, launcher};
use rds_csi_cluster::fake::{FakeCluster, Fault};
use rds_csi_core::attachment::observation::{KubeVirt, Pod, Role};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

mod reviewed;

const PV: &str = "pvc-root";
const ANOTHER: &str = "pvc-data";
/// Of a judgement.
const LIMIT: Duration = Duration::from_secs(1);

/// A cluster in which node `a` has the disk `root` of a running machine.
fn cluster(mode: &str) -> Arc<FakeCluster> {
    let cluster = Arc::new(FakeCluster::default());
    for (name, claim, handle) in [
        (PV, "root", "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"),
        (ANOTHER, "data", "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ] {
        cluster.put(PersistentVolume {
            name: name.to_owned(),
            driver: "rds.csi.srvlab.io".to_owned(),
            handle: handle.to_owned(),
            access_modes: vec![mode.to_owned()],
            claim: Some(Claim {
                namespace: "vms".to_owned(),
                name: claim.to_owned(),
            }),
            ..PersistentVolume::default()
        });
    }
    cluster.put(PersistentVolume {
        name: "foreign".to_owned(),
        driver: "other.example".to_owned(),
        ..PersistentVolume::default()
    });
    cluster.wish("va-a", "a", PV);
    cluster.attach("a");
    cluster.run(pod("a", None));
    cluster
}

/// Its pod on a node.
fn pod(node: &str, migration: Option<&str>) -> Pod {
    launcher(&format!("virt-launcher-web-{node}"), node, migration)
}

fn rules(cluster: &Arc<FakeCluster>) -> AttachmentRules {
    asks(cluster, cluster)
}

fn asks(watched: &Arc<FakeCluster>, live: &Arc<FakeCluster>) -> AttachmentRules {
    let driver = DriverName::default();
    AttachmentRules::new(
        watched.clone(),
        live.clone(),
        driver,
        Modes::default(),
        LIMIT,
    )
}

async fn attach(rules: &AttachmentRules, node: &str, volume: &str) -> Verdict {
    let asked = json!({
        "metadata": {"name": "va-new"},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node,
            "source": {"persistentVolumeName": volume}},
    });
    rules
        .attachment(&serde_json::from_value(asked).unwrap())
        .await
}

async fn migrate(rules: &AttachmentRules, asked: Value) -> Verdict {
    let asked = serde_json::from_value(asked).unwrap();
    rules.migration("vms", &asked).await
}

fn moves_web() -> Value {
    json!({"metadata": {"name": "move"}, "spec": {"vmiName": "web"}})
}

fn disk(name: &str, claim: &str) -> MachineDisk {
    MachineDisk {
        name: name.to_owned(),
        claim: claim.to_owned(),
        copied: false,
    }
}

#[tokio::test]
async fn a_volume_that_no_other_node_has_is_attached() {
    let rules = rules(&cluster("ReadWriteOnce"));
    for (node, volume) in [("b", ANOTHER), ("b", "not there"), ("b", "foreign")] {
        assert_eq!(
            attach(&rules, node, volume).await,
            Verdict::allow(),
            "{volume}"
        );
    }
}

#[tokio::test]
async fn anothers_attachment_is_not_looked_at() {
    let cluster = cluster("ReadWriteOnce");
    let asked = json!({"metadata": {}, "spec": {"attacher": "other.example", "nodeName": "b",
        "source": {"persistentVolumeName": PV}}});
    let asked = serde_json::from_value(asked).unwrap();
    assert_eq!(rules(&cluster).attachment(&asked).await, Verdict::foreign());
    assert_eq!(cluster.calls(), 0);
}

#[tokio::test]
async fn a_second_node_hears_at_once_who_is_in_the_way() {
    let rules = rules(&cluster("ReadWriteOnce"));
    let verdict = attach(&rules, "b", PV).await;
    let [denial] = &verdict.denials[..] else {
        panic!("{verdict:?}");
    };
    assert_eq!(denial.field, "spec.nodeName");
    for part in [
        "node a has the volume and ReadWriteOnce allows one node",
        "Pod vms/virt-launcher-web-a is in the way",
        "kubectl describe pod -n vms virt-launcher-web-a",
    ] {
        assert!(denial.message.contains(part), "{denial}");
    }
}

#[tokio::test]
async fn the_target_of_a_migration_may_and_a_third_node_may_not() {
    let cluster = cluster("ReadWriteMany");
    let rules = rules(&cluster);
    let verdict = attach(&rules, "b", PV).await;
    assert!(
        verdict
            .message()
            .unwrap()
            .contains("no pod on node b asks for it"),
        "{verdict:?}"
    );
    cluster.kubevirt_is(kubevirt("Pending"));
    cluster.run(pod("b", Some(MIGRATION)));
    assert_eq!(attach(&rules, "b", PV).await, Verdict::allow());
    // A wish that would be granted counts here before it is.
    cluster.wish("va-b", "b", PV);
    cluster.run(pod("c", Some(MIGRATION)));
    let message = attach(&rules, "c", PV).await.message().unwrap();
    assert!(
        message.contains("nodes a and b have or are about to get the volume"),
        "{message}"
    );
}

/// Whatever cannot be read, nothing is refused on account of it, and the author is told.
#[rstest]
#[case::volume(0)]
#[case::attachments(1)]
#[case::the_node_that_has_it(2)]
#[case::pods_there(3)]
#[case::pods_here(4)]
#[case::kubevirt(5)]
#[tokio::test]
async fn what_cannot_be_read_is_left_to_the_driver(#[case] call: usize) {
    let cluster = cluster("ReadWriteMany");
    cluster.kubevirt_is(kubevirt("Pending"));
    cluster.wish("va-b", "b", ANOTHER);
    cluster.run(pod("b", Some(MIGRATION)));
    cluster.fail(call, Fault::Before);
    // The migration is too new for what was watched.
    let behind = self::cluster("ReadWriteMany");
    let verdict = attach(&asks(&behind, &cluster), "b", PV).await;
    assert!(verdict.is_allowed(), "{verdict:?}");
    assert!(
        verdict.warnings[0].starts_with("rds-csi cannot judge this now"),
        "{verdict:?}"
    );
    cluster.fail(cluster.calls() + call, Fault::Before);
    let again = attach(&rules(&cluster), "b", PV).await;
    assert_eq!(again, Verdict::allow(), "the second reading was complete");
}

/// One request may take longer than a review has.
#[tokio::test(start_paused = true)]
async fn what_is_not_read_in_time_is_left_to_the_driver() {
    let cluster = cluster("ReadWriteOnce");
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    let rules = rules(&cluster);
    let judged = async |is_move: bool| match is_move {
        true => migrate(&rules, moves_web()).await,
        false => attach(&rules, "b", PV).await,
    };
    for is_move in [false, true] {
        let before = cluster.calls();
        assert!(!judged(is_move).await.is_allowed(), "all is read");
        for call in 0..cluster.calls() - before {
            cluster.fail(cluster.calls() + call, Fault::Hang);
            let verdict = judged(is_move).await;
            let said = "rds-csi cannot judge this now, the driver will: the API server is slow, 1s were not enough";
            assert_eq!(verdict.warnings, [said], "call {call}");
            assert!(verdict.is_allowed(), "call {call}: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn what_was_watched_lets_pass_and_refuses_nobody() {
    let (free, held) = (Arc::new(FakeCluster::default()), cluster("ReadWriteOnce"));
    free.put(held.persistent_volume(PV).await.unwrap().unwrap());
    let before = held.calls();
    assert_eq!(attach(&asks(&free, &held), "b", PV).await, Verdict::allow());
    assert_eq!(held.calls(), before, "asked for nothing");
    // It was given back a moment ago.
    assert_eq!(attach(&asks(&held, &free), "b", PV).await, Verdict::allow());
    let verdict = attach(&asks(&held, &held), "b", PV).await;
    assert!(!verdict.is_allowed(), "{verdict:?}");
}

#[tokio::test]
async fn a_migration_that_can_arrive_begins() {
    let cluster = cluster("ReadWriteMany");
    let rules = rules(&cluster);
    assert_eq!(
        migrate(&rules, moves_web()).await,
        Verdict::allow(),
        "no such machine"
    );
    let disks = [
        disk("disk0", "root"),
        disk("disk1", "data"),
        disk("disk2", "unknown"),
    ];
    cluster.machine("vms", "web", &disks);
    assert_eq!(migrate(&rules, moves_web()).await, Verdict::allow());
    // What another node had a moment ago is in nobody's way.
    let behind = self::cluster("ReadWriteMany");
    behind.machine("vms", "web", &disks);
    behind.wish("va-old", "c", PV);
    behind.attach("c");
    let rules = asks(&behind, &cluster);
    assert_eq!(migrate(&rules, moves_web()).await, Verdict::allow());
    let refused = migrate(&asks(&behind, &behind), moves_web()).await;
    assert!(!refused.is_allowed(), "{refused:?}");
}

/// What cannot be seen is said to be so, and not taken for a machine that is not there.
#[tokio::test]
async fn a_migration_of_half_a_kubevirt_begins_with_a_warning() {
    let cluster = cluster("ReadWriteOnce");
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    let missing = "virtualmachineinstances".to_owned();
    cluster.kubevirt_is(KubeVirt::Incomplete { missing });
    let verdict = migrate(&rules(&cluster), moves_web()).await;
    assert!(verdict.is_allowed(), "{verdict:?}");
    let [warning] = &verdict.warnings[..] else {
        panic!("{verdict:?}");
    };
    let said = "the driver will: KubeVirt is installed without virtualmachineinstances";
    assert!(warning.ends_with(said), "{warning}");
}

#[tokio::test]
async fn a_migration_that_cannot_arrive_hears_of_each_disk() {
    let cluster = cluster("ReadWriteOnce");
    let rules = rules(&cluster);
    cluster.machine(
        "vms",
        "web",
        &[disk("disk0", "root"), disk("disk1", "data")],
    );
    let verdict = migrate(&rules, moves_web()).await;
    assert_eq!(verdict.denials.len(), 2, "{verdict:?}");
    for (denial, part) in verdict.denials.iter().zip(["disk disk0: ", "disk disk1: "]) {
        assert_eq!(denial.field, "spec.vmiName");
        assert!(denial.message.starts_with(part), "{denial}");
        assert!(
            denial
                .message
                .contains("needs ReadWriteMany with volumeMode Block"),
            "{denial}"
        );
    }
    let copied = MachineDisk {
        copied: true,
        ..disk("disk0", "root")
    };
    cluster.machine("vms", "web", &[copied]);
    assert_eq!(migrate(&rules, moves_web()).await, Verdict::allow());
}

#[tokio::test]
async fn a_leftover_attachment_holds_a_migration_up_and_is_named() {
    let cluster = cluster("ReadWriteMany");
    cluster.wish("va-old", "c", PV);
    cluster.attach("c");
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    let message = migrate(&rules(&cluster), moves_web())
        .await
        .message()
        .unwrap();
    assert!(
        message.contains("nodes a and c have its volume already"),
        "{message}"
    );
    assert!(message.contains("VolumeAttachment va-old"), "{message}");
}

/// It was made while no webhook was there: the driver refuses it, and it stands for as long as
/// its pod waits.
#[tokio::test]
async fn what_a_stray_pod_waits_for_keeps_no_machine_from_moving() {
    let cluster = cluster("ReadWriteMany");
    cluster.wish("va-stray", "c", PV);
    cluster.run(Pod {
        role: Role::Other,
        ..pod("c", None)
    });
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    let rules = rules(&cluster);
    assert_eq!(migrate(&rules, moves_web()).await, Verdict::allow());
    cluster.kubevirt_is(kubevirt("Pending"));
    cluster.run(pod("b", Some(MIGRATION)));
    assert_eq!(attach(&rules, "b", PV).await, Verdict::allow());
    let again = attach(&rules, "c", PV).await;
    assert!(!again.is_allowed(), "{again:?}");
}

#[tokio::test]
async fn an_evacuation_is_warned_and_never_refused() {
    let cluster = cluster("ReadWriteOnce");
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    let mut evacuation = moves_web();
    evacuation["metadata"]["annotations"] = json!({"kubevirt.io/evacuationMigration": "a"});
    let verdict = migrate(&rules(&cluster), evacuation).await;
    assert!(verdict.is_allowed(), "{verdict:?}");
    assert!(
        verdict.warnings[0].starts_with("disk disk0: a live migration needs"),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn both_sides_of_a_decentralised_migration_have_disks_of_their_own() {
    let cluster = cluster("ReadWriteOnce");
    cluster.machine("vms", "web", &[disk("disk0", "root")]);
    for side in ["sendTo", "receive"] {
        let mut half = moves_web();
        half["spec"][side] = json!({"migrationID": "x"});
        assert_eq!(
            migrate(&rules(&cluster), half).await,
            Verdict::allow(),
            "{side}"
        );
    }
}
