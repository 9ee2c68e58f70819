//! The writers, and how they have to get over a fault.

use rds_csi_core::names::parameter::{CTRL_LOSS_TMO, RECONNECT_DELAY};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use super::table::Table;
use super::writer::Writer;
use crate::cluster::{Cluster, DEADLINE};

/// The kernel's `reconnect_delay`, in seconds.
const DELAY: u32 = 1;
/// How long the kernel's attempt under way can take to fail after the link is back.
const ATTEMPT: f64 = 1.0;
/// How long the engine may take for what the kernel gave up, on a machine that does other
/// things too. `hack/bench outage` holds the figure.
const ENGINE: f64 = 20.0;

/// What a fault may do to a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toll {
    /// It waits for the kernel and sees no error.
    Time,
    /// It may see errors, as its session's end is a matter of moments; with or without it
    /// goes on.
    Perhaps,
    /// Its session went, so it sees errors, and goes on once it opens the target again.
    Errors,
}

pub(super) struct Matrix {
    pub(super) cluster: Cluster,
    pub(super) writers: Vec<Writer>,
    /// A volume that nobody uses: while it is exported the port is open, and a host that
    /// asks for another one is told not to retry. Without any the port is closed.
    pub(super) anchor: Volume,
    /// How many other hosts of this identity there were.
    pub(super) twins: usize,
    table: Table,
}

impl Matrix {
    pub(super) async fn begin(multipath: bool) -> Self {
        let cluster = Cluster::boot_with(&["node-a"], multipath).await;
        let delay = DELAY.to_string();
        let claims = [
            Claim::filesystem("fault-ext4", 128, "ext4"),
            Claim::filesystem("fault-xfs", 320, "xfs"),
            Claim::block("fault-block", 128),
            Claim::filesystem("short-ext4", 128, "ext4").parameter(CTRL_LOSS_TMO, "4"),
            Claim::filesystem("short-xfs", 320, "xfs").parameter(CTRL_LOSS_TMO, "4"),
            Claim::block("short-block", 128).parameter(CTRL_LOSS_TMO, "4"),
        ];
        let mut writers = Vec::new();
        for claim in claims {
            let claim = claim.parameter(RECONNECT_DELAY, &delay);
            writers.push(Writer::start(&cluster, claim).await);
        }
        let anchor = Claim::block("anchor", 4).create(cluster.controller()).await;
        Self {
            cluster,
            writers,
            anchor: anchor.unwrap(),
            twins: 0,
            table: Table::default(),
        }
    }

    /// How many sessions the node has in a state.
    async fn sessions(&self, state: &str) -> usize {
        let script = "cat /sys/class/nvme/nvme*/state 2>/dev/null || true";
        let states = self.cluster.node().script(script).await;
        states.lines().filter(|line| *line == state).count()
    }

    pub(super) async fn wait_for(&self, what: &str, state: &str, count: usize) {
        until(what, DEADLINE, async || {
            Ok((self.sessions(state).await == count).then_some(()))
        })
        .await
        .unwrap();
    }

    /// The fault is over since `back`: every writer goes on in time, with no more errors
    /// than `toll` allows.
    pub(super) async fn settle(&mut self, fault: &str, back: f64, toll: impl Fn(&Writer) -> Toll) {
        for writer in &mut self.writers {
            let resumed = writer.resumed(back).await - back;
            let errors = writer.new_errors();
            self.table.row(fault, writer, resumed, errors);
            let bound = match toll(writer) {
                Toll::Time => {
                    assert_eq!(errors, 0, "{fault}: {}", writer.name());
                    f64::from(DELAY) + ATTEMPT
                }
                Toll::Perhaps if errors == 0 => f64::from(DELAY) + ATTEMPT,
                Toll::Perhaps => ENGINE,
                Toll::Errors => {
                    assert!(errors > 0, "{fault}: {} was spared", writer.name());
                    ENGINE
                }
            };
            let slowest = writer.slowest_before(back);
            assert!(
                resumed <= bound + slowest,
                "{fault}: {} took {resumed:.2} s, at most {bound:.2} + {slowest:.2}",
                writer.name()
            );
        }
    }

    /// Every record is read back, and nothing is left anywhere.
    pub(super) async fn end(mut self) {
        let is_formatted = |writer: &&Writer| writer.volume.claim.filesystem.is_some();
        let formatted = self.writers.iter().filter(is_formatted).count() as u64;
        for writer in self.writers {
            let name = writer.name().to_owned();
            let bytes = writer.finish(&self.cluster).await;
            self.table.verified(&name, bytes);
        }
        self.anchor.delete(self.cluster.controller()).await.unwrap();
        let formats = self.cluster.node().formats().await;
        assert_eq!(formats, formatted, "formatted again");
        self.cluster.assert_clean().await;
    }
}
