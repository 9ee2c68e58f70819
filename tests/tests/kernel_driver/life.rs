//! A volume's life on two nodes, every call made twice.

use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::volume::{Claim, Volume};

use crate::cluster::{Cluster, Node};
use crate::pod::Pod;

fn claims() -> [Claim; 3] {
    [
        Claim::filesystem("life-ext4", 96, "ext4"),
        Claim::filesystem("life-xfs", 320, "xfs"),
        Claim::block("life-block", 64),
    ]
}

async fn start_twice(cluster: &Cluster, node: &Node, volume: &Volume) -> Pod {
    let controller = cluster.controller();
    let context = volume.attach(controller, &node.name).await.unwrap();
    let again = volume.attach(controller, &node.name).await.unwrap();
    assert_eq!(again, context);
    for _ in 0..2 {
        volume.stage(node.plugin(), &context).await.unwrap();
    }
    let first = Pod::publish(node, volume, context.clone(), "pod").await;
    let second = Pod::publish(node, volume, context, "pod").await;
    assert_eq!(first.target, second.target);
    let mounts = format!(
        "grep -c -F ' {} ' /proc/self/mountinfo || true",
        first.target
    );
    let expected = if volume.claim.filesystem.is_some() {
        "1"
    } else {
        "0"
    };
    assert_eq!(node.script(&mounts).await, expected);
    first
}

async fn stop_twice(cluster: &Cluster, node: &Node, volume: &Volume) {
    for _ in 0..2 {
        volume.unpublish(node.plugin(), "pod").await.unwrap();
    }
    for _ in 0..2 {
        volume.unstage(node.plugin()).await.unwrap();
    }
    for _ in 0..2 {
        let detached = volume.detach(cluster.controller(), &node.name).await;
        detached.unwrap();
    }
    node.assert_clean().await;
}

/// The UUID that the appliance finds in the volume's file is the volume's own.
async fn assert_uuid(cluster: &Cluster, volume: &Volume) {
    let id: VolumeId = volume.id().parse().unwrap();
    let file = cluster.backing_file(volume).await;
    let script = format!("blkid -p -s UUID -o value {file}");
    let found = cluster.appliance.guest().script(&script).await.unwrap();
    assert_eq!(found.trim(), id.filesystem_uuid().to_string());
}

async fn life(multipath: bool) {
    let cluster = Cluster::boot_with(&["node-a", "node-b"], multipath).await;
    let [first, second] = &cluster.nodes[..] else {
        panic!("two nodes were booted");
    };
    let mut formatted = 0;
    for claim in claims() {
        let volume = claim.clone().create(cluster.controller()).await.unwrap();
        let again = claim.create(cluster.controller()).await.unwrap();
        assert_eq!(again.volume, volume.volume);
        let pod = start_twice(&cluster, first, &volume).await;
        let written = pod.fill(first, &volume).await;
        if volume.claim.filesystem.is_some() {
            formatted += 1;
            assert_uuid(&cluster, &volume).await;
        }
        stop_twice(&cluster, first, &volume).await;

        let pod = start_twice(&cluster, second, &volume).await;
        assert_eq!(pod.checksum(second, &volume).await, written);
        assert_eq!(first.formats().await, formatted);
        assert_eq!(second.formats().await, 0);
        stop_twice(&cluster, second, &volume).await;
        for _ in 0..2 {
            volume.delete(cluster.controller()).await.unwrap();
        }
    }
    cluster.assert_clean().await;
}

#[tokio::test]
async fn volumes_live_on_two_nodes_with_multipath() {
    life(true).await;
}

#[tokio::test]
async fn volumes_live_on_two_nodes_without_multipath() {
    life(false).await;
}
