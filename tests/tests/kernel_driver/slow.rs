//! Devices that come late, come short, or do not answer.

use rds_csi_core::names::parameter::FAST_IO_FAIL_TMO;
use rds_csi_tests::volume::{Claim, PublishContext, Volume};
use rds_csi_tests::wait::until;
use tonic::Code;

use crate::calls::{may_pass, stage_at_last};
use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

fn nqn(volume: &Volume) -> &str {
    &volume.volume.volume_context["nqn"]
}

async fn attached(cluster: &Cluster, claim: Claim) -> (Volume, PublishContext) {
    let volume = claim.create(cluster.controller()).await.unwrap();
    let name = &cluster.node().name;
    let context = volume.attach(cluster.controller(), name).await.unwrap();
    (volume, context)
}

/// The volume is staged now: it works, and was formatted but once.
async fn use_and_delete(cluster: &Cluster, volume: &Volume, context: PublishContext) {
    let (controller, node) = (cluster.controller(), cluster.node());
    let pod = Pod::publish(node, volume, context, "pod").await;
    let written = pod.fill(node, volume).await;
    volume.unpublish(node.plugin(), "pod").await.unwrap();
    volume.unstage(node.plugin()).await.unwrap();
    let formats = node.formats().await;
    let pod = Pod::start(controller, node, volume, "pod").await;
    assert_eq!(pod.checksum(node, volume).await, written);
    assert_eq!(node.formats().await, formats);
    pod.stop(controller, node, volume).await;
    volume.delete(controller).await.unwrap();
    cluster.assert_clean().await;
}

/// Sets an attribute of the volume's namespace at the target.
async fn namespace(cluster: &Cluster, volume: &Volume, script: &str) {
    let directory = format!(
        "/sys/kernel/config/nvmet/subsystems/{}/namespaces/1",
        nqn(volume)
    );
    let file = cluster.backing_file(volume).await;
    let script = format!("cd {directory}; f={file}; {script}");
    cluster.appliance.guest().script(&script).await.unwrap();
}

async fn an_export_that_comes_late(cluster: &Cluster) {
    let claim = Claim::filesystem("late-export", 64, "ext4");
    let (volume, context) = attached(cluster, claim).await;
    cluster.export(&volume, false).await;
    let node = cluster.node();
    let early = volume.stage(node.plugin(), &context).await.unwrap_err();
    assert!(may_pass(&early), "{early:?}");
    cluster.export(&volume, true).await;
    stage_at_last(node.plugin(), &volume, &context).await;
    use_and_delete(cluster, &volume, context).await;
}

async fn a_namespace_that_comes_late(cluster: &Cluster) {
    let claim = Claim::filesystem("late-namespace", 64, "ext4");
    let (volume, context) = attached(cluster, claim).await;
    namespace(cluster, &volume, "echo 0 >enable").await;
    let node = cluster.node();
    let appearing = async {
        until("the session is there", DEADLINE, async || {
            let live = node.sessions(nqn(&volume)).await == "live";
            Ok(live.then_some(()))
        })
        .await
        .unwrap();
        namespace(cluster, &volume, "echo 1 >enable").await;
    };
    let (staged, ()) = tokio::join!(volume.stage(node.plugin(), &context), appearing);
    staged.unwrap();
    use_and_delete(cluster, &volume, context).await;
}

async fn a_device_that_is_too_small(cluster: &Cluster) {
    let claim = Claim::filesystem("too-small", 64, "ext4");
    let (volume, context) = attached(cluster, claim).await;
    let resize = |size: &str| format!("echo 0 >enable; truncate -s {size} $f; echo 1 >enable");
    namespace(cluster, &volume, &resize("32M")).await;
    let node = cluster.node();
    let (before, formats) = (cluster.backing_sum(&volume).await, node.formats().await);
    let refused = volume.stage(node.plugin(), &context).await.unwrap_err();
    assert!(may_pass(&refused), "{refused:?}");
    assert!(
        refused.message().contains("when it was attached"),
        "{refused:?}"
    );
    assert_eq!(cluster.backing_sum(&volume).await, before);
    assert_eq!(node.formats().await, formats);
    namespace(cluster, &volume, &resize("64M")).await;
    stage_at_last(node.plugin(), &volume, &context).await;
    use_and_delete(cluster, &volume, context).await;
}

/// Cuts the link as soon as the session is there, when the first reads are under way.
async fn cut_after_connect(cluster: &Cluster, volume: &Volume) {
    until("the session is there", DEADLINE, async || {
        let found = cluster.node().sessions(nqn(volume)).await;
        Ok((!found.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
}

async fn reads_that_fail(cluster: &Cluster) {
    let claim = Claim::filesystem("failing", 64, "ext4").parameter(FAST_IO_FAIL_TMO, "1");
    let (volume, context) = attached(cluster, claim).await;
    let node = cluster.node();
    let formats = node.formats().await;
    let staging = volume.stage(node.plugin(), &context);
    let (staged, ()) = tokio::join!(staging, cut_after_connect(cluster, &volume));
    let failed = staged.unwrap_err();
    assert!(may_pass(&failed), "{failed:?}");
    assert_eq!(node.formats().await, formats);
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    stage_at_last(node.plugin(), &volume, &context).await;
    assert_eq!(node.formats().await, formats + 1);
    use_and_delete(cluster, &volume, context).await;
}

async fn reads_that_hang(cluster: &Cluster) {
    let claim = Claim::filesystem("hanging", 64, "ext4");
    let (volume, context) = attached(cluster, claim).await;
    let node = cluster.node();
    let formats = node.formats().await;
    let outage = async {
        cut_after_connect(cluster, &volume).await;
        until("the kernel has noticed", DEADLINE, async || {
            let state = node.sessions(nqn(&volume)).await;
            Ok((state == "connecting").then_some(()))
        })
        .await
        .unwrap();
        // Who asks meanwhile is told to wait, and is not kept waiting.
        let again = volume.stage(node.plugin(), &context).await.unwrap_err();
        assert_eq!(again.code(), Code::Aborted, "{again:?}");
        cluster.lab.restore(cluster.appliance.guest()).unwrap();
    };
    let (staged, ()) = tokio::join!(volume.stage(node.plugin(), &context), outage);
    // It went on where it hung, or gave up in a way that is asked again.
    if let Err(status) = staged {
        assert!(may_pass(&status), "{status:?}");
    }
    stage_at_last(node.plugin(), &volume, &context).await;
    assert_eq!(node.formats().await, formats + 1);
    use_and_delete(cluster, &volume, context).await;
}

#[tokio::test]
async fn devices_that_come_late_or_short_are_staged_once_they_are_right() {
    let cluster = Cluster::boot(&["node-a"]).await;
    an_export_that_comes_late(&cluster).await;
    a_namespace_that_comes_late(&cluster).await;
    a_device_that_is_too_small(&cluster).await;
}

#[tokio::test]
async fn devices_that_do_not_answer_are_staged_once_they_do() {
    let cluster = Cluster::boot(&["node-a"]).await;
    reads_that_hang(&cluster).await;
    reads_that_fail(&cluster).await;
}
