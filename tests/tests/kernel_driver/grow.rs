//! Volumes that grow under a pod.

use rds_csi_tests::volume::{Claim, Volume};

use crate::calls::{grow, grow_here};
use crate::cluster::{Cluster, Node};
use crate::pod::Pod;

const MIB: i64 = 1 << 20;

/// The size that a pod sees, in bytes.
async fn measured(node: &Node, volume: &Volume, pod: &Pod) -> i64 {
    let script = match volume.claim.filesystem {
        Some(_) => format!("df -B1 --output=size {} | tail -1", pod.target),
        None => format!("blockdev --getsize64 {}", pod.target),
    };
    node.script(&script).await.parse().unwrap()
}

#[tokio::test]
async fn volumes_grow_under_a_pod_and_keep_its_data() {
    volumes_grow("resize-notice=rescan").await;
}

/// The kernel may have read the new size before the plugin asks it to.
#[tokio::test]
async fn volumes_grow_on_a_device_that_announces_it() {
    volumes_grow("resize-notice=event").await;
}

async fn volumes_grow(switch: &str) {
    let cluster = Cluster::boot_on(&[switch], &["node-a"], true).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    for (claim, size) in [
        (Claim::filesystem("grow-ext4", 64, "ext4"), 256 * MIB),
        (Claim::filesystem("grow-xfs", 320, "xfs"), 512 * MIB),
        (Claim::block("grow-block", 64), 128 * MIB),
    ] {
        let volume = claim.create(controller).await.unwrap();
        let pod = Pod::start(controller, node, &volume, "pod").await;
        let written = pod.fill(node, &volume).await;
        let before = measured(node, &volume, &pod).await;
        for _ in 0..2 {
            assert_eq!(grow(controller, &volume, size).await.unwrap(), size);
        }
        for _ in 0..2 {
            let told = grow_here(node.plugin(), &volume, &pod.target, size).await;
            let told = told.unwrap();
            assert!(told > size * 9 / 10 && told <= size, "{told}");
        }
        let after = measured(node, &volume, &pod).await;
        let grew = before < after && after > size * 8 / 10 && after <= size;
        assert!(grew, "{}: {before} to {after}", volume.claim.name);
        assert_eq!(pod.checksum(node, &volume).await, written);

        pod.stop(controller, node, &volume).await;
        let pod = Pod::start(controller, node, &volume, "pod").await;
        assert_eq!(measured(node, &volume, &pod).await, after);
        assert_eq!(pod.checksum(node, &volume).await, written);
        pod.stop(controller, node, &volume).await;
        volume.delete(controller).await.unwrap();
    }
    cluster.assert_clean().await;
}
