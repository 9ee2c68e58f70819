//! Volumes in use in every way while their sessions end: files that are open, directories
//! that somebody stands in, several targets, and those that may only be read.

use rds_csi_core::names::parameter::CTRL_LOSS_TMO;
use rds_csi_tests::guest::Process;
use rds_csi_tests::wait::until;

use super::device::claims;
use super::table::Table;
use super::writer::Writer;
use crate::cluster::{Cluster, DEADLINE};

/// Holds what a pod has, as a container does that nobody restarts.
async fn hold(cluster: &Cluster, writer: &Writer) -> Process {
    let target = writer.target();
    let script = match writer.volume.claim.filesystem {
        Some(_) => format!("cd {target}; exec 9<records; sleep 1000"),
        None => format!("exec 9<{target}; sleep 1000"),
    };
    let name = format!("holder-{}", writer.name());
    let argv = ["bash", "-c", &script];
    let guest = &writer.on(cluster).guest;
    guest.spawn(&name, &argv, &[]).await.unwrap()
}

/// A directory of the volume, bound as kubelet does for a subPath.
async fn bind(cluster: &Cluster, writer: &Writer) -> Option<String> {
    writer.volume.claim.filesystem.as_ref()?;
    let place = format!(
        "/var/lib/kubelet/pods/pod/volume-subpaths/{}/c/0",
        writer.name()
    );
    let script = format!(
        "mkdir -p {place} {target}/sub; mount --bind {target}/sub {place}",
        target = writer.target()
    );
    writer.on(cluster).script(&script).await;
    Some(place)
}

/// The other targets of a volume: one to write, and one to read where there may be one
/// beside it.
async fn publish(cluster: &Cluster, writer: &Writer) -> Vec<String> {
    let (node, context) = (writer.on(cluster).plugin(), &writer.pod.context);
    let second = writer.volume.publish(node, context, "second", false).await;
    let mut targets = vec![second.unwrap()];
    if writer.volume.claim.filesystem.is_some() {
        let reader = writer.volume.publish(node, context, "reader", true).await;
        targets.push(reader.unwrap());
    }
    targets
}

/// The other targets have the device of the first and show what it shows; the second can be
/// written, and the reader's refuses that.
async fn assert_recovered(cluster: &Cluster, writer: &Writer, targets: &[String]) {
    let (node, name) = (writer.on(cluster), writer.name());
    let all = format!("{} {}", writer.target(), targets.join(" "));
    let (number, compare) = match writer.volume.claim.filesystem {
        Some(_) => ("findmnt -no MAJ:MIN $t", "if=$t/records"),
        None => ("stat -c %t:%T $t", "if=$t"),
    };
    let script = format!("for t in {all}; do echo $({number}); done | sort -u");
    // One after another.
    let what = format!("{name} has one device at every target");
    until(&what, DEADLINE, async || {
        let numbers = node.script(&script).await;
        Ok((numbers.lines().count() == 1).then_some(()))
    })
    .await
    .unwrap();
    let script = format!(
        "for t in {all}; do
           dd {compare} bs=4096 count=5 iflag=direct status=none | cksum
         done | sort -u | wc -l"
    );
    assert_eq!(node.script(&script).await, "1", "{name}");
    for (number, target) in targets.iter().enumerate() {
        let write = match writer.volume.claim.filesystem {
            Some(_) => format!("touch {target}/file"),
            // What is there already.
            None => format!(
                "dd if={target} of=/run/block bs=4096 count=1 iflag=direct status=none
                 dd if=/run/block of={target} bs=4096 oflag=direct conv=notrunc status=none"
            ),
        };
        let (wrote, error) = node.attempt(&write).await;
        assert_eq!(wrote, number == 0, "{target}: {error}");
        assert!(wrote || error.contains("Read-only file system"), "{error}");
    }
}

#[tokio::test]
async fn volumes_that_are_held_while_their_sessions_end_come_back_at_every_target() {
    let cluster = Cluster::boot_pair(&[]).await;
    let mut table = Table::default();
    let mut held = Vec::new();
    for index in 0..cluster.nodes.len() {
        for claim in claims(&format!("held-{index}")) {
            let claim = claim.parameter(CTRL_LOSS_TMO, "4");
            let writer = Writer::start_on(&cluster, index, claim).await;
            let targets = publish(&cluster, &writer).await;
            let bound = bind(&cluster, &writer).await;
            let holder = hold(&cluster, &writer).await;
            held.push((writer, targets, bound, holder));
        }
    }
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    for node in &cluster.nodes {
        node.await_controllers(0).await;
    }
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    for (writer, targets, bound, holder) in &mut held {
        let node = writer.on(&cluster);
        let back = node.clock().await;
        let resumed = writer.resumed(back).await - back;
        let errors = writer.new_errors();
        assert!(errors > 0, "{} was spared", writer.name());
        table.row("loss time over, in use", writer, resumed, errors);
        assert_recovered(&cluster, writer, targets).await;
        // Kubelet binds a directory of the volume anew, and never finds a dead one there.
        if let Some(place) = bound {
            let mounts = format!("grep -c -F ' {place} ' /proc/self/mountinfo || true");
            assert_eq!(node.script(&mounts).await, "0", "{place}");
        }
        // Who held it holds the dead one, and stood in nobody's way.
        assert_eq!(holder.status().await.unwrap(), None, "{}", writer.name());
    }
    for (writer, targets, _, holder) in held {
        holder.signal("KILL").await.unwrap();
        holder.wait(DEADLINE).await.unwrap();
        for (pod, _) in ["second", "reader"].iter().zip(&targets) {
            let node = writer.on(&cluster).plugin();
            writer.volume.unpublish(node, pod).await.unwrap();
        }
        let name = writer.name().to_owned();
        let bytes = writer.finish(&cluster).await;
        table.verified(&name, bytes);
    }
    for node in &cluster.nodes {
        assert_eq!(node.formats().await, 2, "{}", node.name);
    }
    cluster.assert_clean().await;
}
