//! A second node: for the live migration of one machine, and for nobody else.

use rds_csi_cluster::fake::machine::{MIGRATION, claim, kubevirt, launcher};
use rds_csi_core::attachment::observation::{Node, Pod, Role};
use rds_csi_core::attachment::{Mode, Rule};

use super::*;

const MANY: AccessMode = AccessMode::MultiNodeMultiWriter;

/// A shared block volume that node `a` has, with the machine's pod there.
async fn on_a() -> (Arc<FakeCluster>, InCluster) {
    let cluster = contested();
    cluster.put(PersistentVolume {
        access_modes: vec!["ReadWriteMany".to_owned()],
        claim: Some(claim()),
        ..volume(PV)
    });
    cluster.run(launcher("virt-launcher-web-uid-a", "a", None));
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
    cluster.run(launcher("virt-launcher-web-uid-b", "b", Some(MIGRATION)));
    second(&driver).await.unwrap();
    second(&driver).await.unwrap();
    cluster.wish("va-c", "c", PV);
    cluster.run(launcher("virt-launcher-web-uid-c", "c", Some(MIGRATION)));
    let error = ask_as(&driver, Some(PV), "c", MANY).await.unwrap_err();
    let text = Chain(&error).to_string();
    assert!(text.contains("nodes a and b have the volume"), "{text}");
    assert_eq!(error.kind(), Kind::Conflict);
}

/// The answer that the target may have it was lost, and its pod is gone.
#[tokio::test]
async fn who_comes_to_what_was_promised_to_a_target_gets_it_no_more_than_anybody() {
    let (cluster, driver) = on_a().await;
    cluster.kubevirt_is(kubevirt("Scheduling"));
    let target = launcher("virt-launcher-web-uid-b", "b", Some(MIGRATION));
    cluster.run(target.clone());
    second(&driver).await.unwrap();
    cluster.end_pods("b");
    cluster.run(Pod {
        role: Role::Other,
        ..launcher("x", "b", None)
    });
    let error = second(&driver).await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Unreachable,
        "it is promised all the same"
    );
    let text = Chain(&error).to_string();
    assert!(text.contains("pod x on node b is not for one"), "{text}");
    cluster.end_pods("b");
    cluster.run(target);
    second(&driver).await.unwrap();
    cluster.attach("b");
    cluster.end_pods("b");
    second(&driver).await.unwrap();
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
    cluster.run(launcher("virt-launcher-web-uid-b", "b", Some(MIGRATION)));
    let text = Chain(&second(&driver).await.unwrap_err()).to_string();
    assert!(text.contains("its migration move is Succeeded"), "{text}");
}

#[tokio::test]
async fn nothing_is_shared_with_a_node_that_may_be_lost() {
    let (cluster, driver) = on_a().await;
    cluster.kubevirt_is(kubevirt("Running"));
    cluster.run(launcher("virt-launcher-web-uid-b", "b", Some(MIGRATION)));
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
        // Volume, attachments, node, pods of two nodes, KubeVirt, the node that asks, the write.
        for call in 0..8 {
            let (cluster, driver) = on_a().await;
            cluster.kubevirt_is(kubevirt("Running"));
            cluster.run(launcher("virt-launcher-web-uid-b", "b", Some(MIGRATION)));
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

/// Whoever reads beside a writer is told to read alone, by every answer to the same attachment.
#[tokio::test]
async fn a_reader_is_told_to_only_read_for_as_long_as_its_attachment_stands() {
    let (cluster, driver) = on_a().await;
    let first = ask_as(&driver, Some(PV), "a", MANY).await.unwrap();
    assert!(!first.reader);
    let source = Pod {
        role: Role::Reader,
        ..launcher("clone-source", "b", None)
    };
    cluster.run(source);
    assert!(second(&driver).await.unwrap().reader);
    // The answer was lost, another process is asked, and by now the node is the only one.
    driver.release(&id(), "a").await.unwrap();
    cluster.delete("a");
    assert!(second(&process(&cluster)).await.unwrap().reader);
    cluster.delete("b");
    cluster.wish("va-b-2", "b", PV);
    assert!(!second(&driver).await.unwrap().reader);
}
