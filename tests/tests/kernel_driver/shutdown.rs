//! A machine that shuts down while its volumes' device is away.

use rds_csi_tests::plugin::NodeProcess;
use rds_csi_tests::volume::Claim;

use crate::cluster::Cluster;
use crate::pod::Pod;

const MARKER: &str = "/run/nologin";

/// `off` is what -1 reads as.
async fn loss_time(cluster: &Cluster) -> String {
    let script = "cat /sys/class/nvme/nvme*/ctrl_loss_tmo | sort -u";
    cluster.node().script(script).await
}

#[tokio::test]
async fn lost_volumes_hold_up_the_end_of_the_plugin_only() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    let controller = cluster.controller().clone();
    cluster.nodes[0].process.stop().await.unwrap();
    let start = async |cluster: &mut Cluster| {
        let node = &mut cluster.nodes[0];
        let more = ["--shutdown-marker", MARKER];
        let started = NodeProcess::start_with(&node.guest, &node.name, &more).await;
        node.process = started.unwrap();
    };
    start(&mut cluster).await;
    let mut used = Vec::new();
    for claim in [
        Claim::filesystem("shutdown-ext4", 64, "ext4"),
        Claim::filesystem("shutdown-xfs", 320, "xfs"),
        Claim::block("shutdown-block", 64),
    ] {
        let volume = claim.create(&controller).await.unwrap();
        let pod = Pod::start(&controller, cluster.node(), &volume, "pod").await;
        let written = pod.fill(cluster.node(), &volume).await;
        used.push((volume, pod, written));
    }

    // The plugin alone ends, to be replaced.
    cluster.node().process.stop().await.unwrap();
    assert_eq!(loss_time(&cluster).await, "off");
    start(&mut cluster).await;

    // The machine goes down, and the device is away.
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    for (volume, pod, _) in &used {
        let dirty = match volume.claim.filesystem {
            Some(_) => format!("echo more >{}/more", pod.target),
            // Beyond what is compared at the end. Whoever closes the device last waits for it.
            None => format!(
                "dd if=/dev/urandom of={} bs=4096 count=4 seek=4096 conv=notrunc status=none >/dev/null 2>&1 &",
                pod.target
            ),
        };
        cluster.node().script(&dirty).await;
    }
    cluster.node().script(&format!("touch {MARKER}")).await;
    cluster.node().process.stop().await.unwrap();
    assert_eq!(loss_time(&cluster).await, "10");
    for (volume, pod, _) in &used {
        let unmount = match volume.claim.filesystem {
            Some(_) => format!("umount {} {}", pod.target, volume.staging_path()),
            None => format!("blockdev --flushbufs {}", pod.target),
        };
        let ended = cluster.node().guest.run(&["bash", "-c", &unmount]).await;
        // Within the deadline of the call: it would sleep for ever. What could not be written
        // is an error or not, as the filesystem likes.
        ended.unwrap();
    }
    let mounts = "grep -c -e kubernetes.io /proc/self/mountinfo || true";
    assert_eq!(cluster.node().script(mounts).await, "0");

    // It was called off, or the machine is back: the volumes are whole.
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    cluster.nodes[0].guest.reboot().await.unwrap();
    cluster.nodes[0].restart().await;
    for (volume, _, written) in used {
        let pod = Pod::start(&controller, cluster.node(), &volume, "pod").await;
        assert_eq!(pod.checksum(cluster.node(), &volume).await, written);
        pod.stop(&controller, cluster.node(), &volume).await;
        volume.delete(&controller).await.unwrap();
    }
    cluster.assert_clean().await;
}
