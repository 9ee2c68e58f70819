//! A migration from its first look to its last, over a cluster in memory.

use std::sync::Arc;

use rds_csi_cluster::PersistentVolume;
use rds_csi_cluster::fake::FakeCluster;
use rds_csi_core::attachment::Modes;
use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Machine, Migration, Phase, Pod, Role,
};
use rds_csi_core::names::event;

use super::*;
use crate::controller::reports::{Reports, Waiting};
use crate::metrics::Metrics;

fn launcher(node: &str, migration: Option<&str>) -> Pod {
    Pod {
        namespace: "vms".to_owned(),
        name: format!("launcher-{node}"),
        uid: format!("pod-{node}"),
        node: node.to_owned(),
        phase: Phase::Running,
        leaving: false,
        role: Role::Launcher {
            machine: "web-uid".to_owned(),
        },
        migration: migration.map(str::to_owned),
        claims: vec!["root".to_owned()],
    }
}

/// A machine that both nodes have the disk of.
fn moving() -> (Arc<FakeCluster>, InCluster, Waiting, Metrics) {
    let cluster = Arc::new(FakeCluster::default());
    cluster.put(PersistentVolume {
        name: "pv".to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        handle: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".to_owned(),
        access_modes: vec!["ReadWriteMany".to_owned()],
        attributes: [("migrationTimeoutSeconds".to_owned(), "30".to_owned())].into(),
        claim: Some(Claim {
            namespace: "vms".to_owned(),
            name: "root".to_owned(),
        }),
        ..PersistentVolume::default()
    });
    cluster.run(launcher("a", None));
    cluster.run(launcher("b", Some("move-uid")));
    cluster.kubevirt_is(KubeVirt::Present {
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
            phase: "Running".to_owned(),
            leaving: false,
            decentralised: None,
        }],
    });
    for node in ["a", "b"] {
        cluster.wish(&format!("va-{node}"), node, "pv");
        cluster.attach(node);
    }
    let metrics = Metrics::new("controller", Vec::new());
    let (reports, waiting) = Reports::new(metrics.clone());
    let driver = InCluster {
        cluster: cluster.clone(),
        driver: "rds.csi.srvlab.io".parse().unwrap(),
        owner: "lab".parse().unwrap(),
        modes: Modes::default(),
        reports,
    };
    (cluster, driver, waiting, metrics)
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_followed_from_the_cluster_alone() {
    let (cluster, driver, waiting, metrics) = moving();
    let beside = async {
        tokio::join!(follow(&driver), waiting.post(&*cluster, &metrics));
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
    let (cluster, driver, _waiting, _) = moving();
    cluster.kubevirt_is(KubeVirt::Absent);
    let mut migrations = Migrations::default();
    look(&driver, &mut migrations, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(migrations.active(), 0);
}
