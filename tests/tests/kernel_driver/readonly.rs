//! Read-only volumes, mount options, and a volume that two pods use.

use csi_proto::v1::volume_capability::AccessType;
use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_tests::volume::Claim;
use tonic::Code;

use crate::cluster::Cluster;
use crate::pod::Pod;

#[tokio::test]
async fn the_kernel_refuses_writes_to_what_is_published_read_only() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    for claim in [
        Claim::filesystem("ro-ext4", 64, "ext4"),
        Claim::filesystem("ro-xfs", 320, "xfs"),
        Claim::block("ro-block", 64),
    ] {
        let volume = claim.create(controller).await.unwrap();
        let pod = Pod::start(controller, node, &volume, "writer").await;
        let written = pod.fill(node, &volume).await;
        volume.unpublish(node.plugin(), "writer").await.unwrap();

        let mut reader = pod;
        reader.name = "reader".to_owned();
        for _ in 0..2 {
            let published = volume.publish(node.plugin(), &reader.context, "reader", true);
            reader.target = published.await.unwrap();
        }
        let (write, refusal) = match volume.claim.filesystem {
            Some(_) => (
                format!("touch {}/file", reader.target),
                "Read-only file system",
            ),
            None => (
                format!(
                    "dd if=/dev/zero of={} bs=4096 count=1 oflag=direct conv=notrunc",
                    reader.target
                ),
                "not permitted",
            ),
        };
        let (wrote, error) = node.attempt(&write).await;
        assert!(!wrote && error.contains(refusal), "{write}: {error}");
        assert_eq!(reader.checksum(node, &volume).await, written);

        volume.unpublish(node.plugin(), "reader").await.unwrap();
        let pod = Pod::publish(node, &volume, reader.context.clone(), "writer").await;
        let (wrote, error) = node
            .attempt(&write.replace(&reader.target, &pod.target))
            .await;
        assert!(wrote, "writable again: {error}");
        pod.stop(controller, node, &volume).await;
        volume.delete(controller).await.unwrap();
    }
    mount_options_arrive(&cluster).await;
    for mode in [Mode::SingleNodeWriter, Mode::SingleNodeMultiWriter] {
        two_pods_see_one_filesystem(&cluster, mode).await;
    }
    cluster.assert_clean().await;
}

async fn mount_options_arrive(cluster: &Cluster) {
    let (controller, node) = (cluster.controller(), cluster.node());
    for fs in ["ext4", "xfs"] {
        let claim = Claim::filesystem(&format!("options-{fs}"), 320, fs);
        let volume = claim.create(controller).await.unwrap();
        let context = volume.attach(controller, &node.name).await.unwrap();
        let mut request = volume.stage_request(&context);
        let capability = request.volume_capability.as_mut().unwrap();
        let Some(AccessType::Mount(mount)) = &mut capability.access_type else {
            panic!("a filesystem was claimed");
        };
        mount.mount_flags = vec!["noatime".to_owned(), "discard".to_owned()];
        for _ in 0..2 {
            let mut client = node.plugin().node();
            client.node_stage_volume(request.clone()).await.unwrap();
        }
        let pod = Pod::publish(node, &volume, context, "pod").await;
        let line = node
            .script(&format!("grep -F ' {} ' /proc/self/mountinfo", pod.target))
            .await;
        for option in ["noatime", "discard"] {
            assert!(line.contains(option), "{line}");
        }
        pod.stop(controller, node, &volume).await;
        volume.delete(controller).await.unwrap();
    }
}

async fn two_pods_see_one_filesystem(cluster: &Cluster, mode: Mode) {
    let (controller, node) = (cluster.controller(), cluster.node());
    let claim = Claim::filesystem("two-pods", 64, "ext4").mode(mode);
    let volume = claim.create(controller).await.unwrap();
    let first = Pod::start(controller, node, &volume, "first").await;
    let second = Pod::publish(node, &volume, first.context.clone(), "second").await;
    let written = first.fill(node, &volume).await;
    assert_eq!(second.checksum(node, &volume).await, written);
    // The first pod's end does not take the volume from the second.
    volume.unpublish(node.plugin(), "first").await.unwrap();
    let held = volume.unstage(node.plugin()).await.unwrap_err();
    assert_eq!(held.code(), Code::FailedPrecondition, "{held:?}");
    assert!(held.message().contains(&second.target), "{held:?}");
    assert_eq!(second.checksum(node, &volume).await, written);
    volume.stage(node.plugin(), &second.context).await.unwrap();
    second.stop(controller, node, &volume).await;
    volume.delete(controller).await.unwrap();
}
