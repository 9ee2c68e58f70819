//! Who went without letting go, as the record and the attachments show it.

use rds_csi_cluster::fake::machine::{claim, launcher};
use rds_csi_core::attachment::grant::{Entry, attachment_name};
use rds_csi_core::attachment::observation::{Node, Pod, Role};
use rds_csi_core::names::event;
use rstest::rstest;

use super::*;
use crate::controller::reports::Events;

/// A volume of a claim.
fn claimed() -> Arc<FakeCluster> {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(PersistentVolume {
        claim: Some(claim()),
        ..volume(PV)
    });
    cluster
}

/// A volume that node `a` has had granted.
async fn granted() -> (Arc<FakeCluster>, InCluster) {
    let cluster = claimed();
    let driver = process(&cluster);
    wish(&cluster, "a");
    assert_eq!(ask(&driver, "a").await.unwrap().due, None);
    cluster.attach("a");
    (cluster, driver)
}

/// A pod on a node wants the volume.
fn wish(cluster: &FakeCluster, node: &str) {
    cluster.run(Pod {
        role: Role::Other,
        ..launcher(&format!("user-{node}"), node, None)
    });
    wish_alone(cluster, node);
}

/// No pod is there any more.
fn wish_alone(cluster: &FakeCluster, node: &str) {
    let name = attachment_name(&id(), &DriverName::default(), node);
    cluster.wish(&name, node, PV);
}

fn node(ready: bool, out_of_service: bool) -> Option<Node> {
    Some(Node {
        ready,
        out_of_service,
        ..FakeCluster::ready("a")
    })
}

fn record(cluster: &FakeCluster) -> Record {
    Record::parse(&cluster.annotation(PV, GRANTED).unwrap())
}

async fn ask_renewed(driver: &InCluster, node: &str, due: &Due) -> Granted {
    let wanted = Wanted {
        id: &id(),
        made_for: Some(&PV.parse().unwrap()),
        node,
        access: &Access::block(AccessMode::SingleNodeWriter).unwrap(),
        read_only: false,
        ended: false,
        renewed: Some(&due.epoch),
        sessions: Sessions::End,
    };
    driver.attach(&wanted).await.unwrap()
}

#[tokio::test]
async fn who_was_seen_to_let_go_is_not_shut_out() {
    let (cluster, driver) = granted().await;
    cluster.node_is("a", node(true, false));
    driver.release(&id(), "a").await.unwrap();
    let released = |(_, entry): (&str, &Entry)| entry.released;
    assert!(record(&cluster).entries().all(released));
    cluster.delete("a");
    wish(&cluster, "b");
    assert_eq!(ask(&driver, "b").await.unwrap().due, None);
}

#[rstest]
#[case::its_machine_was_said_to_be_off(node(false, true))]
#[case::its_node_was_removed(None)]
#[tokio::test]
async fn who_was_not_is_shut_out_before_the_next_one_and_once(#[case] lost: Option<Node>) {
    let (cluster, driver) = granted().await;
    cluster.node_is("a", lost);
    driver.release(&id(), "a").await.unwrap();
    cluster.delete("a");
    wish(&cluster, "b");
    let due = ask(&driver, "b").await.unwrap().due.unwrap();
    assert_eq!(
        (due.lost.as_str(), due.persistent_volume.as_str()),
        ("node a", PV)
    );
    // Whoever asks again, in whichever process, is told the same until it is done.
    assert_eq!(
        ask(&process(&cluster), "b").await.unwrap().due.as_ref(),
        Some(&due)
    );
    assert_eq!(ask_renewed(&driver, "b", &due).await.due, None);
    assert_eq!(ask(&driver, "b").await.unwrap().due, None);
    assert_eq!(record(&cluster).entries().count(), 1);
}

#[rstest]
#[case::nobody(None)]
#[case::one_that_is_to_end(Some(Pod { leaving: true, ..launcher("user-b", "b", None) }))]
#[case::one_elsewhere(Some(launcher("user-c", "c", None)))]
#[case::one_of_another_claim(Some(Pod { claims: vec!["other".to_owned()], ..launcher("user-b", "b", None) }))]
#[tokio::test]
async fn nobody_is_shut_out_for_whom_no_pod_needs_it(#[case] pod: Option<Pod>) {
    let (cluster, driver) = granted().await;
    cluster.delete("a");
    cluster.end_pods("a");
    wish_alone(&cluster, "b");
    let is_wanted = launcher("user-b", "b", None);
    pod.into_iter().for_each(|pod| cluster.run(pod));
    let before = record(&cluster);
    let (reports, mut events) = Reports::new(Metrics::new("controller", Vec::new()));
    let told = InCluster {
        reports,
        ..driver.clone()
    };
    for _ in 0..2 {
        let refused = ask(&told, "b").await.unwrap_err();
        assert!(
            matches!(&refused, ControllerError::NobodyAsks { node, lost, .. } if node == "b" && lost == "node a"),
            "{refused}"
        );
    }
    assert_eq!(record(&cluster), before, "nothing was granted");
    drop(told);
    let (volume, notice) = events.next().await.unwrap();
    assert_eq!((&*volume, notice.reason), (PV, event::ATTACHMENT_CONFLICT));
    let words = "node a, which may still write, for node b, as no pod there asks for it";
    assert!(notice.message.contains(words), "{}", notice.message);
    assert!(events.next().await.is_none(), "told once");
    cluster.run(is_wanted);
    assert!(ask(&driver, "b").await.unwrap().due.is_some());
}

/// Nobody asked to release it: the attachment was removed by hand.
#[tokio::test]
async fn an_attachment_that_only_vanished_is_one_that_did_not_let_go() {
    let (cluster, driver) = granted().await;
    cluster.delete("a");
    wish(&cluster, "b");
    assert!(ask(&driver, "b").await.unwrap().due.is_some());
    // The node itself has nothing to fear, and a pod may be running there.
    cluster.delete("b");
    let (cluster, driver) = granted().await;
    cluster.delete("a");
    wish(&cluster, "a");
    assert_eq!(ask(&driver, "a").await.unwrap().due, None);
}

/// The machine is replaced, or its Node object is made anew, while node `a` has the volume; what
/// the new kubelet does not use says nothing of what the old one does.
#[rstest]
#[case::another_machine("another", true)]
#[case::another_object("a", false)]
#[tokio::test]
async fn what_was_replaced_is_not_taken_to_have_let_go(
    #[case] machine: &str,
    #[case] is_another: bool,
) {
    let replaced = Some(Node {
        identity: NodeIdentity::of(machine, "", "another object"),
        ..FakeCluster::ready("a")
    });
    // It is released, and another node asks.
    let (cluster, driver) = granted().await;
    cluster.node_is("a", replaced);
    driver.release(&id(), "a").await.unwrap();
    cluster.delete("a");
    wish(&cluster, "b");
    assert_eq!(ask(&driver, "b").await.unwrap().due.unwrap().lost, "node a");
    // Its attachment vanishes, and whatever has its name now asks.
    let (cluster, driver) = granted().await;
    cluster.node_is("a", replaced);
    cluster.delete("a");
    wish(&cluster, "a");
    assert_eq!(ask(&driver, "a").await.unwrap().due.is_some(), is_another);
    // It was granted, and nobody knows whether it heard so.
    let cluster = claimed();
    wish(&cluster, "a");
    let driver = process(&cluster);
    ask(&driver, "a").await.unwrap();
    cluster.node_is("a", replaced);
    let due = ask(&driver, "a").await.unwrap().due;
    assert_eq!(due.is_some(), is_another);
    if let Some(due) = due {
        assert_eq!(ask_renewed(&driver, "a", &due).await.due, None);
        assert_eq!(ask(&driver, "a").await.unwrap().due, None);
    }
}

#[tokio::test]
async fn what_was_only_wished_for_leaves_nothing_in_the_record() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(volume(PV));
    wish(&cluster, "a");
    cluster.node_is("a", None);
    process(&cluster).release(&id(), "a").await.unwrap();
    assert_eq!(cluster.annotation(PV, GRANTED), None);
}

#[tokio::test]
async fn what_is_only_recorded_is_told_and_what_is_off_is_not() {
    for fencing in [Fencing::Record, Fencing::Off] {
        let (cluster, driver) = granted().await;
        let (reports, mut events) = Reports::new(Metrics::new("controller", Vec::new()));
        let driver = InCluster {
            fencing,
            reports,
            ..driver
        };
        cluster.delete("a");
        wish(&cluster, "b");
        for _ in 0..2 {
            assert_eq!(ask(&driver, "b").await.unwrap().due, None);
        }
        assert_eq!(record(&cluster).entries().count(), 1);
        drop(driver);
        let told = events.next().await.map(|(_, notice)| notice);
        match fencing {
            Fencing::Record => {
                let notice = told.unwrap();
                assert_eq!(notice.reason, event::ATTACHMENT_FENCED);
                assert!(notice.message.contains("node a had"), "{}", notice.message);
                assert!(events.next().await.is_none(), "told once");
            }
            _ => assert!(told.is_none(), "{told:?}"),
        }
    }
}

#[tokio::test]
async fn a_release_that_cannot_be_noted_is_one_all_the_same() {
    let (cluster, driver) = granted().await;
    cluster.node_is("a", node(true, false));
    cluster.overtake(10);
    driver.release(&id(), "a").await.unwrap();
    assert_eq!(record(&cluster).entries().count(), 1);
}

/// A volume that nodes `a` and `b` have, as during a migration, and what comes of it.
async fn shared(fencing: Fencing) -> (Arc<FakeCluster>, InCluster, Events, Metrics) {
    let (cluster, driver) = granted().await;
    wish(&cluster, "b");
    cluster.attach("b");
    let metrics = Metrics::new("controller", Vec::new());
    let (reports, events) = Reports::new(metrics.clone());
    let driver = InCluster {
        fencing,
        reports,
        ..driver
    };
    (cluster, driver, events, metrics)
}

/// No attachment follows at which it would be told: the machine runs on where the volume is.
#[rstest]
#[case::enforce(Fencing::Enforce, Some("in_use"))]
#[case::record(Fencing::Record, Some("recorded"))]
#[case::off(Fencing::Off, None)]
#[tokio::test]
async fn a_node_that_is_lost_beside_another_one_is_told_of_once(
    #[case] fencing: Fencing,
    #[case] counted: Option<&str>,
) {
    let (cluster, driver, mut events, metrics) = shared(fencing).await;
    cluster.node_is("a", node(false, true));
    for _ in 0..2 {
        driver.release(&id(), "a").await.unwrap();
    }
    cluster.delete("a");
    // Asked again, as where its answer was lost, it says nothing new.
    ask(&driver, "b").await.unwrap();
    drop(driver);
    let page = metrics.encode().unwrap();
    let told = events.next().await;
    let Some(result) = counted else {
        assert!(told.is_none(), "{told:?}");
        return;
    };
    let (volume, notice) = told.unwrap();
    assert_eq!(
        (volume.as_str(), notice.reason),
        (PV, event::ATTACHMENT_FENCED)
    );
    for part in ["node a had", "Make sure that its machine is off"] {
        assert!(notice.message.contains(part), "{}", notice.message);
    }
    assert!(events.next().await.is_none(), "told once");
    let line = format!("rds_csi_attachment_fences_total{{result=\"{result}\"}} 1\n");
    assert!(page.contains(&line), "{page}");
}

#[tokio::test]
async fn nothing_is_told_of_who_has_let_go_nor_of_who_had_it_alone() {
    for (alone, state) in [(false, node(true, false)), (true, node(false, true))] {
        let (cluster, driver, mut events, _) = shared(Fencing::Enforce).await;
        if alone {
            cluster.delete("b");
        }
        cluster.node_is("a", state);
        driver.release(&id(), "a").await.unwrap();
        drop(driver);
        assert!(events.next().await.is_none());
    }
}

/// Who cannot be told of stays.
#[tokio::test]
async fn a_lost_node_is_let_go_of_once_it_was_seen_who_else_has_the_volume() {
    let (cluster, driver, mut events, _) = shared(Fencing::Enforce).await;
    cluster.node_is("a", node(false, true));
    // The node, the attachment and its volume, and who has it: none is read.
    for call in 0..6 {
        cluster.fail(cluster.calls() + call, Fault::Before);
        driver.release(&id(), "a").await.unwrap_err();
    }
    driver.release(&id(), "a").await.unwrap();
    drop(driver);
    assert!(events.next().await.is_some());
}
