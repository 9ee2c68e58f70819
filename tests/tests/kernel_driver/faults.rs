//! The fault matrix: writers on volumes of every sort through one fault after another,
//! with every record that was acknowledged read back at the end.
//!
//! Nobody calls the node plugin meanwhile: what comes back comes back by itself. A fault
//! that the kernel rides out costs the writer nothing but time; after one that made the
//! kernel give up, a writer that opens the target again, as a restarted container does,
//! goes on where it was.

mod device;
mod table;
mod writer;

use std::time::Duration;

use rds_csi_core::names::parameter::{CTRL_LOSS_TMO, RECONNECT_DELAY};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE};
use table::Table;
use writer::Writer;

/// The kernel's `reconnect_delay`, in seconds.
const DELAY: u32 = 1;
/// How long the kernel's attempt under way can take to fail after the link is back.
const ATTEMPT: f64 = 1.0;
/// How long the engine may take for what the kernel gave up, on a machine that does other
/// things too. `hack/bench outage` holds the figure.
const ENGINE: f64 = 20.0;

/// What a fault may do to a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toll {
    /// It waits and sees no error.
    Time,
    /// It sees errors, and goes on once it opens the target again.
    Errors,
}

struct Matrix {
    cluster: Cluster,
    writers: Vec<Writer>,
    /// A volume that nobody uses: while it is exported the port is open, and a host that
    /// asks for another one is told not to retry. Without any the port is closed.
    anchor: Volume,
    table: Table,
}

impl Matrix {
    async fn begin(multipath: bool) -> Self {
        let cluster = Cluster::boot_with(&["node-a"], multipath).await;
        let delay = DELAY.to_string();
        let claims = [
            Claim::filesystem("fault-ext4", 128, "ext4").parameter(RECONNECT_DELAY, &delay),
            Claim::filesystem("fault-xfs", 320, "xfs").parameter(RECONNECT_DELAY, &delay),
            Claim::block("fault-block", 128).parameter(RECONNECT_DELAY, &delay),
            Claim::filesystem("short-ext4", 128, "ext4")
                .parameter(RECONNECT_DELAY, &delay)
                .parameter(CTRL_LOSS_TMO, "4"),
            Claim::block("short-block", 128)
                .parameter(RECONNECT_DELAY, &delay)
                .parameter(CTRL_LOSS_TMO, "4"),
        ];
        let mut writers = Vec::new();
        for claim in claims {
            writers.push(Writer::start(&cluster, claim).await);
        }
        let anchor = Claim::block("anchor", 4).create(cluster.controller()).await;
        let title = if multipath {
            "multipath"
        } else {
            "no multipath"
        };
        Self {
            cluster,
            writers,
            anchor: anchor.unwrap(),
            table: Table::new(title),
        }
    }

    /// How many sessions the node has in a state.
    async fn sessions(&self, state: &str) -> usize {
        let script = "cat /sys/class/nvme/nvme*/state 2>/dev/null || true";
        let states = self.cluster.node().script(script).await;
        states.lines().filter(|line| *line == state).count()
    }

    async fn wait_for(&self, what: &str, state: &str, count: usize) {
        until(what, DEADLINE, async || {
            Ok((self.sessions(state).await == count).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Until the kernel has given up every session.
    async fn wait_for_none(&self) {
        until("no session is left", DEADLINE, async || {
            let script = "ls /sys/class/nvme 2>/dev/null | wc -l";
            Ok((self.cluster.node().script(script).await == "0").then_some(()))
        })
        .await
        .unwrap();
    }

    async fn clock(&self) -> f64 {
        let clock = self.cluster.node().script("echo $EPOCHREALTIME").await;
        clock.parse().unwrap()
    }

    /// The fault is over since `back`: every writer goes on in time, with no more errors
    /// than `toll` allows.
    async fn settle(&mut self, fault: &str, back: f64, toll: impl Fn(&Writer) -> (Toll, f64)) {
        for index in 0..self.writers.len() {
            let writer = &mut self.writers[index];
            let resumed = writer.resumed(back).await - back;
            let errors = writer.new_errors();
            let (toll, bound) = toll(writer);
            self.table.row(fault, writer, resumed, errors);
            if toll == Toll::Time {
                assert_eq!(errors, 0, "{fault}: {}", writer.name());
            }
            let slowest = writer.slowest_before(back);
            assert!(
                resumed <= bound + slowest,
                "{fault}: {} took {resumed:.2} s, at most {bound:.2} + {slowest:.2}",
                writer.name()
            );
        }
    }

    async fn link_cut(&mut self, fault: &str, length: Duration) {
        let appliance = self.cluster.appliance.guest();
        self.cluster.lab.cut(appliance).unwrap();
        tokio::time::sleep(length).await;
        let back = self.clock().await;
        self.cluster
            .lab
            .restore(self.cluster.appliance.guest())
            .unwrap();
        let given_up = length > Duration::from_secs(8);
        self.settle(fault, back, |writer| {
            if given_up && writer.name().starts_with("short") {
                (Toll::Errors, ENGINE)
            } else {
                (Toll::Time, f64::from(DELAY) + ATTEMPT)
            }
        })
        .await;
    }

    async fn power_cut(&mut self) {
        self.cluster.appliance.power_off().unwrap();
        self.cluster.appliance.power_on().await.unwrap();
        let back = self.clock().await;
        // The device opened its port before all of its subsystems were there: whoever came
        // in between was told not to retry.
        self.settle("power cut of the appliance", back, |_| {
            (Toll::Errors, ENGINE)
        })
        .await;
    }

    /// The exports go, and the kernel is told not to retry; then they come back, the last
    /// one first, so that devices get the names of others.
    async fn exports_removed(&mut self) {
        for writer in &self.writers {
            self.cluster.export(&writer.volume, false).await;
        }
        self.wait_for_none().await;
        for writer in self.writers.iter().rev() {
            self.cluster.export(&writer.volume, true).await;
        }
        let back = self.clock().await;
        self.settle("exports removed and made again", back, |_| {
            (Toll::Errors, ENGINE)
        })
        .await;
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
        self.wait_for_none().await;
        self.allow("").await;
        let back = self.clock().await;
        self.settle("host refused, then allowed", back, |_| {
            (Toll::Errors, ENGINE)
        })
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

    /// The plugin dies while the kernel reconnects, and again after the kernel gave some
    /// volumes up.
    async fn plugin_killed(&mut self) {
        self.export_all(false).await;
        self.wait_for("all sessions have noticed", "live", 0).await;
        self.cluster.nodes[0].crash().await;
        let is_short = |writer: &&Writer| writer.name().starts_with("short");
        let kept = self.writers.len() - self.writers.iter().filter(is_short).count();
        self.wait_for("some are given up", "connecting", kept).await;
        self.cluster.nodes[0].crash().await;
        self.export_all(true).await;
        let back = self.clock().await;
        // The port is open before the last export is there: whoever comes in between is
        // told not to retry.
        let fault = "plugin killed while connecting and after";
        self.settle(fault, back, |_| (Toll::Errors, ENGINE)).await;
    }

    /// Every export, the anchor's too, so that the port goes and comes.
    async fn export_all(&self, on: bool) {
        self.cluster.export(&self.anchor, on).await;
        for writer in &self.writers {
            self.cluster.export(&writer.volume, on).await;
        }
    }

    async fn end(mut self) {
        for writer in self.writers {
            let name = writer.name().to_owned();
            let bytes = writer.finish(&self.cluster).await;
            self.table.verified(&name, bytes);
        }
        self.table.print();
        self.anchor.delete(self.cluster.controller()).await.unwrap();
        assert_eq!(self.cluster.node().formats().await, 0, "formatted again");
        self.cluster.assert_clean().await;
    }
}

async fn matrix(multipath: bool) {
    let mut matrix = Matrix::begin(multipath).await;
    matrix
        .link_cut("link cut 1 s", Duration::from_secs(1))
        .await;
    matrix
        .link_cut("link cut 20 s", Duration::from_secs(20))
        .await;
    matrix.exports_removed().await;
    matrix.host_refused().await;
    matrix.plugin_killed().await;
    matrix.power_cut().await;
    matrix.end().await;
}

#[tokio::test]
async fn writers_outlive_every_fault_with_multipath() {
    matrix(true).await;
}

#[tokio::test]
async fn writers_outlive_every_fault_without_multipath() {
    matrix(false).await;
}
