//! A volume that moves to and fro.

use rds_csi_tests::volume::Claim;

use crate::cluster::Cluster;
use crate::pod::Pod;

/// One node's kernel has native multipath and the other's has not.
#[tokio::test]
async fn fifty_moves_between_two_nodes_keep_the_data_and_leave_nothing() {
    let cluster = Cluster::boot_pair(&[]).await;
    let mut volumes = Vec::new();
    for claim in [
        Claim::filesystem("moving-ext4", 64, "ext4"),
        Claim::filesystem("moving-xfs", 320, "xfs"),
        Claim::block("moving-block", 64),
    ] {
        let volume = claim.create(cluster.controller()).await.unwrap();
        volumes.push((volume, None));
    }
    for round in 0..50 {
        // Each volume comes to each node in turn.
        let node = &cluster.nodes[round % 2];
        let (volume, written) = &mut volumes[round % 3];
        let pod = Pod::start(cluster.controller(), node, volume, "pod").await;
        if let Some(written) = written {
            assert_eq!(pod.checksum(node, volume).await, *written);
        }
        *written = Some(pod.fill(node, volume).await);
        pod.stop(cluster.controller(), node, volume).await;
    }
    let formats = cluster.nodes[0].formats().await + cluster.nodes[1].formats().await;
    assert_eq!(formats, 2);
    for (volume, _) in volumes {
        volume.delete(cluster.controller()).await.unwrap();
    }
    cluster.assert_clean().await;
}

#[tokio::test]
async fn what_a_pod_wrote_to_a_raw_device_without_a_sync_is_there_on_the_next_node() {
    let cluster = Cluster::boot(&["node-a", "node-b"]).await;
    let claim = Claim::block("unsynced", 64);
    let volume = claim.create(cluster.controller()).await.unwrap();
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let pod = Pod::start(cluster.controller(), first, &volume, "pod").await;
    let script = format!(
        "dd if=/dev/urandom of=/run/probe bs=1M count=32 status=none
         dd if=/run/probe of={} bs=1M conv=notrunc status=none
         cksum </run/probe",
        pod.target
    );
    let written = first.script(&script).await;
    pod.stop(cluster.controller(), first, &volume).await;
    let pod = Pod::start(cluster.controller(), second, &volume, "pod").await;
    let read = format!(
        "dd if={} bs=1M count=32 iflag=direct status=none | cksum",
        pod.target
    );
    assert_eq!(second.script(&read).await, written);
    pod.stop(cluster.controller(), second, &volume).await;
    volume.delete(cluster.controller()).await.unwrap();
    cluster.assert_clean().await;
}
