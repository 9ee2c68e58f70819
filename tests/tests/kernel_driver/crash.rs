//! Node plugins that are killed.

use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;

use crate::calls::stage_at_last;
use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

/// What the guest sees at the moment of the kill, as a condition of its shell.
const MOMENTS: [(&str, &str); 4] = [
    ("recorded", "compgen -G '{state}/*/*/*pvc-*' >/dev/null"),
    ("connected", "compgen -G '/sys/block/nvme*n1' >/dev/null"),
    ("formatting", "making || mounted"),
    ("mounted", "grep -q globalmount /proc/self/mountinfo"),
];

/// Conditions: a filesystem is being made, and `$maker` is its maker; one is mounted.
const MAKING: &str = "making() {
    for p in /proc/[1-9]*; do
      read -r name 2>/dev/null <$p/comm || continue
      if [[ $name == mkfs* ]]; then maker=${p#/proc/}; return; fi
    done
    return 1
  }
  mounted() { [[ $(</proc/self/mountinfo) == *globalmount* ]]; };";

#[tokio::test]
async fn staging_goes_on_wherever_the_plugin_was_killed() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    for (fs, mebibytes) in [("ext4", 128), ("xfs", 320)] {
        for (moment, condition) in MOMENTS {
            let claim = Claim::filesystem(&format!("{moment}-{fs}"), mebibytes, fs);
            let volume = claim.create(cluster.controller()).await.unwrap();
            let node = &mut cluster.nodes[0];
            let name = node.name.clone();
            let context = volume
                .attach(cluster.controller.plugin(), &name)
                .await
                .unwrap();

            let state = node.guest.share().join("state").display().to_string();
            let condition = condition.replace("{state}", &state);
            let pid = node.process.process().pid();
            let script = format!("{MAKING} until {condition}; do :; done; kill -KILL -- -{pid}");
            let killer = node
                .guest
                .spawn(
                    &format!("killer-{moment}-{fs}"),
                    &["bash", "-c", &script],
                    &[],
                )
                .await
                .unwrap();
            let cut_off = volume.stage(node.plugin(), &context).await;
            killer.wait(DEADLINE).await.unwrap();
            let ended = node.process.process().wait(DEADLINE).await.unwrap();
            println!(
                "{moment} {fs}: {ended:?}, told {:?}",
                cut_off.err().map(|e| e.code())
            );
            assert!(ended.is_some());

            node.restart().await;
            stage_at_last(node.plugin(), &volume, &context).await;
            let node = cluster.node();
            let pod = Pod::publish(node, &volume, context, "pod").await;
            let written = pod.fill(node, &volume).await;
            volume.unpublish(node.plugin(), "pod").await.unwrap();
            volume.unstage(node.plugin()).await.unwrap();
            let pod = Pod::start(cluster.controller(), node, &volume, "pod").await;
            assert_eq!(pod.checksum(node, &volume).await, written);
            pod.stop(cluster.controller(), node, &volume).await;
            volume.delete(cluster.controller()).await.unwrap();
            cluster.assert_clean().await;
        }
    }
}

#[tokio::test]
async fn no_call_needs_what_the_plugin_remembered_of_the_one_before() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    for claim in [
        Claim::filesystem("forgotten-ext4", 64, "ext4"),
        Claim::block("forgotten-block", 64),
    ] {
        let volume = claim.create(cluster.controller()).await.unwrap();
        let controller = cluster.controller.plugin().clone();
        let node = &mut cluster.nodes[0];
        let context = volume.attach(&controller, &node.name).await.unwrap();
        node.crash().await;
        for _ in 0..2 {
            volume.stage(node.plugin(), &context).await.unwrap();
            node.crash().await;
        }
        let pod = Pod::publish(node, &volume, context.clone(), "pod").await;
        node.crash().await;
        let written = pod.fill(node, &volume).await;
        let pod = Pod::publish(node, &volume, context, "pod").await;
        node.crash().await;
        assert_eq!(pod.checksum(node, &volume).await, written);
        for _ in 0..2 {
            volume.unpublish(node.plugin(), "pod").await.unwrap();
            node.crash().await;
        }
        for _ in 0..2 {
            volume.unstage(node.plugin()).await.unwrap();
            node.crash().await;
        }
        node.assert_clean().await;
        let pod = Pod::start(&controller, node, &volume, "pod").await;
        assert_eq!(pod.checksum(node, &volume).await, written);
        pod.stop(&controller, node, &volume).await;
        volume.delete(&controller).await.unwrap();
    }
    cluster.assert_clean().await;
}

/// kubelet's own way out of a stage that never ends well.
#[tokio::test]
async fn a_stage_that_was_killed_is_unstaged() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    let claim = Claim::filesystem("given-up", 64, "ext4");
    let volume = claim.create(cluster.controller()).await.unwrap();
    let controller = cluster.controller.plugin().clone();
    let node = &mut cluster.nodes[0];
    let context = volume.attach(&controller, &node.name).await.unwrap();
    let staging = volume.stage(node.plugin(), &context);
    let killing = async {
        until("the session is there", DEADLINE, async || {
            let found = node.sessions(&volume.volume.volume_context["nqn"]).await;
            Ok((!found.is_empty()).then_some(()))
        })
        .await
        .unwrap();
        node.process.kill().await.unwrap();
    };
    let (staged, ()) = tokio::join!(staging, killing);
    println!("{staged:?}");
    node.restart().await;
    volume.unstage(node.plugin()).await.unwrap();
    node.assert_clean().await;
    volume.detach(&controller, &node.name).await.unwrap();
    volume.delete(&controller).await.unwrap();
    cluster.assert_clean().await;
}

/// A container's end takes the program that makes the filesystem with it. What that
/// leaves is neither blank nor whole: nobody has used it, and still it is not made anew
/// over what cannot be told from somebody's data.
#[tokio::test]
async fn a_filesystem_whose_making_was_cut_off_is_never_mounted() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    let controller = cluster.controller.plugin().clone();
    let node = &mut cluster.nodes[0];
    for (fs, mebibytes) in [("ext4", 128), ("xfs", 320)] {
        let claim = Claim::filesystem(&format!("cut-off-{fs}"), mebibytes, fs);
        let volume = claim.create(&controller).await.unwrap();
        let context = volume.attach(&controller, &node.name).await.unwrap();
        let pid = node.process.process().pid();
        let script =
            format!("{MAKING} until making || mounted; do :; done; kill -KILL -- $maker -{pid}");
        let name = format!("killer-{fs}");
        let argv = ["bash", "-c", &script];
        let killer = node.guest.spawn(&name, &argv, &[]).await.unwrap();
        // The killer may come too late; then there is nothing to see.
        volume.stage(node.plugin(), &context).await.ok();
        killer.wait(DEADLINE).await.unwrap();
        node.process.process().wait(DEADLINE).await.unwrap();
        node.restart().await;
        match volume.stage(node.plugin(), &context).await {
            // It had not begun to write, or had ended already.
            Ok(()) => {
                let pod = Pod::publish(node, &volume, context, "pod").await;
                pod.fill(node, &volume).await;
                volume.unpublish(node.plugin(), "pod").await.unwrap();
            }
            Err(told) => {
                println!("{fs}: {told:?}");
                let known = ["did not finish", "not blank", "damaged"];
                let message = told.message();
                assert!(known.iter().any(|word| message.contains(word)), "{told:?}");
                assert_eq!(node.formats().await, 0);
            }
        }
        volume.unstage(node.plugin()).await.unwrap();
        node.assert_clean().await;
        volume.detach(&controller, &node.name).await.unwrap();
        volume.delete(&controller).await.unwrap();
    }
    cluster.assert_clean().await;
}
