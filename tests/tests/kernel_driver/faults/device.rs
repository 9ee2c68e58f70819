//! What some devices may do, by the switches of the simulator, and a node full of volumes.

use rds_csi_core::names::parameter::RECONNECT_DELAY;
use rds_csi_tests::appliance::ApplianceOptions;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use serde_json::json;

use super::writer::Writer;
use crate::calls::stats;
use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

async fn device(switch: &str) -> Cluster {
    Cluster::boot_on(&[switch], &["node-a"], true).await
}

fn claims() -> [Claim; 3] {
    [
        Claim::filesystem("device-ext4", 64, "ext4"),
        Claim::filesystem("device-xfs", 320, "xfs"),
        Claim::block("device-block", 64),
    ]
    .map(|claim| claim.parameter(RECONNECT_DELAY, "1"))
}

/// Every host that comes while the port is open and its subsystem is not there is told
/// not to retry.
#[tokio::test]
async fn writers_outlive_a_device_that_opens_its_port_before_its_exports() {
    let mut cluster = device("boot-order=port-first").await;
    let mut writers = Vec::new();
    for claim in claims() {
        writers.push(Writer::start(&cluster, claim).await);
    }
    cluster.appliance.power_off().unwrap();
    cluster.appliance.power_on().await.unwrap();
    let back = cluster.node().clock().await;
    let mut errors = 0;
    for writer in &mut writers {
        writer.resumed(back).await;
        errors += writer.new_errors();
    }
    assert!(
        errors > 0,
        "nobody was told not to retry: the test tries nothing"
    );
    for writer in writers {
        writer.finish(&cluster).await;
    }
    cluster.assert_clean().await;
}

/// The kernel connects again and finds no namespace, so it takes the device away, and a
/// session that is live has none until the pool is there.
#[tokio::test]
async fn writers_outlive_a_device_whose_exports_are_empty_until_its_pool_is_mounted() {
    let cluster = device("unmounted-export=empty").await;
    let mut writers = Vec::new();
    for claim in claims() {
        writers.push(Writer::start(&cluster, claim).await);
    }
    let appliance = cluster.appliance.guest();
    let reboot = json!({ "op": "inject", "fault": "reboot", "down_ms": 500, "mount_ms": 10000 });
    cluster.control(&reboot).await;
    let namespaces =
        "cat /sys/kernel/config/nvmet/subsystems/*/namespaces/*/enable | grep -c 1 || true";
    for (what, count) in [("the pool is away", "0"), ("the pool is mounted", "3")] {
        until(what, DEADLINE, async || {
            let found = appliance.script(namespaces).await?;
            Ok((found.trim() == count).then_some(()))
        })
        .await
        .unwrap();
    }
    let back = cluster.node().clock().await;
    let mut errors = 0;
    for writer in &mut writers {
        writer.resumed(back).await;
        errors += writer.new_errors();
    }
    assert!(errors > 0, "no device went away: the test tries nothing");
    for writer in writers {
        writer.finish(&cluster).await;
    }
    cluster.assert_clean().await;
}

/// The most that a power cut can take from a device that promises less: what is on its way
/// is acknowledged after the cut although it is lost, and nothing before it is.
#[tokio::test]
async fn a_device_with_a_volatile_cache_loses_only_what_is_on_its_way() {
    let options = ApplianceOptions {
        volatile_cache: true,
        ..ApplianceOptions::default()
    };
    let mut cluster = Cluster::boot_at(options, &["node-a"], true).await;
    let mut writers = Vec::new();
    for number in 0..4 {
        // No filesystem: its own records could be among what is lost.
        let claim = Claim::block(&format!("volatile-{number}"), 64);
        writers.push(Writer::start(&cluster, claim.parameter(RECONNECT_DELAY, "1")).await);
    }
    let mut cuts = Vec::new();
    for _ in 0..3 {
        let before = cluster.node().clock().await;
        cluster.appliance.power_off().unwrap();
        cuts.push((before, cluster.node().clock().await));
        cluster.appliance.power_on().await.unwrap();
        let back = cluster.node().clock().await;
        for writer in &writers {
            writer.resumed(back).await;
        }
    }
    for writer in writers {
        writer.end(&cluster).await;
        for (record, before, after) in writer.lost(&cluster).await {
            let cut = cuts.iter().find(|cut| before <= cut.1 && after >= cut.0);
            assert!(cut.is_some(), "{} lost {record}: {cuts:?}", writer.name());
        }
        writer.take_down(&cluster).await;
    }
    cluster.assert_clean().await;
}

/// Twenty volumes through one outage that ends the patience of the kernel.
#[tokio::test]
async fn twenty_volumes_of_a_node_come_back_each_to_its_own_data() {
    let cluster = Cluster::boot(&["node-a"]).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    let anchor = Claim::block("anchor", 4).create(controller).await.unwrap();
    let mut pods = Vec::new();
    for number in 0..20 {
        let name = format!("twenty-{number}");
        let claim = if number % 2 == 0 {
            Claim::filesystem(&name, 32, "ext4")
        } else {
            Claim::block(&name, 16)
        };
        let volume = claim.create(controller).await.unwrap();
        let pod = Pod::start(controller, node, &volume, "pod").await;
        let sum = pod.fill(node, &volume).await;
        pods.push((volume, pod, sum));
    }
    for (volume, ..) in &pods {
        cluster.export(volume, false).await;
    }
    node.await_controllers(0).await;
    // In another order, so that numbers and names are those of others.
    for (volume, ..) in pods.iter().rev() {
        cluster.export(volume, true).await;
    }
    for (volume, pod, _) in &pods {
        is_normal(&cluster, volume, pod).await;
    }
    for (volume, pod, written) in &pods {
        assert_eq!(pod.checksum(node, volume).await, *written);
        pod.stop(controller, node, volume).await;
        volume.delete(controller).await.unwrap();
    }
    anchor.delete(controller).await.unwrap();
    assert_eq!(node.formats().await, 10);
    cluster.assert_clean().await;
}

/// Until the plugin says that the volume is well.
pub(super) async fn is_normal(cluster: &Cluster, volume: &Volume, pod: &Pod) {
    until("the volume works", DEADLINE, async || {
        let report = stats(cluster.node().plugin(), volume, &pod.target).await;
        let condition = report.ok().and_then(|report| report.volume_condition);
        let works = condition.is_some_and(|condition| !condition.abnormal);
        Ok(works.then_some(()))
    })
    .await
    .unwrap();
}
