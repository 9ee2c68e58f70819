//! What the page cache holds of a raw volume, and whose a device's number is.

use std::time::Duration;

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_tests::agent::Status;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

const PROBE: &str = "bs=1M count=8 conv=notrunc status=none";

/// A program that writes through the page cache, does not sync, and ends.
async fn write(node: &Node, pod: &Pod) -> String {
    let script = format!(
        "dd if=/dev/urandom of=/run/probe {PROBE}
         dd if=/run/probe of={} {PROBE}
         cksum </run/probe",
        pod.target
    );
    node.script(&script).await
}

/// What a program sees that reads through the page cache, as most do.
async fn read(node: &Node, pod: &Pod) -> String {
    let script = format!("dd if={} {PROBE} | cksum", pod.target);
    node.script(&script).await
}

#[tokio::test]
async fn what_a_pod_left_in_the_cache_neither_hides_from_the_other_node_nor_outlives_it() {
    let cluster = Cluster::boot(&["node-a", "node-b"]).await;
    let controller = cluster.controller();
    let claim = Claim::block("shared", 64).mode(Mode::MultiNodeMultiWriter);
    let volume = claim.create(controller).await.unwrap();
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let ours = Pod::start(controller, first, &volume, "pod-a").await;
    let theirs = Pod::start(controller, second, &volume, "pod-b").await;
    for _ in 0..2 {
        for (writer, pod, reader, other) in [
            (first, &ours, second, &theirs),
            (second, &theirs, first, &ours),
        ] {
            let written = write(writer, pod).await;
            assert_eq!(read(reader, other).await, written, "{}", reader.name);
        }
    }
    ours.stop(controller, first, &volume).await;
    theirs.stop(controller, second, &volume).await;
    volume.delete(controller).await.unwrap();
    cluster.assert_clean().await;
}

#[tokio::test]
async fn a_plugin_ends_whatever_is_cached_of_a_device_that_is_away() {
    for multipath in [true, false] {
        let mut cluster = Cluster::boot_with(&["node-a"], multipath).await;
        let controller = cluster.controller.plugin().clone();
        let claim = Claim::block("cached", 64);
        let volume = claim.create(&controller).await.unwrap();
        let pod = Pod::start(&controller, cluster.node(), &volume, "pod").await;
        let make = format!("dd if=/dev/urandom of=/run/probe {PROBE}; cksum </run/probe");
        let written = cluster.node().script(&make).await;

        cluster.lab.cut(cluster.appliance.guest()).unwrap();
        let script = format!("dd if=/run/probe of={} {PROBE}", pod.target);
        let words = ["bash", "-c", &script];
        let node = cluster.node();
        let writer = node.guest.spawn("writer", &words, &[]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let node = &mut cluster.nodes[0];
        let ended = node.process.kill().await.unwrap();
        assert!(ended.is_some(), "the plugin waits for the device");
        node.restart().await;

        cluster.lab.restore(cluster.appliance.guest()).unwrap();
        let node = cluster.node();
        let ended = writer.wait(DEADLINE).await.unwrap();
        assert_eq!(ended, Some(Status::Exited(0)));
        assert_eq!(pod.checksum(node, &volume).await, written);
        pod.stop(&controller, node, &volume).await;
        volume.delete(&controller).await.unwrap();
        cluster.assert_clean().await;
    }
}

const HOST: (&str, &str) = (
    "nqn.2014-08.org.nvmexpress:uuid:0a4f7c52-8ad4-4f0e-9a6e-0d8a6b0a7f11",
    "0a4f7c52-8ad4-4f0e-9a6e-0d8a6b0a7f11",
);
const END_ALL: &str = "for c in /sys/class/nvme/nvme*; do echo 1 >$c/delete_controller; done";

fn nqn(volume: &Volume) -> &str {
    &volume.volume.volume_context["nqn"]
}

/// The number of the device of a subsystem.
async fn number(node: &Node, nqn: &str) -> String {
    let script = format!(
        "for d in /sys/block/nvme*; do
           [ ! -e $d/dev ] || [ \"$(cat $d/device/subsysnqn)\" != {nqn} ] || cat $d/dev
         done"
    );
    until("the device is there", DEADLINE, async || {
        let found = node.script(&script).await;
        Ok((!found.is_empty()).then_some(found))
    })
    .await
    .unwrap()
}

/// The numbers of a device that goes and of the next one, which somebody else connects.
async fn numbers(cluster: &Cluster, gone: &str, next: &str) -> (String, String) {
    let node = cluster.node();
    let before = number(node, gone).await;
    // The kernel frees a number a moment after its device.
    node.script(&format!("{END_ALL}; sleep 0.5")).await;
    cluster.connect_by_hand(&node.guest, next, HOST).await;
    (before, number(node, next).await)
}

#[tokio::test]
async fn the_number_of_a_published_device_is_given_to_no_other() {
    for multipath in [true, false] {
        let cluster = Cluster::boot_with(&["node-a"], multipath).await;
        let (controller, node) = (cluster.controller(), cluster.node());
        let ours = Claim::block("ours", 64).create(controller).await.unwrap();
        let other = Claim::block("other", 64).create(controller).await.unwrap();
        other.attach(controller, &node.name).await.unwrap();
        Pod::start(controller, node, &ours, "pod").await;
        // Whoever comes is not noticed.
        let plugin = node.process.process();
        plugin.signal("STOP").await.unwrap();
        let (published, next) = numbers(&cluster, nqn(&ours), nqn(&other)).await;
        assert_ne!(next, published, "multipath {multipath}");
        plugin.signal("CONT").await.unwrap();

        ours.unpublish(node.plugin(), "pod").await.unwrap();
        until("the volume is unstaged", DEADLINE, async || {
            Ok(ours.unstage(node.plugin()).await.ok())
        })
        .await
        .unwrap();
        node.script(END_ALL).await;
        node.await_controllers(0).await;
        // What nobody keeps is given away.
        cluster.connect_by_hand(&node.guest, nqn(&ours), HOST).await;
        let (free, next) = numbers(&cluster, nqn(&ours), nqn(&other)).await;
        assert_eq!(next, free, "multipath {multipath}");
        node.script(END_ALL).await;
        node.await_controllers(0).await;
        for volume in [&ours, &other] {
            volume.detach(controller, &node.name).await.unwrap();
            volume.delete(controller).await.unwrap();
        }
        cluster.assert_clean().await;
    }
}
