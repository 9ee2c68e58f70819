//! A volume that moves to and fro.

use rds_csi_tests::volume::Claim;

use crate::cluster::Cluster;
use crate::pod::Pod;

#[tokio::test]
async fn twenty_moves_between_two_nodes_keep_the_data_and_leave_nothing() {
    let cluster = Cluster::boot(&["node-a", "node-b"]).await;
    let claim = Claim::filesystem("moving", 64, "ext4");
    let volume = claim.create(cluster.controller()).await.unwrap();
    let mut written = None;
    for node in cluster.nodes.iter().cycle().take(20) {
        let pod = Pod::start(cluster.controller(), node, &volume, "pod").await;
        if let Some(written) = &written {
            assert_eq!(pod.checksum(node, &volume).await, *written);
        }
        written = Some(pod.fill(node, &volume).await);
        pod.stop(cluster.controller(), node, &volume).await;
    }
    let formats = cluster.nodes[0].formats().await + cluster.nodes[1].formats().await;
    assert_eq!(formats, 1);
    volume.delete(cluster.controller()).await.unwrap();
    cluster.assert_clean().await;
}
