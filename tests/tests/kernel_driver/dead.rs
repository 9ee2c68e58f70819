//! Filesystems that die while their device lives, or comes back as it was.

use std::time::Duration;

use rds_csi_core::names::parameter::{FAST_IO_FAIL_TMO, RECONNECT_DELAY};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::calls::{stage_at_last, stats};
use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

/// What kubelet is told of the volume; nothing where it is well.
async fn illness(node: &Node, volume: &Volume, path: &str) -> Option<String> {
    let answer = stats(node.plugin(), volume, path).await.unwrap();
    let condition = answer.volume_condition.unwrap();
    condition.abnormal.then_some(condition.message)
}

async fn is_told_dead(node: &Node, volume: &Volume, pod: &Pod) {
    let what = format!("{} is told to be dead", volume.claim.name);
    until(&what, DEADLINE, async || {
        let told = illness(node, volume, &pod.target).await;
        Ok(told.filter(|words| words.contains("has shut down")))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_filesystem_that_died_in_an_outage_is_told_of_and_lives_again_once_it_is_mounted_anew() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    let short = Claim::filesystem("dead-ext4", 64, "ext4")
        .parameter(FAST_IO_FAIL_TMO, "2")
        .parameter(RECONNECT_DELAY, "2");
    let mut volumes = Vec::new();
    for claim in [
        short,
        Claim::filesystem("dead-xfs", 320, "xfs"),
        Claim::filesystem("well-ext4", 64, "ext4"),
        Claim::filesystem("well-xfs", 320, "xfs"),
    ] {
        let volume = claim.create(controller).await.unwrap();
        let pod = Pod::start(controller, node, &volume, "pod").await;
        let kept = pod.fill(node, &volume).await;
        assert_eq!(illness(node, &volume, &pod.target).await, None);
        volumes.push((volume, pod, kept));
    }
    let [(ext4, ext4_pod, _), (xfs, xfs_pod, _), ..] = &volumes[..] else {
        panic!("four volumes were made");
    };

    // Longer away than its I/O waits, with a writer that makes the journal fail.
    let script = format!(
        "while [ ! -e /run/stop ]; do date | dd of={}/records oflag=append conv=notrunc,fsync status=none || true; done",
        ext4_pod.target
    );
    let argv = ["bash", "-c", &script];
    let writer = node.guest.spawn("writer", &argv, &[]).await.unwrap();
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    is_told_dead(node, ext4, ext4_pod).await;
    node.script("touch /run/stop").await;
    writer.wait(DEADLINE).await.unwrap();

    // As its own journal would after an error.
    let script = format!("xfs_io -x -c shutdown {}", xfs_pod.target);
    node.script(&script).await;
    is_told_dead(node, xfs, xfs_pod).await;

    for (volume, pod, _) in &volumes[2..] {
        let what = format!("{} is well", volume.claim.name);
        until(&what, DEADLINE, async || {
            let told = illness(node, volume, &pod.target).await;
            Ok(told.is_none().then_some(()))
        })
        .await
        .unwrap();
    }
    for (volume, pod, kept) in volumes {
        volume.unpublish(node.plugin(), "pod").await.unwrap();
        volume.unstage(node.plugin()).await.unwrap();
        stage_at_last(node.plugin(), &volume, &pod.context).await;
        let pod = Pod::publish(node, &volume, pod.context, "pod").await;
        assert_eq!(illness(node, &volume, &pod.target).await, None);
        assert_eq!(pod.checksum(node, &volume).await, kept);
        pod.stop(controller, node, &volume).await;
        volume.delete(controller).await.unwrap();
    }
    cluster.assert_clean().await;
}
