//! Letting go: a node that may still write keeps its attachment.

use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::attachment::observation::{Claim, Node, Phase, Pod, Role};
use rds_csi_core::attachment::{Mode, Rule};

use super::*;

const READY: Node = Node {
    ready: true,
    out_of_service: false,
    in_use: false,
    identity: None,
    created: None,
};

/// A volume that node `a` has, by an attachment of the name that Kubernetes gives it.
fn attached() -> (Arc<FakeCluster>, InCluster) {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(PersistentVolume {
        claim: Some(Claim {
            namespace: "ns".to_owned(),
            name: "data".to_owned(),
        }),
        ..volume(PV)
    });
    let name = attachment_name(&id(), &DriverName::default(), "a");
    cluster.wish(&name, "a", PV);
    let driver = process(&cluster);
    (cluster, driver)
}

fn pod(phase: Phase) -> Pod {
    Pod {
        namespace: "ns".to_owned(),
        name: "web".to_owned(),
        uid: "web".to_owned(),
        node: "a".to_owned(),
        phase,
        leaving: false,
        role: Role::Other,
        migration: None,
        claims: vec!["data".to_owned()],
    }
}

/// What the driver says to it, and what a person reads.
async fn asked(driver: &InCluster) -> Result<(), String> {
    let released = driver.release(&id(), "a").await;
    released.map_err(|error| {
        assert_eq!(error.kind(), Kind::Unreachable, "never final: {error}");
        Chain(&error).to_string()
    })
}

#[rstest]
#[case::it_does_not_use_it(Some(READY), None)]
#[case::it_exists_no_more(None, None)]
#[case::it_was_switched_off(Some(Node { ready: false, out_of_service: true, ..READY }), None)]
#[case::it_is_lost(Some(Node { ready: false, ..READY }), Some("kubectl taint node a"))]
#[case::it_is_lost_in_use(
    Some(Node { ready: false, in_use: true, ..READY }),
    Some("node a is not ready and may still write")
)]
#[case::it_uses_it(Some(Node { in_use: true, ..READY }), Some("node a still uses the volume"))]
#[tokio::test]
async fn a_node_lets_go_when_it_cannot_write_any_more(
    #[case] node: Option<Node>,
    #[case] kept: Option<&str>,
) {
    let (cluster, driver) = attached();
    cluster.node_is("a", node);
    for _ in 0..2 {
        match (asked(&driver).await, kept) {
            (Ok(()), None) => {}
            (Err(text), Some(part)) => assert!(text.contains(part), "{text}"),
            (found, _) => panic!("{found:?}"),
        }
    }
}

#[tokio::test]
async fn a_pod_that_only_waits_keeps_nothing_and_one_that_runs_does() {
    let in_use = Some(Node {
        in_use: true,
        ..READY
    });
    let (cluster, driver) = attached();
    cluster.node_is("a", in_use);
    cluster.run(pod(Phase::Pending));
    asked(&driver).await.unwrap();
    cluster.run(pod(Phase::Running));
    let text = asked(&driver).await.unwrap_err();
    assert!(text.contains("kubectl describe pod -n ns web"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_each_reading_lets_nobody_go() {
    for fault in [Fault::Before, Fault::Hang] {
        // Node, attachments, volume, pods.
        for call in 0..4 {
            let (cluster, driver) = attached();
            cluster.node_is(
                "a",
                Some(Node {
                    in_use: true,
                    ..READY
                }),
            );
            cluster.run(pod(Phase::Pending));
            cluster.fail(call, fault);
            asked(&driver).await.unwrap_err();
            asked(&driver).await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_answers_for_lost_nodes_may_say_so() {
    let (cluster, driver) = attached();
    let driver = InCluster {
        modes: Modes::default().with(Rule::NodeLoss, Mode::Audit),
        ..driver
    };
    cluster.node_is(
        "a",
        Some(Node {
            ready: false,
            ..READY
        }),
    );
    asked(&driver).await.unwrap();
    cluster.node_is(
        "a",
        Some(Node {
            in_use: true,
            ..READY
        }),
    );
    asked(&driver).await.unwrap_err();
}
