//! Migrations from the first look to the last, over a cluster in memory, by one controller and
//! by one that takes over.

use std::sync::Arc;

use rds_csi_cluster::PersistentVolume;
use rds_csi_cluster::fake::machine::{MIGRATION, claim, kubevirt, launcher};
use rds_csi_cluster::fake::{FakeCluster, Fault};
use rds_csi_core::attachment::Modes;
use rds_csi_core::attachment::observation::{Claim, KubeVirt, Pod};
use rds_csi_core::names::event;
use rstest::rstest;

use super::*;
use crate::controller::reports::{Events, Reports, post};
use crate::metrics::Metrics;

mod turns;

/// The machine's disk.
fn volume() -> PersistentVolume {
    PersistentVolume {
        name: "pv".to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        handle: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".to_owned(),
        access_modes: vec!["ReadWriteMany".to_owned()],
        attributes: [("migrationTimeoutSeconds".to_owned(), "30".to_owned())].into(),
        claim: Some(claim()),
        ..PersistentVolume::default()
    }
}

/// A machine on node `a` that moves to `b`, which does not have its disk yet.
fn moving() -> (Arc<FakeCluster>, InCluster, Events) {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(volume());
    cluster.run(launcher("source", "a", None));
    cluster.run(launcher("target", "b", Some(MIGRATION)));
    cluster.kubevirt_is(kubevirt("Running"));
    for node in ["a", "b"] {
        cluster.wish(&format!("va-{node}"), node, "pv");
    }
    cluster.attach("a");
    let (driver, events) = controller(&cluster);
    (cluster, driver, events)
}

/// Gives the machine a second disk, for which its pods ask as well.
fn add_disk(cluster: &FakeCluster) {
    let data = Claim {
        name: "data".to_owned(),
        ..claim()
    };
    cluster.put(PersistentVolume {
        name: "pv-data".to_owned(),
        handle: "pvc-2ckaq5x367ir2lft5aq7yiwvym".to_owned(),
        claim: Some(data.clone()),
        ..volume()
    });
    for (pod, node) in [("source", "a"), ("target", "b")] {
        let migration = (pod == "target").then_some(MIGRATION);
        cluster.run(Pod {
            claims: vec![data.name.clone()],
            ..launcher(&format!("{pod}-data"), node, migration)
        });
        cluster.wish(&format!("va-data-{node}"), node, "pv-data");
    }
}

/// A process that knows nothing of what another one did.
fn controller(cluster: &Arc<FakeCluster>) -> (InCluster, Events) {
    let metrics = Metrics::new("controller", Vec::new());
    let (reports, events) = Reports::new(metrics);
    let driver = InCluster {
        cluster: cluster.clone(),
        driver: "rds.csi.srvlab.io".parse().unwrap(),
        owner: "lab".parse().unwrap(),
        modes: Modes::default(),
        fencing: rds_csi_core::attachment::Fencing::default(),
        reports,
    };
    (driver, events)
}

/// Lets controllers follow it until a story ends: what was told.
async fn told_during(
    cluster: &FakeCluster,
    driver: InCluster,
    events: Events,
    story: impl Future<Output = ()>,
) -> Vec<&'static str> {
    let before = cluster.posted().len();
    let beside = async {
        tokio::join!(follow(&driver), post(events, cluster));
    };
    tokio::select! {
        () = beside => {}
        () = story => {}
    }
    let posted = cluster.posted().into_iter().skip(before);
    posted.map(|(reason, _)| reason).collect()
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

/// Its target gets the disk, and that is seen.
async fn begins(cluster: &FakeCluster) {
    seconds(10).await;
    cluster.attach("b");
    seconds(10).await;
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_followed_from_the_cluster_alone() {
    let (cluster, driver, events) = moving();
    let told = told_during(&cluster, driver, events, async {
        seconds(10).await;
        cluster.attach("b");
        seconds(40).await;
        cluster.kubevirt_is(kubevirt("Succeeded"));
        cluster.delete("a");
        seconds(10).await;
    });
    let expected = [
        event::MIGRATION_STARTED,
        event::MIGRATION_TAKES_LONG,
        event::MIGRATION_COMPLETED,
    ];
    assert_eq!(told.await, expected);
}

/// Its guest is on the target, paused.
#[tokio::test(start_paused = true)]
async fn a_post_copy_that_broke_off_has_failed_though_only_the_target_is_left() {
    let (cluster, driver, events) = moving();
    let told = told_during(&cluster, driver, events, async {
        begins(&cluster).await;
        cluster.kubevirt_is(kubevirt("Failed"));
        cluster.delete("a");
        // What has become of it cannot be read at first.
        cluster.fail(cluster.calls() + 1, Fault::Before);
        seconds(10).await;
    });
    assert_eq!(
        told.await,
        [event::MIGRATION_STARTED, event::MIGRATION_FAILED]
    );
    let (_, words) = cluster.posted().pop().unwrap();
    assert!(words.contains("vms/move has failed"), "{words}");
}

/// The first one has told that it has begun; the second one is another process, or the same one
/// that has led again since.
#[rstest]
#[case::goes_on(["Running", "Succeeded"], event::MIGRATION_COMPLETED)]
#[case::has_succeeded(["Succeeded", "Succeeded"], event::MIGRATION_COMPLETED)]
#[case::has_failed(["Failed", "Failed"], event::MIGRATION_FAILED)]
#[tokio::test(start_paused = true)]
async fn whoever_takes_over_tells_the_rest_of_one_that(
    #[case] phases: [&str; 2],
    #[case] end: &str,
    #[values(false, true)] is_same: bool,
) {
    let (cluster, driver, events) = moving();
    let first = told_during(&cluster, driver.clone(), events, async {
        begins(&cluster).await;
        if is_same {
            cluster.lead(false);
            seconds(10).await;
            cluster.lead(true);
            seconds(10).await;
        }
    });
    assert_eq!(first.await, [event::MIGRATION_STARTED]);
    cluster.age("a", Duration::from_secs(3600));
    cluster.age("b", Duration::from_secs(25));
    let [phase, last] = phases;
    cluster.kubevirt_is(kubevirt(phase));
    let (driver, events) = controller(&cluster);
    let second = told_during(&cluster, driver, events, async {
        seconds(13).await;
        cluster.kubevirt_is(kubevirt(last));
        cluster.delete("a");
        seconds(10).await;
    });
    assert_eq!(second.await, [event::MIGRATION_TAKES_LONG, end]);
    let last = cluster.posted().pop().unwrap().1;
    assert!(last.contains(" 40 s"), "since both had it: {last}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_stopped_when_it_has_arrived_has_moved() {
    let (cluster, driver, events) = moving();
    let told = told_during(&cluster, driver, events, async {
        begins(&cluster).await;
        cluster.kubevirt_is(kubevirt("Succeeded"));
        for node in ["a", "b"] {
            cluster.end_pods(node);
            cluster.delete(node);
        }
        // That it has succeeded cannot be read at first.
        cluster.fail(cluster.calls() + 1, Fault::Before);
        seconds(10).await;
    });
    let expected = [event::MIGRATION_STARTED, event::MIGRATION_COMPLETED];
    assert_eq!(told.await, expected);
}

/// For as long as half a KubeVirt is served, objects may be there that nobody sees.
#[tokio::test(start_paused = true)]
async fn half_a_kubevirt_does_not_say_how_a_migration_went() {
    let (cluster, driver, events) = moving();
    let told = told_during(&cluster, driver, events, async {
        begins(&cluster).await;
        let missing = "virtualmachineinstancemigrations".to_owned();
        cluster.kubevirt_is(KubeVirt::Incomplete { missing });
        cluster.delete("b");
        seconds(10).await;
        assert_eq!(cluster.posted().len(), 1);
        cluster.kubevirt_is(kubevirt("Failed"));
        seconds(10).await;
    });
    let expected = [event::MIGRATION_STARTED, event::MIGRATION_FAILED];
    assert_eq!(told.await, expected);
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_the_source_has_not_arrived_though_kubevirt_is_gone() {
    let (cluster, driver, events) = moving();
    let told = told_during(&cluster, driver, events, async {
        begins(&cluster).await;
        cluster.kubevirt_is(KubeVirt::Absent);
        cluster.delete("b");
        seconds(10).await;
    });
    let expected = [event::MIGRATION_STARTED, event::MIGRATION_FAILED];
    assert_eq!(told.await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_cannot_be_read_hides_no_other() {
    let (cluster, driver, _events) = moving();
    cluster.fail(cluster.calls(), Fault::Before);
    let both = ["others", "vms"].map(str::to_owned);
    let (lists, outcome) = lists(&driver, both.into()).await;
    assert_eq!(lists.into_keys().collect::<Vec<_>>(), ["vms"]);
    outcome.unwrap_err();
}

/// However many move from a namespace, and for how long the sources do not let go.
#[tokio::test(start_paused = true)]
async fn what_is_followed_costs_two_lists_a_look() {
    let (cluster, driver, _events) = moving();
    add_disk(&cluster);
    cluster.attach("a");
    cluster.attach("b");
    let mut migrations = Migrations::default();
    look(&driver, &mut migrations, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(migrations.active(), 2);
    for phase in ["Running", "Succeeded", "Failed"] {
        cluster.kubevirt_is(kubevirt(phase));
        let before = cluster.calls();
        look(&driver, &mut migrations, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(cluster.calls() - before, 2, "{phase}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_without_a_migration_are_none() {
    let (cluster, driver, _events) = moving();
    cluster.attach("b");
    cluster.kubevirt_is(KubeVirt::Absent);
    let mut migrations = Migrations::default();
    look(&driver, &mut migrations, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(migrations.active(), 0);
}
