//! What becomes of writes that wait for a session which is given up.

use rds_csi_tests::agent::Status;
use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

/// The engine takes the loss time from a session whose volume was taken from the node; this
/// is what the kernel makes of that.
#[tokio::test]
async fn what_waits_for_a_session_without_loss_time_fails_and_is_never_written() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    let volume = Claim::block("taken", 64).create(controller).await.unwrap();
    let pod = Pod::start(controller, node, &volume, "pod").await;
    pod.fill(node, &volume).await;
    let before = cluster.backing_sum(&volume).await;

    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    let script = format!(
        "dd if=/dev/urandom of={} bs=1M count=4 conv=notrunc,fsync",
        pod.target
    );
    let argv = ["bash", "-c", &script];
    let writer = node.guest.spawn("writer", &argv, &[]).await.unwrap();
    until("the session is connecting", DEADLINE, async || {
        let states = node.script("cat /sys/class/nvme/nvme*/state").await;
        Ok((states == "connecting").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(writer.status().await.unwrap(), None, "it waits");
    node.script("echo 0 > /sys/class/nvme/nvme*/ctrl_loss_tmo")
        .await;
    node.await_controllers(0).await;
    let ended = writer.wait(DEADLINE).await.unwrap();
    assert_eq!(ended, Some(Status::Exited(1)), "{}", writer.output());

    // Connected anew by the engine, which nobody tells otherwise here.
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    node.await_controllers(1).await;
    pod.stop(controller, node, &volume).await;
    assert_eq!(cluster.backing_sum(&volume).await, before);
    volume.delete(controller).await.unwrap();
    cluster.assert_clean().await;
}
