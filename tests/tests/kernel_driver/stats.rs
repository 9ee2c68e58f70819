//! Statistics of volumes, of dead ones above all.

use std::time::Duration;

use csi_proto::v1::volume_usage::Unit;
use csi_proto::v1::{NodeGetCapabilitiesRequest, NodeGetVolumeStatsResponse};
use rds_csi_tests::agent::Status as AgentStatus;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use tokio::time::timeout;
use tonic::Code;

use crate::calls::{stage_at_last, stats};
use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

const ANSWER: Duration = Duration::from_secs(5);
const MIB: i64 = 1 << 20;

/// An answer in time, or the test fails.
async fn ask(node: &Node, volume: &Volume, pod: &Pod) -> NodeGetVolumeStatsResponse {
    let answer = timeout(ANSWER, stats(node.plugin(), volume, &pod.target)).await;
    answer.unwrap().unwrap()
}

async fn abnormal(node: &Node, volume: &Volume, pod: &Pod) -> bool {
    let answer = ask(node, volume, pod).await;
    answer.volume_condition.unwrap().abnormal
}

async fn becomes(node: &Node, volume: &Volume, pod: &Pod, wanted: bool) {
    let what = format!("{} is abnormal: {wanted}", volume.claim.name);
    until(&what, DEADLINE, async || {
        Ok((abnormal(node, volume, pod).await == wanted).then_some(()))
    })
    .await
    .unwrap();
}

async fn healthy(node: &Node, volume: &Volume, pod: &Pod) {
    pod.fill(node, volume).await;
    let answer = ask(node, volume, pod).await;
    assert!(!answer.volume_condition.unwrap().abnormal);
    let bytes = answer
        .usage
        .iter()
        .find(|usage| usage.unit() == Unit::Bytes);
    let bytes = bytes.unwrap();
    let size = volume.claim.size;
    if volume.claim.filesystem.is_none() {
        assert_eq!((bytes.total, answer.usage.len()), (size, 1));
        return;
    }
    assert!(
        bytes.total > size * 3 / 4 && bytes.total <= size,
        "{bytes:?}"
    );
    assert!(bytes.used >= 8 * MIB, "{bytes:?}");
    assert!(bytes.available > 0 && bytes.available <= bytes.total - bytes.used);
    let inodes = answer
        .usage
        .iter()
        .find(|usage| usage.unit() == Unit::Inodes);
    let inodes = inodes.unwrap();
    assert!(inodes.used > 0 && inodes.used + inodes.available == inodes.total);
}

/// Calls that no dead volume concerns.
async fn others(node: &Node, dead: &Volume) {
    let request = NodeGetCapabilitiesRequest {};
    let mut client = node.plugin().node();
    client.node_get_capabilities(request).await.unwrap();
    let mut unknown = dead.clone();
    unknown.volume.volume_id = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    unknown.unstage(node.plugin()).await.unwrap();
}

#[tokio::test]
async fn statistics_of_dead_volumes_are_told_in_time_and_hold_up_nobody() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    let mut volumes = Vec::new();
    for claim in [
        Claim::filesystem("stats-ext4", 64, "ext4"),
        Claim::filesystem("stats-xfs", 320, "xfs"),
        Claim::block("stats-block", 64),
        Claim::filesystem("stats-gone", 64, "ext4"),
    ] {
        let volume = claim.create(controller).await.unwrap();
        let pod = Pod::start(controller, node, &volume, "pod").await;
        healthy(node, &volume, &pod).await;
        volumes.push((volume, pod));
    }
    let (gone, gone_pod) = volumes.pop().unwrap();
    let kept = gone_pod.checksum(node, &gone).await;
    let absent = stats(node.plugin(), &gone, "/var/lib/kubelet/nowhere").await;
    assert_eq!(absent.unwrap_err().code(), Code::NotFound);

    // One volume's export goes: the others do not notice.
    cluster.export(&gone, false).await;
    becomes(node, &gone, &gone_pod, true).await;
    for (volume, pod) in &volumes {
        assert!(!abnormal(node, volume, pod).await);
        pod.fill(node, volume).await;
    }

    // The link goes, with a write under way.
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    let script = format!(
        "dd if=/dev/zero of={}/more bs=1M count=4 conv=fsync",
        volumes[0].1.target
    );
    let argv = ["bash", "-c", &script];
    let writer = node.guest.spawn("writer", &argv, &[]).await.unwrap();
    for (volume, pod) in &volumes {
        becomes(node, volume, pod, true).await;
    }
    timeout(ANSWER, others(node, &gone)).await.unwrap();

    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    for (volume, pod) in &volumes {
        becomes(node, volume, pod, false).await;
    }
    let ended = writer.wait(DEADLINE).await.unwrap();
    assert_eq!(ended, Some(AgentStatus::Exited(0)), "{}", writer.output());

    // The volume whose session the kernel gave up is back after a new staging.
    cluster.export(&gone, true).await;
    gone.unpublish(node.plugin(), "pod").await.unwrap();
    gone.unstage(node.plugin()).await.unwrap();
    stage_at_last(node.plugin(), &gone, &gone_pod.context).await;
    let gone_pod = Pod::publish(node, &gone, gone_pod.context, "pod").await;
    assert_eq!(gone_pod.checksum(node, &gone).await, kept);
    volumes.push((gone, gone_pod));
    for (volume, pod) in &volumes {
        pod.stop(controller, node, volume).await;
        volume.delete(controller).await.unwrap();
    }
    cluster.assert_clean().await;
}
