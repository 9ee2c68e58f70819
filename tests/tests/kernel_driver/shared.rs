//! A block volume on two nodes at once, as a live migration has it.

use std::time::Duration;

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_tests::volume::Claim;
use tonic::Code;

use crate::cluster::Cluster;
use crate::pod::Pod;

/// Long enough for the keep-alive to run out.
const OUTAGE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn two_nodes_share_a_block_volume_and_a_third_is_refused() {
    share(true).await;
}

#[tokio::test]
async fn two_nodes_without_multipath_share_a_block_volume() {
    share(false).await;
}

async fn share(multipath: bool) {
    let cluster = Cluster::boot_with(&["node-a", "node-b"], multipath).await;
    let controller = cluster.controller();
    let claim = Claim::block("shared", 64).mode(Mode::MultiNodeMultiWriter);
    let volume = claim.create(controller).await.unwrap();
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let ours = Pod::start(controller, first, &volume, "pod-a").await;
    let theirs = Pod::start(controller, second, &volume, "pod-b").await;

    let refused = volume.attach(controller, "node-c").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("node-a"), "{refused:?}");

    // Each writes a region of its own and has the other's in view, before and after an outage.
    let region = |pod: &Pod, skip| {
        format!(
            "dd if={} bs=1M count=4 skip={skip} iflag=direct status=none | cksum",
            pod.target
        )
    };
    for round in 0..2 {
        if round == 1 {
            // Both lose the device and have it again, each by its own session.
            cluster.lab.cut(cluster.appliance.guest()).unwrap();
            tokio::time::sleep(OUTAGE).await;
            cluster.lab.restore(cluster.appliance.guest()).unwrap();
        }
        for (writer, pod, reader, other, place) in [
            (first, &ours, second, &theirs, 0),
            (second, &theirs, first, &ours, 32),
        ] {
            let script = format!(
                "dd if=/dev/urandom of=/run/probe bs=1M count=4 status=none
                 dd if=/run/probe of={} bs=1M seek={place} oflag=direct conv=notrunc status=none
                 cksum </run/probe",
                pod.target
            );
            let written = writer.script(&script).await;
            assert_eq!(reader.script(&region(other, place)).await, written);
            assert_eq!(writer.script(&region(pod, place)).await, written);
        }
    }
    ours.stop(controller, first, &volume).await;
    let region = second.script(&region(&theirs, 0)).await;
    assert!(!region.is_empty());
    theirs.stop(controller, second, &volume).await;
    volume.delete(controller).await.unwrap();
    cluster.assert_clean().await;
}
