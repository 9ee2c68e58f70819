//! What some devices may do, by the switches of the simulator, and a node full of volumes.

use rds_csi_core::names::parameter::RECONNECT_DELAY;
use rds_csi_tests::appliance::ApplianceOptions;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use serde_json::json;

use super::table::Table;
use super::writer::Writer;
use crate::calls::stats;
use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

/// Writers of every sort on each of two nodes, with native multipath and without.
struct Stand {
    cluster: Cluster,
    writers: Vec<Writer>,
    table: Table,
}

impl Stand {
    async fn begin(switch: &str) -> Self {
        let cluster = Cluster::boot_pair(&[switch]).await;
        let mut writers = Vec::new();
        for index in 0..cluster.nodes.len() {
            for claim in claims(&format!("device-{index}")) {
                writers.push(Writer::start_on(&cluster, index, claim).await);
            }
        }
        Self {
            cluster,
            writers,
            table: Table::default(),
        }
    }

    /// The fault is over: every writer goes on, and on each node one at least has lost its
    /// device before, or the test has tried nothing.
    async fn end(mut self, fault: &str) {
        let mut errors = [0; 2];
        let mut backs = Vec::new();
        for node in &self.cluster.nodes {
            backs.push(node.clock().await);
        }
        for writer in &mut self.writers {
            let back = backs[writer.node];
            let resumed = writer.resumed(back).await - back;
            let new = writer.new_errors();
            self.table.row(fault, writer, resumed, new);
            errors[writer.node] += new;
        }
        assert!(errors.iter().all(|count| *count > 0), "{errors:?}");
        let formats = async |index: usize| self.cluster.nodes[index].formats().await;
        assert_eq!([formats(0).await, formats(1).await], [2, 2]);
        for writer in self.writers {
            let name = writer.name().to_owned();
            let bytes = writer.finish(&self.cluster).await;
            self.table.verified(&name, bytes);
        }
        self.cluster.assert_clean().await;
    }
}

/// One of every sort.
pub(super) fn claims(name: &str) -> [Claim; 3] {
    [
        Claim::filesystem(&format!("{name}-ext4"), 64, "ext4"),
        Claim::filesystem(&format!("{name}-xfs"), 320, "xfs"),
        Claim::block(&format!("{name}-block"), 64),
    ]
    .map(|claim| claim.parameter(RECONNECT_DELAY, "1"))
}

/// Every host that comes while the port is open and its subsystem is not there is told
/// not to retry.
#[tokio::test]
async fn writers_outlive_a_device_that_opens_its_port_before_its_exports() {
    let mut stand = Stand::begin("boot-order=port-first").await;
    stand.cluster.appliance.power_off().unwrap();
    stand.cluster.appliance.power_on().await.unwrap();
    stand.end("port open before exports").await;
}

/// The kernel connects again and finds no namespace, so it takes the device away, and a
/// session that is live has none until the pool is there.
#[tokio::test]
async fn writers_outlive_a_device_whose_exports_are_empty_until_its_pool_is_mounted() {
    let stand = Stand::begin("unmounted-export=empty").await;
    let appliance = stand.cluster.appliance.guest();
    let reboot = json!({ "op": "inject", "fault": "reboot", "down_ms": 500, "mount_ms": 10000 });
    stand.cluster.control(&reboot).await;
    let namespaces =
        "cat /sys/kernel/config/nvmet/subsystems/*/namespaces/*/enable | grep -c 1 || true";
    let all = stand.writers.len();
    for (what, count) in [("the pool is away", 0), ("the pool is mounted", all)] {
        until(what, DEADLINE, async || {
            let found = appliance.script(namespaces).await?;
            Ok((found.trim() == count.to_string()).then_some(()))
        })
        .await
        .unwrap();
    }
    stand.end("exports empty until the pool is mounted").await;
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

/// Twenty volumes through one outage that ends the patience of the kernel. The plugin dies in
/// it, and with it what keeps the numbers of raw devices from being given away: they are
/// other volumes' numbers afterwards.
#[tokio::test]
async fn twenty_volumes_of_a_node_come_back_each_to_its_own_data() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    let controller = &cluster.controller().clone();
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
        let pod = Pod::start(controller, cluster.node(), &volume, "pod").await;
        let sum = pod.fill(cluster.node(), &volume).await;
        pods.push((volume, pod, sum));
    }
    let before = names(cluster.node(), &pods).await;
    for (volume, ..) in &pods {
        cluster.export(volume, false).await;
    }
    cluster.node().await_controllers(0).await;
    cluster.nodes[0].crash().await;
    // In another order, so that numbers and names are those of others.
    for (volume, ..) in pods.iter().rev() {
        cluster.export(volume, true).await;
    }
    let node = cluster.node();
    for (volume, pod, _) in &pods {
        is_normal(node, volume, pod).await;
    }
    let after = names(node, &pods).await;
    let is_anothers = |(index, name): (usize, &String)| {
        let place = before.iter().position(|before| before == name);
        place.is_some_and(|place| place != index)
    };
    let renumbered = after.iter().enumerate().skip(1).step_by(2).any(is_anothers);
    assert!(
        renumbered,
        "the test tries nothing: {before:?} to {after:?}"
    );
    for (volume, pod, written) in &pods {
        assert_eq!(pod.checksum(node, volume).await, *written);
        pod.stop(controller, node, volume).await;
        volume.delete(controller).await.unwrap();
    }
    anchor.delete(controller).await.unwrap();
    assert_eq!(node.formats().await, 10);
    cluster.assert_clean().await;
}

/// The names of the devices of volumes, by the numbers that their pods have.
async fn names(node: &Node, pods: &[(Volume, Pod, String)]) -> Vec<String> {
    let mut names = Vec::new();
    for (volume, pod, _) in pods {
        let number = match volume.claim.filesystem {
            Some(_) => format!("findmnt -no MAJ:MIN {}", pod.target),
            None => format!("printf '%d:%d' $(stat -c '0x%t 0x%T' {})", pod.target),
        };
        let script = format!("basename $(readlink /sys/dev/block/$({number}))");
        names.push(node.script(&script).await);
    }
    names
}

/// Until the plugin says that the volume is well.
pub(crate) async fn is_normal(node: &Node, volume: &Volume, pod: &Pod) {
    until("the volume works", DEADLINE, async || {
        let report = stats(node.plugin(), volume, &pod.target).await;
        let condition = report.ok().and_then(|report| report.volume_condition);
        let works = condition.is_some_and(|condition| !condition.abnormal);
        Ok(works.then_some(()))
    })
    .await
    .unwrap();
}
