//! A node that is idle.

use std::time::Duration;

use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

/// A session is proved unused by looks that are a minute apart. Meanwhile the engine looks
/// at the sessions of staged volumes some forty times, and has nothing to say.
#[tokio::test]
async fn a_session_that_nothing_uses_is_told_of_once_and_looks_are_not() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    let used = Claim::filesystem("used", 64, "ext4").create(controller);
    let used = used.await.unwrap();
    let pod = Pod::start(controller, node, &used, "pod").await;
    let unused = Claim::block("unused", 16).create(controller).await.unwrap();
    unused.attach(controller, &node.name).await.unwrap();
    let nqn = &unused.volume.volume_context["nqn"];
    let host = node.script("cat /sys/class/nvme/nvme0/hostnqn").await;
    let id = node.script("cat /sys/class/nvme/nvme0/hostid").await;
    let before = node.process.output().lines().count();
    cluster
        .connect_by_hand(&node.guest, nqn, (&host, &id))
        .await;
    until("the session is told of", 3 * DEADLINE, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let page = node.metrics().await;
        let counted = page
            .lines()
            .any(|line| line.trim_end() == "rds_csi_nvme_sessions_unused 1");
        Ok(counted.then_some(()))
    })
    .await
    .unwrap();
    let log = node.process.output();
    let lines: Vec<&str> = log.lines().skip(before).collect();
    let told = |line: &&str| line.contains("nothing here uses it") && line.contains(nqn);
    assert!(lines.len() == 1 && lines.iter().all(told), "{lines:#?}");
    // It is left alone until somebody unstages the volume.
    assert_eq!(node.sessions(nqn).await, "live");
    unused.unstage(node.plugin()).await.unwrap();
    assert_eq!(node.sessions(nqn).await, "");
    unused.detach(controller, &node.name).await.unwrap();
    unused.delete(controller).await.unwrap();
    pod.stop(controller, node, &used).await;
    used.delete(controller).await.unwrap();
    cluster.assert_clean().await;
}
