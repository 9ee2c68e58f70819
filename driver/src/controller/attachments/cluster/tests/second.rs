//! A second node: for the live migration of one machine, and for nobody else.

use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Machine, Migration, Node, Phase, Pod, Role,
};
use rds_csi_core::attachment::{Mode, Rule};

use super::*;

const MANY: AccessMode = AccessMode::MultiNodeMultiWriter;

/// A launcher pod of machine `uid`, on a node.
fn launcher(uid: &str, node: &str, migration: Option<&str>) -> Pod {
    Pod {
        namespace: "vms".to_owned(),
        name: format!("virt-launcher-{uid}-{node}"),
        uid: format!("pod-{uid}-{node}"),
        node: node.to_owned(),
        phase: Phase::Running,
        leaving: false,
        role: Role::Launcher {
            machine: uid.to_owned(),
        },
        migration: migration.map(str::to_owned),
        claims: vec!["root".to_owned()],
    }
}

fn kubevirt(phase: &str) -> KubeVirt {
    KubeVirt::Present {
        machines: vec![Machine {
            namespace: "vms".to_owned(),
            name: "web".to_owned(),
            uid: "web-uid".to_owned(),
            is_over: false,
        }],
        migrations: vec![Migration {
            namespace: "vms".to_owned(),
            name: "move".to_owned(),
            uid: "move-uid".to_owned(),
            machine: "web".to_owned(),
            phase: phase.to_owned(),
            leaving: false,
            decentralised: None,
        }],
    }
}

/// A shared block volume that node `a` has, with the machine's pod there.
async fn on_a() -> (Arc<FakeCluster>, InCluster) {
    let cluster = contested();
    cluster.put(PersistentVolume {
        access_modes: vec!["ReadWriteMany".to_owned()],
        claim: Some(Claim {
            namespace: "vms".to_owned(),
            name: "root".to_owned(),
        }),
        ..volume(PV)
    });
    cluster.run(launcher("web-uid", "a", None));
    let driver = process(&cluster);
    ask_as(&driver, Some(PV), "a", MANY).await.unwrap();
    (cluster, driver)
}

async fn second(driver: &InCluster) -> Result<Granted, ControllerError> {
    ask_as(driver, Some(PV), "b", MANY).await
}

#[tokio::test]
async fn the_target_of_a_migration_gets_it_and_no_third_node() {
    let (cluster, driver) = on_a().await;
    cluster.kubevirt_is(kubevirt("Scheduling"));
    cluster.run(launcher("web-uid", "b", Some("move-uid")));
    second(&driver).await.unwrap();
    second(&driver).await.unwrap();
    cluster.wish("va-c", "c", PV);
    cluster.run(launcher("web-uid", "c", Some("move-uid")));
    let error = ask_as(&driver, Some(PV), "c", MANY).await.unwrap_err();
    let text = Chain(&error).to_string();
    assert!(text.contains("nodes a and b have the volume"), "{text}");
    assert_eq!(error.kind(), Kind::Conflict);
}

#[tokio::test]
async fn a_second_pod_hears_who_is_in_the_way() {
    let (cluster, driver) = on_a().await;
    cluster.run(Pod {
        role: Role::Other,
        ..launcher("x", "b", None)
    });
    let error = second(&driver).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let text = Chain(&error).to_string();
    for part in [
        "Pod vms/virt-launcher-web-uid-a is in the way",
        "kubectl describe pod -n vms virt-launcher-web-uid-a",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_migration_that_is_over_brings_nobody() {
    let (cluster, driver) = on_a().await;
    cluster.kubevirt_is(kubevirt("Succeeded"));
    cluster.run(launcher("web-uid", "b", Some("move-uid")));
    let text = Chain(&second(&driver).await.unwrap_err()).to_string();
    assert!(text.contains("its migration move is Succeeded"), "{text}");
}

#[tokio::test]
async fn nothing_is_shared_with_a_node_that_may_be_lost() {
    let (cluster, driver) = on_a().await;
    cluster.kubevirt_is(kubevirt("Running"));
    cluster.run(launcher("web-uid", "b", Some("move-uid")));
    cluster.node_is("a", Some(Node::default()));
    let text = Chain(&second(&driver).await.unwrap_err()).to_string();
    assert!(
        text.contains("node a has the volume, is not ready"),
        "{text}"
    );
    assert!(text.contains("kubectl taint node a"), "{text}");
}

/// What a rule needs and cannot be read is never taken for allowed or for nothing there.
#[tokio::test(start_paused = true)]
async fn a_fault_at_each_reading_decides_nothing() {
    for fault in [Fault::Before, Fault::Hang] {
        // Volume, attachments, node, pods of two nodes, KubeVirt, the write.
        for call in 0..7 {
            let (cluster, driver) = on_a().await;
            cluster.kubevirt_is(kubevirt("Running"));
            cluster.run(launcher("web-uid", "b", Some("move-uid")));
            cluster.fail(cluster.calls() + call, fault);
            let error = second(&driver).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable, "{call}: {error}");
            second(&driver).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_rule_that_is_not_enforced_is_judged_all_the_same() {
    let (cluster, driver) = on_a().await;
    let driver = InCluster {
        modes: Modes::default().with(Rule::SameMachine, Mode::Warn),
        ..driver
    };
    cluster.run(Pod {
        role: Role::Other,
        ..launcher("x", "b", None)
    });
    second(&driver).await.unwrap();
}
