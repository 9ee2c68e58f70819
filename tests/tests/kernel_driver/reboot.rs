//! A node that loses power with volumes published.

use rds_csi_tests::plugin::Plugin;
use rds_csi_tests::volume::{Claim, Volume};

use crate::cluster::{Cluster, Node};
use crate::pod::Pod;

/// Boots the node again with what its disk would still have in a real one: directories,
/// and device nodes whose numbers mean nothing any more.
async fn reboot(node: &mut Node, volumes: &[(Volume, Pod)]) {
    node.guest.reboot().await.unwrap();
    for (volume, pod) in volumes {
        let left = match volume.claim.filesystem {
            Some(_) => format!("mkdir -p {} {}", volume.staging_path(), pod.target),
            None => format!("mkdir -p $(dirname {0}); mknod {0} b 259 77", pod.target),
        };
        node.script(&left).await;
    }
    node.restart().await;
}

#[tokio::test]
async fn a_node_that_lost_power_has_its_volumes_again_or_lets_them_go() {
    let mut cluster = Cluster::boot_pair(&[]).await;
    let controller = cluster.controller.plugin().clone();
    for node in &mut cluster.nodes {
        loses_power(&controller, node).await;
    }
    cluster.assert_clean().await;
}

async fn loses_power(controller: &Plugin, node: &mut Node) {
    let mut volumes = Vec::new();
    let mut sums = Vec::new();
    for claim in [
        Claim::filesystem("reboot-ext4", 64, "ext4"),
        Claim::filesystem("reboot-xfs", 320, "xfs"),
        Claim::block("reboot-block", 64),
    ] {
        let volume = claim.create(controller).await.unwrap();
        let pod = Pod::start(controller, node, &volume, "pod").await;
        sums.push(pod.fill(node, &volume).await);
        volumes.push((volume, pod));
    }
    reboot(node, &volumes).await;
    for ((volume, pod), written) in volumes.iter_mut().zip(&sums) {
        volume.stage(node.plugin(), &pod.context).await.unwrap();
        *pod = Pod::publish(node, volume, pod.context.clone(), "pod").await;
        assert_eq!(pod.checksum(node, volume).await, *written);
    }
    reboot(node, &volumes).await;
    for (volume, pod) in &volumes {
        pod.stop(controller, node, volume).await;
    }
    node.assert_clean().await;
    for ((volume, _), written) in volumes.iter().zip(&sums) {
        let pod = Pod::start(controller, node, volume, "pod").await;
        assert_eq!(pod.checksum(node, volume).await, *written);
        pod.stop(controller, node, volume).await;
        volume.delete(controller).await.unwrap();
    }
    assert_eq!(node.formats().await, 0);
}
