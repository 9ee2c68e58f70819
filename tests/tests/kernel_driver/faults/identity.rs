//! What is served under a volume's NQN and is not the volume: nobody gets it.

use std::time::Duration;

use rds_csi_core::names::parameter::RECONNECT_DELAY;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use super::device::is_normal;
use crate::calls::{stage_at_last, stats};
use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

/// Long enough for the kernel's attempts and for those of the engine.
const ATTEMPTS: Duration = Duration::from_secs(15);

/// A volume at a pod, and the checksum of what the pod wrote.
type Used = (Volume, Pod, String);

async fn used(cluster: &Cluster) -> Vec<Used> {
    let mut used = Vec::new();
    for claim in [
        Claim::filesystem("identity-ext4", 64, "ext4"),
        Claim::filesystem("identity-xfs", 320, "xfs"),
        Claim::block("identity-block", 64),
    ] {
        let claim = claim.parameter(RECONNECT_DELAY, "1");
        let volume = claim.create(cluster.controller()).await.unwrap();
        let pod = Pod::start(cluster.controller(), cluster.node(), &volume, "pod").await;
        let sum = pod.fill(cluster.node(), &volume).await;
        used.push((volume, pod, sum));
    }
    used
}

/// Asserts that for a while nobody is told that a volume is well, and that nothing is
/// written to what is served in its place.
async fn assert_not_handed_back(cluster: &Cluster, used: &[Used]) {
    let mut sums = Vec::new();
    for (volume, ..) in used {
        sums.push(cluster.backing_sum(volume).await);
    }
    tokio::time::sleep(ATTEMPTS).await;
    for ((volume, pod, _), sum) in used.iter().zip(&sums) {
        let report = stats(cluster.node().plugin(), volume, &pod.target).await;
        if let Ok(report) = report {
            let condition = report.volume_condition.unwrap();
            assert!(condition.abnormal, "{}: {condition:?}", volume.claim.name);
        }
        assert_eq!(cluster.backing_sum(volume).await, *sum);
    }
}

/// Whether the volume's content is served as another namespace, nothing tells that it is
/// the volume: it is not used until the volume is staged anew.
#[tokio::test]
async fn a_namespace_of_another_identity_is_not_handed_back() {
    let mut cluster = Cluster::boot_on(&["namespace-ids=changing"], &["node-a"], true).await;
    let used = used(&cluster).await;
    cluster.appliance.power_off().unwrap();
    cluster.appliance.power_on().await.unwrap();
    assert_not_handed_back(&cluster, &used).await;
    // A pod that is made anew has its data.
    for (volume, pod, written) in &used {
        let (controller, node) = (cluster.controller(), cluster.node());
        // As kubelet does: again, where the engine is at work on the volume.
        until("the volume is taken down", DEADLINE, async || {
            let unpublished = volume.unpublish(node.plugin(), "pod").await.is_ok();
            let gone = unpublished && volume.unstage(node.plugin()).await.is_ok();
            Ok(gone.then_some(()))
        })
        .await
        .unwrap();
        stage_at_last(node.plugin(), volume, &pod.context).await;
        let pod = Pod::publish(node, volume, pod.context.clone(), "pod").await;
        assert_eq!(pod.checksum(node, volume).await, *written);
        pod.stop(controller, node, volume).await;
        volume.delete(controller).await.unwrap();
    }
    assert_eq!(cluster.node().formats().await, 2);
    cluster.assert_clean().await;
}

/// A file that was replaced by a shorter one, under the same identity: what is beyond its
/// end is lost, and a filesystem on it would find that out by and by.
#[tokio::test]
async fn a_smaller_namespace_is_not_handed_back_until_it_is_whole() {
    let cluster = Cluster::boot(&["node-a"]).await;
    // While it is exported the port is open, and whoever asks for another volume is told
    // not to retry.
    let anchor = Claim::block("anchor", 4).create(cluster.controller()).await;
    let anchor = anchor.unwrap();
    let used = used(&cluster).await;
    let appliance = cluster.appliance.guest();
    export_all(&cluster, &used, false).await;
    cluster.node().await_controllers(0).await;
    for (volume, ..) in &used {
        let file = cluster.backing_file(volume).await;
        let cut = format!("cp {file} {file}.whole; truncate -s -16M {file}");
        appliance.script(&cut).await.unwrap();
    }
    export_all(&cluster, &used, true).await;
    assert_not_handed_back(&cluster, &used).await;

    export_all(&cluster, &used, false).await;
    for (volume, ..) in &used {
        let file = cluster.backing_file(volume).await;
        let mend = format!("cat {file}.whole >{file}; rm {file}.whole");
        appliance.script(&mend).await.unwrap();
    }
    export_all(&cluster, &used, true).await;
    for (volume, pod, written) in &used {
        is_normal(&cluster, volume, pod).await;
        assert_eq!(pod.checksum(cluster.node(), volume).await, *written);
        pod.stop(cluster.controller(), cluster.node(), volume).await;
        volume.delete(cluster.controller()).await.unwrap();
    }
    anchor.delete(cluster.controller()).await.unwrap();
    assert_eq!(cluster.node().formats().await, 2);
    cluster.assert_clean().await;
}

async fn export_all(cluster: &Cluster, used: &[Used], on: bool) {
    for (volume, ..) in used {
        cluster.export(volume, on).await;
    }
}
