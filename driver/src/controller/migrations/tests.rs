//! A migration from its first look to its last, over a cluster in memory.

use std::sync::Arc;

use rds_csi_cluster::PersistentVolume;
use rds_csi_cluster::fake::FakeCluster;
use rds_csi_cluster::fake::machine::{MIGRATION, claim, kubevirt, launcher};
use rds_csi_core::attachment::Modes;
use rds_csi_core::attachment::observation::KubeVirt;
use rds_csi_core::names::event;

use super::*;
use crate::controller::reports::{Events, Reports, post};
use crate::metrics::Metrics;

/// A machine that both nodes have the disk of.
fn moving() -> (Arc<FakeCluster>, InCluster, Events) {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(PersistentVolume {
        name: "pv".to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        handle: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".to_owned(),
        access_modes: vec!["ReadWriteMany".to_owned()],
        attributes: [("migrationTimeoutSeconds".to_owned(), "30".to_owned())].into(),
        claim: Some(claim()),
        ..PersistentVolume::default()
    });
    cluster.run(launcher("source", "a", None));
    cluster.run(launcher("target", "b", Some(MIGRATION)));
    cluster.kubevirt_is(kubevirt("Running"));
    for node in ["a", "b"] {
        cluster.wish(&format!("va-{node}"), node, "pv");
        cluster.attach(node);
    }
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
    (cluster, driver, events)
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_followed_from_the_cluster_alone() {
    let (cluster, driver, events) = moving();
    let beside = async {
        tokio::join!(follow(&driver), post(events, &*cluster));
    };
    let story = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        cluster.delete("a");
        tokio::time::sleep(Duration::from_secs(10)).await;
    };
    tokio::select! {
        () = beside => {}
        () = story => {}
    }
    let reasons: Vec<_> = cluster
        .posted()
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    let expected = [
        event::MIGRATION_STARTED,
        event::MIGRATION_TAKES_LONG,
        event::MIGRATION_COMPLETED,
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_without_a_migration_are_none() {
    let (cluster, driver, _events) = moving();
    cluster.kubevirt_is(KubeVirt::Absent);
    let mut migrations = Migrations::default();
    look(&driver, &mut migrations, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(migrations.active(), 0);
}
