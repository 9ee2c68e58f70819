//! A node that went away, by a clock that only tests set, over a cluster in memory.

use std::sync::Arc;
use std::time::Duration;

use rds_csi_cluster::fake::machine::{claim, launcher};
use rds_csi_cluster::fake::{FakeCluster, Fault};
use rds_csi_cluster::{Clearing as _, Cluster as _, PersistentVolume};
use rds_csi_core::attachment::Modes;
use rds_csi_core::attachment::observation::{Node, Phase, Role};
use rds_csi_core::names::event;
use tokio::time::sleep;

use super::*;
use crate::controller::reports::{Events, Reports, post};
use crate::metrics::Metrics;

mod troubles;

/// A controller of the cluster, the events that it has, and its numbers.
fn controller(cluster: &Arc<FakeCluster>) -> (InCluster, Events, Metrics) {
    let metrics = Metrics::new("controller", Vec::new());
    let (reports, events) = Reports::new(metrics.clone());
    let driver = InCluster {
        cluster: cluster.clone(),
        driver: "rds.csi.srvlab.io".parse().unwrap(),
        owner: "lab".parse().unwrap(),
        modes: Modes::default(),
        fencing: Default::default(),
        reports,
    };
    (driver, events, metrics)
}

/// A volume that node `gone` has, which does not exist, and node `here` wants.
fn left() -> Arc<FakeCluster> {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(PersistentVolume {
        name: "pv".to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        claim: Some(claim()),
        ..PersistentVolume::default()
    });
    cluster.wish("va-gone", "gone", "pv");
    cluster.attach("gone");
    cluster.wish("va-here", "here", "pv");
    cluster.node_is("gone", None);
    cluster
}

async fn minutes(count: u64) {
    sleep(Duration::from_secs(60 * count)).await;
}

/// Whether the attachment of a node was asked to leave. No other ever is.
fn is_cleared(cluster: &FakeCluster, node: &str) -> bool {
    let all = cluster.attachments();
    let others = all.iter().filter(|found| found.node != node);
    assert!(
        !others.clone().any(|found| found.leaving) && others.count() >= 1,
        "{all:?}"
    );
    let mut own = all.iter().filter(|found| found.node == node);
    own.next().is_none_or(|found| found.leaving)
}

/// Runs a controller until a story of the cluster ends. What was told, and its numbers.
async fn during(cluster: &Arc<FakeCluster>, story: impl Future<Output = ()>) -> (Told, String) {
    let (driver, events, metrics) = controller(cluster);
    // Events go another way than what is read, which may fail in these stories.
    let told = FakeCluster::default();
    tokio::select! {
        () = clear(&driver, Pace::default()) => {}
        () = post(events, &told) => {}
        () = story => {}
    }
    (told.posted(), metrics.encode().unwrap())
}

type Told = Vec<(&'static str, String)>;

fn reasons(told: &Told) -> Vec<&'static str> {
    told.iter().map(|(reason, _)| *reason).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_vanished_node_has_left_is_cleared_and_told_once() {
    let cluster = left();
    let (told, page) = during(&cluster, async {
        sleep(Duration::from_secs(599)).await;
        assert!(!is_cleared(&cluster, "gone"));
        minutes(1).await;
        assert!(is_cleared(&cluster, "gone"));
        cluster.delete("gone");
        minutes(30).await;
    })
    .await;
    assert_eq!(reasons(&told), [event::STALE_ATTACHMENT_CLEARED]);
    let today = now().to_string();
    for part in [
        "VolumeAttachment va-gone was deleted",
        &format!("no node gone since {}", &today[..10]),
        "for 10 min",
        "Switch off every machine that still runs under the name gone",
    ] {
        let (part, words) = (part.to_lowercase(), told[0].1.to_lowercase());
        assert!(words.contains(&part), "{part} not in {words}");
    }
    for line in ["stale_cleared_total 1", "stale 0"] {
        assert!(page.contains(&format!("attachment_{line}\n")), "{page}");
    }
}

/// Nothing was cleared, nobody was told, and nothing counts as left over.
fn assert_untouched(cluster: &FakeCluster, told: &Told, page: &str) {
    assert!(!is_cleared(cluster, "gone"));
    assert_eq!(*told, []);
    assert!(page.contains("attachment_stale 0\n"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_only_is_not_heard_of_keeps_what_it_has() {
    let cluster = left();
    cluster.node_is("gone", Some(Node::default()));
    let (told, page) = during(&cluster, minutes(60)).await;
    assert_untouched(&cluster, &told, &page);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_has_not_been_away() {
    let cluster = left();
    let (told, page) = during(&cluster, async {
        sleep(Duration::from_secs(570)).await;
        cluster.node_is("gone", Some(Node::default()));
        minutes(1).await;
        cluster.node_is("gone", None);
        sleep(Duration::from_secs(599)).await;
        assert!(!is_cleared(&cluster, "gone"));
        cluster.node_is("gone", Some(Node::default()));
        minutes(60).await;
    })
    .await;
    assert_untouched(&cluster, &told, &page);
}

#[tokio::test(start_paused = true)]
async fn a_pod_object_on_the_node_keeps_its_attachment_and_that_is_told_once() {
    let cluster = left();
    let mut ended = launcher("web-1", "gone", None);
    (ended.role, ended.phase, ended.leaving) = (Role::Other, Phase::Over, true);
    cluster.run(ended);
    let (told, page) = during(&cluster, async {
        minutes(60).await;
        assert!(!is_cleared(&cluster, "gone"));
        cluster.end_pods("gone");
        minutes(2).await;
        assert!(is_cleared(&cluster, "gone"));
    })
    .await;
    let expected = [
        event::STALE_ATTACHMENT_STAYS,
        event::STALE_ATTACHMENT_CLEARED,
    ];
    assert_eq!(reasons(&told), expected);
    assert!(told[0].1.contains("pod vms/web-1 may use"), "{told:?}");
    assert!(page.contains("attachment_stale 1\n"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn one_whose_volume_is_gone_is_cleared_once_no_pod_on_its_node_has_any_claim() {
    let cluster = left();
    cluster.remove("pv");
    let mut other = launcher("of-another-namespace", "gone", None);
    (other.role, other.namespace) = (Role::Other, "web".to_owned());
    cluster.run(other);
    during(&cluster, async {
        minutes(60).await;
        assert!(!is_cleared(&cluster, "gone"));
        cluster.end_pods("gone");
        minutes(2).await;
        assert!(is_cleared(&cluster, "gone"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_leaving_already_is_told_of_and_not_touched() {
    let cluster = left();
    let read = cluster.read_attachments().await.unwrap();
    cluster.clear(&read[0]).await.unwrap();
    let before = cluster.read_attachments().await.unwrap();
    assert!(before[0].attachment.leaving);
    let (told, page) = during(&cluster, minutes(60)).await;
    assert_eq!(cluster.read_attachments().await.unwrap(), before);
    assert_eq!(reasons(&told), [event::STALE_ATTACHMENT_STAYS]);
    assert!(
        told[0]
            .1
            .contains("kubectl describe volumeattachment va-gone"),
        "{told:?}"
    );
    assert!(page.contains("attachment_stale 1\n"), "{page}");
    assert!(page.contains("stale_cleared_total 0\n"), "{page}");
}

/// One that was cleared and does not go, as where nobody runs who takes it away.
#[tokio::test(start_paused = true)]
async fn one_that_was_cleared_and_hangs_is_told_of_too() {
    let cluster = left();
    let (told, _) = during(&cluster, minutes(60)).await;
    let expected = [
        event::STALE_ATTACHMENT_CLEARED,
        event::STALE_ATTACHMENT_STAYS,
    ];
    assert_eq!(reasons(&told), expected);
}
