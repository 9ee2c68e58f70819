//! What is done to a node's volumes while its writers write.

use std::time::Duration;

use rds_csi_tests::wait::until;
use serde_json::json;

use super::matrix::{Matrix, Toll};
use super::writer::Writer;
use crate::calls::{grow, grow_here};
use crate::cluster::DEADLINE;

/// How much larger a volume becomes at once, in bytes.
const MORE: i64 = 16 << 20;
/// Filesystems, whose dead mounts the engine can take away and so free their names.
const TWO: [&str; 2] = ["fault-ext4", "fault-xfs"];
/// A shorter cut no session is given up for: that it is lost shows after the keep-alive time
/// of 5 s, and the loss time is 4 s.
const SPARED: Duration = Duration::from_secs(8);
/// A longer one is longer than the short loss time for certain. A loss may show as late as
/// 10 s after the cut, and then the kernel counts attempts, one for each second of the loss
/// time: without a link each takes 3 s to fail, and the next begins a second later.
const GIVEN_UP: Duration = Duration::from_secs(28);
/// Within how many turns two volumes have changed places.
const MOVES: usize = 10;

#[derive(Debug, Clone)]
pub(super) enum Harm {
    /// No packet passes for so long.
    LinkCut(Duration),
    /// Another host connects to every volume under this node's identity.
    Twin,
    /// Every volume becomes larger.
    Grow,
    /// The device's target ends and starts again: exports go and come.
    TargetRestart,
    /// The device restarts, and its pool is mounted long after its port is open.
    LatePool,
    /// Exports are taken away and given back.
    ExportsRemoved,
    /// Two volumes come back under each other's device name; without multipath.
    NamesSwapped,
    /// The device refuses this host for a while.
    HostRefused,
    /// The plugin dies in each state of a session.
    PluginKilled,
    /// The device loses its power.
    PowerCut,
}

/// Where the short loss times are over for certain, and others are told not to retry or not.
fn given_up(writer: &Writer) -> Toll {
    if writer.is_short() {
        Toll::Errors
    } else {
        Toll::Perhaps
    }
}

impl Matrix {
    /// Does it, and waits until every writer is over it.
    pub(super) async fn meet(&mut self, harm: &Harm) {
        match harm {
            Harm::LinkCut(length) => self.link_cut(*length).await,
            Harm::Twin => self.twin().await,
            Harm::Grow => self.grow().await,
            Harm::TargetRestart => self.target_restart().await,
            Harm::LatePool => self.late_pool().await,
            Harm::ExportsRemoved => self.exports_removed().await,
            Harm::NamesSwapped => self.names_swapped().await,
            Harm::HostRefused => self.host_refused().await,
            Harm::PluginKilled => self.plugin_killed().await,
            Harm::PowerCut => self.power_cut().await,
        }
    }

    async fn link_cut(&mut self, length: Duration) {
        let fault = format!("link cut {} s", length.as_secs());
        let appliance = self.cluster.appliance.guest();
        self.cluster.lab.cut(appliance).unwrap();
        tokio::time::sleep(length).await;
        let back = self.cluster.node().clock().await;
        self.cluster
            .lab
            .restore(self.cluster.appliance.guest())
            .unwrap();
        self.settle(&fault, back, |writer| {
            if !writer.is_short() || length < SPARED {
                Toll::Time
            } else if length < GIVEN_UP {
                Toll::Perhaps
            } else {
                Toll::Errors
            }
        })
        .await;
    }

    async fn twin(&mut self) {
        let name = "cat /sys/class/nvme/nvme*/hostnqn | sort -u";
        let host = self.cluster.node().script(name).await;
        let id = "cat /sys/class/nvme/nvme*/hostid | sort -u";
        let id = self.cluster.node().script(id).await;
        assert_eq!((host.lines().count(), id.lines().count()), (1, 1));
        let nqns = self
            .cluster
            .node()
            .script("cat /sys/class/nvme/nvme*/subsysnqn")
            .await;
        self.twins += 1;
        let twin = format!("twin-{}", self.twins);
        let twin = self.cluster.stranger(&twin).await;
        for nqn in nqns.lines() {
            self.cluster.connect_by_hand(&twin, nqn, (&host, &id)).await;
        }
        let back = self.cluster.node().clock().await;
        self.settle("another host of this identity", back, |_| Toll::Time)
            .await;
        twin.kill().unwrap();
    }

    async fn grow(&mut self) {
        let (controller, node) = (self.cluster.controller(), self.cluster.node());
        let mut sizes = Vec::new();
        for writer in &self.writers {
            // Measured first: the device may tell the kernel by itself.
            let before = writer.pod.size(node, &writer.volume).await;
            let size = self.cluster.size(&writer.volume).await + MORE;
            grow(controller, &writer.volume, size).await.unwrap();
            sizes.push((before, size));
        }
        let back = self.cluster.node().clock().await;
        for (writer, (before, size)) in self.writers.iter().zip(sizes) {
            let told = grow_here(node.plugin(), &writer.volume, writer.target(), size).await;
            let told = told.unwrap();
            let grew = writer.pod.size(node, &writer.volume).await - before;
            let name = writer.name();
            // A filesystem keeps some of it for itself, ext4 half of it for a new group.
            let (least, device) = match writer.volume.claim.filesystem {
                Some(_) => (
                    MORE / 4,
                    format!("$(findmnt -no SOURCE {})", writer.target()),
                ),
                None => (MORE, writer.target().to_owned()),
            };
            let device = node.script(&format!("blockdev --getsize64 {device}")).await;
            assert_eq!(device, size.to_string(), "{name}: the device");
            assert!(
                (least..=MORE).contains(&grew),
                "{name}: {before} and {grew} more"
            );
            assert!(
                before < told && told <= size,
                "{name}: {before}, told {told}"
            );
        }
        self.settle("volumes grown", back, |_| Toll::Time).await;
    }

    async fn target_restart(&mut self) {
        self.cluster.appliance.restart().await.unwrap();
        let back = self.cluster.node().clock().await;
        // Whoever came while the port was open and the export was not there is told not
        // to retry.
        self.settle("target restarted", back, |_| Toll::Perhaps)
            .await;
    }

    async fn late_pool(&mut self) {
        let reboot =
            json!({ "op": "inject", "fault": "reboot", "down_ms": 1000, "mount_ms": 6000 });
        self.cluster.control(&reboot).await;
        self.wait_for("all sessions have noticed", "live", 0).await;
        until("the pool is mounted", DEADLINE, async || {
            let exported = "find /sys/kernel/config/nvmet/ports -type l | wc -l";
            let exported = self.cluster.appliance.guest().script(exported).await?;
            let all = self.writers.len() + 1;
            Ok((exported.trim() == all.to_string()).then_some(()))
        })
        .await
        .unwrap();
        let back = self.cluster.node().clock().await;
        self.settle("restart with a late pool", back, given_up)
            .await;
    }

    /// The exports go, and the kernel is told not to retry; then they come back, the last
    /// one first, so that devices get the names of others.
    async fn exports_removed(&mut self) {
        for writer in &self.writers {
            self.cluster.export(&writer.volume, false).await;
        }
        self.cluster.node().await_controllers(0).await;
        for writer in self.writers.iter().rev() {
            self.cluster.export(&writer.volume, true).await;
        }
        let back = self.cluster.node().clock().await;
        self.settle("exports removed and made again", back, |_| Toll::Errors)
            .await;
    }

    /// A volume that comes back gets the lowest free number, and the one that it had is
    /// free once its dead mount is gone. So two that come and go in turn change places.
    /// With multipath they cannot: the dead mount keeps the subsystem, and its number is
    /// the volume's again.
    async fn names_swapped(&mut self) {
        let mut seen = vec![self.devices().await];
        let mut swapped = false;
        for turn in 0..MOVES {
            self.comes_back(turn % 2).await;
            let [first, second] = self.devices().await;
            swapped = seen.contains(&[second.clone(), first.clone()]);
            if swapped {
                break;
            }
            seen.push([first, second]);
        }
        assert!(swapped, "two volumes never changed places: {seen:?}");
        let back = self.cluster.node().clock().await;
        self.settle("two volumes with each other's name", back, |writer| {
            if TWO.contains(&writer.name()) {
                Toll::Errors
            } else {
                Toll::Time
            }
        })
        .await;
    }

    /// A volume's export goes and comes, and its writer is over it.
    async fn comes_back(&self, writer: usize) {
        let writer = &self.writers[writer];
        self.cluster.export(&writer.volume, false).await;
        let left = self.writers.len() - 1;
        self.cluster.node().await_controllers(left).await;
        self.cluster.export(&writer.volume, true).await;
        writer.resumed(self.cluster.node().clock().await).await;
    }

    /// The device names of two volumes, without the numbers of their namespaces.
    async fn devices(&self) -> [String; 2] {
        let [first, second] = [0, 1].map(|index| {
            assert_eq!(self.writers[index].name(), TWO[index]);
            let target = self.writers[index].target();
            format!("findmnt -no SOURCE {target} | sed 's/n[0-9]*$//'")
        });
        let node = self.cluster.node();
        [node.script(&first).await, node.script(&second).await]
    }

    async fn host_refused(&mut self) {
        self.allow("nqn.2014-08.org.nvmexpress:uuid:somebody-else")
            .await;
        self.cluster
            .lab
            .cut(self.cluster.appliance.guest())
            .unwrap();
        self.wait_for("all sessions have noticed", "live", 0).await;
        self.cluster
            .lab
            .restore(self.cluster.appliance.guest())
            .unwrap();
        self.cluster.node().await_controllers(0).await;
        self.allow("").await;
        let back = self.cluster.node().clock().await;
        self.settle("host refused, then allowed", back, |_| Toll::Errors)
            .await;
    }

    async fn allow(&self, host: &str) {
        for writer in &self.writers {
            let command = format!(
                "/disk set [find slot=\"{}\"] nvme-tcp-server-allow-host-name=\"{host}\"",
                writer.volume.id()
            );
            self.cluster.routeros(&command).await;
        }
    }

    /// The plugin dies while sessions are live, while the kernel reconnects, after the
    /// kernel gave some up, and while the volumes are handed back.
    async fn plugin_killed(&mut self) {
        self.cluster.nodes[0].crash().await;
        self.export_all(false).await;
        self.wait_for("all sessions have noticed", "live", 0).await;
        self.cluster.nodes[0].crash().await;
        let short = self.writers.iter().filter(|writer| writer.is_short());
        let kept = self.writers.len() - short.count();
        self.wait_for("some are given up", "connecting", kept).await;
        self.cluster.nodes[0].crash().await;
        self.export_all(true).await;
        let back = self.cluster.node().clock().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.cluster.nodes[0].crash().await;
        // The port is open before the last export is there: whoever comes in between is
        // told not to retry.
        self.settle("plugin killed in each state", back, given_up)
            .await;
    }

    /// Every export, the anchor's too, so that the port goes and comes.
    async fn export_all(&self, on: bool) {
        self.cluster.export(&self.anchor, on).await;
        for writer in &self.writers {
            self.cluster.export(&writer.volume, on).await;
        }
    }

    async fn power_cut(&mut self) {
        self.cluster.appliance.power_off().unwrap();
        self.cluster.appliance.power_on().await.unwrap();
        let back = self.cluster.node().clock().await;
        // The device opened its port before all of its subsystems were there: whoever came
        // in between was told not to retry.
        self.settle("power cut of the appliance", back, |_| Toll::Perhaps)
            .await;
    }
}
