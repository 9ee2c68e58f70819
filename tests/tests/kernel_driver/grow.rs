//! Volumes that grow under a pod.

use rds_csi_tests::volume::Claim;
use tokio::join;
use tonic::Code;

use crate::calls::{grow, grow_here};
use crate::cluster::Cluster;
use crate::pod::Pod;

const MIB: i64 = 1 << 20;

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
        let before = pod.size(node, &volume).await;
        for _ in 0..2 {
            assert_eq!(grow(controller, &volume, size).await.unwrap(), size);
        }
        // Twice at once, and once more: whoever comes second is told to come again.
        let here = || grow_here(node.plugin(), &volume, &pod.target, size);
        let (first, second) = join!(here(), here());
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        for told in [first, second] {
            match told {
                Ok(told) => assert!(told > size * 9 / 10 && told <= size, "{told}"),
                Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
            }
        }
        assert!(here().await.unwrap() > size * 9 / 10);
        let after = pod.size(node, &volume).await;
        let grew = before < after && after > size * 8 / 10 && after <= size;
        assert!(grew, "{}: {before} to {after}", volume.claim.name);
        assert_eq!(pod.checksum(node, &volume).await, written);

        pod.stop(controller, node, &volume).await;
        let pod = Pod::start(controller, node, &volume, "pod").await;
        assert_eq!(pod.size(node, &volume).await, after);
        assert_eq!(pod.checksum(node, &volume).await, written);
        pod.stop(controller, node, &volume).await;
        volume.delete(controller).await.unwrap();
    }
    cluster.assert_clean().await;
}
