//! Keeps staged volumes accessible: watches their sessions, connects anew what the kernel
//! has given up, and hands the device back to whoever uses it.
//!
//! While the kernel reconnects by itself nothing is done but telling, and asking the cluster
//! now and then whether the volume is still this node's: where it was taken, the kernel is
//! told to give up, lest it write over what another node wrote. Once it has removed a session
//! ([`State::Removed`]) the engine connects, but only while the cluster says that the volume
//! is this node's, and only where the device answers at all: one probe for all volumes of an
//! address, also of a device that has none of them yet. What comes back is handed on only if
//! it is the volume that was staged; see [`rds_csi_core::session`] for the states and
//! `recover` for what consumers get.
//!
//! Whatever changes something holds the volume's guard, as a CSI call does, so that
//! neither meets the other, and a mere look holds none, so that no call is refused for
//! it. Actions are few at a time, and their failures back off, each volume by itself.
//! The engine never formats, never ends a session, and touches no volume that was staged
//! in another boot of the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use rds_csi_cluster::NodeCluster;
use rds_csi_core::kind::Chain;
use rds_csi_core::nvme::Subsystem;
use rds_csi_core::session::{Change, Sight, State, sight};
use rds_csi_core::volume_id::VolumeId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Node;

mod action;
mod begin;
mod claim;
mod gate;
mod outages;
mod reconnect;
mod records;
mod recover;
mod report;
mod tracked;
mod unused;

use action::Actions;
use gate::Gate;
use outages::{Notes, Outages};
pub(crate) use recover::Recovery;
use report::Reporter;
use tracked::Tracked;
use unused::Unused;

/// How often sessions are looked at while all are live.
pub(crate) const CALM: Duration = Duration::from_secs(3);
/// How often while one is not.
const TROUBLED: Duration = Duration::from_millis(500);
/// How long a session must have been live for its next loss to be no part of the last one:
/// a few looks, so that one fault soon after another is not waited out for half a minute.
const STEADY: Duration = Duration::from_secs(5);

/// The engine of one node.
#[derive(Debug)]
pub(crate) struct Engine {
    node: Arc<Node>,
    cluster: Option<Arc<dyn NodeCluster>>,
    begun: Instant,
    tracked: BTreeMap<VolumeId, Tracked>,
    gates: BTreeMap<(IpAddr, u16), Gate>,
    outages: Outages,
    /// Whether the cluster is being asked whose a volume is.
    asking: bool,
    /// Which records were found damaged, so that each is told once.
    damaged: Vec<String>,
    /// Why the records could not be read at all; they are to be read still.
    unread: Option<String>,
    unused: Unused,
    /// Which raw targets could not be taken away, as well.
    left: Vec<String>,
    reporter: Reporter,
}

impl Engine {
    /// An engine over the node's volumes. Without a cluster nobody can say whether a volume
    /// is still this node's, and every recorded one counts as its own.
    pub(crate) fn new(node: Arc<Node>, cluster: Option<Arc<dyn NodeCluster>>) -> Self {
        Self {
            reporter: Reporter::new(node.metrics.clone(), cluster.clone()),
            node,
            cluster,
            begun: Instant::now(),
            tracked: BTreeMap::new(),
            gates: BTreeMap::new(),
            outages: Outages::default(),
            asking: false,
            damaged: Vec::new(),
            unread: None,
            unused: Unused::default(),
            left: Vec::new(),
        }
    }

    /// Watches until `stop`, then lets the actions under way come to their end.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.node.registry.changes();
        let (mut actions, mut notes) = (Actions::new(), Notes::new());
        let posting = self.reporter.posting();
        tokio::pin!(posting);
        self.node.restore_loss_times().await;
        self.read_outages().await;
        self.reload().await;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut posting => {}
                Some((id, outcome)) = actions.next() => self.conclude(&id, outcome),
                Some(noted) = notes.next() => self.outages.conclude(noted),
                () = tokio::time::sleep_until(next) => {
                    // Not at the change itself: a pod is being started then.
                    if self.unread.is_some() || changes.has_changed().unwrap_or_default() {
                        changes.mark_unchanged();
                        self.reload().await;
                    }
                    self.look().await;
                    self.note_outages(&mut notes);
                    self.withdraw().await;
                    self.look_for_unused().await;
                    next = Instant::now() + self.pause();
                }
            }
            self.act(&mut actions);
            self.count();
        }
        while let Some(noted) = notes.next().await {
            self.outages.conclude(noted);
        }
        while let Some((id, outcome)) = actions.next().await {
            self.conclude(&id, outcome);
        }
    }

    /// The caller's clock of the state machines.
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn pause(&self) -> Duration {
        let calm = |tracked: &Tracked| {
            tracked.watch.state() == State::Live && !tracked.unproved && !tracked.busy
        };
        if self.tracked.values().all(calm) {
            CALM
        } else {
            TROUBLED
        }
    }

    /// Looks at every session; what has not changed costs next to nothing.
    async fn look(&mut self) {
        let nqns: Vec<_> = self
            .tracked
            .values()
            .map(|tracked| tracked.session.nqn.clone())
            .collect();
        if nqns.is_empty() {
            return;
        }
        match self.node.host.changed(&nqns).await {
            Ok(readings) => {
                let readings: BTreeMap<_, _> = readings.into_iter().collect();
                let ids: Vec<VolumeId> = self.tracked.keys().cloned().collect();
                for id in ids {
                    let Some(tracked) = self.tracked.get(&id) else {
                        continue;
                    };
                    let nqn = tracked.session.nqn.clone();
                    let reading = match readings.get(&nqn) {
                        Some(reading) => Ok(reading.clone()),
                        // As it was when it was read last, which a failed look has hidden.
                        None if tracked.watch.state() == State::Unknown => {
                            let read = self.node.host.subsystem(&nqn).await;
                            read.map_err(|failed| Chain(&failed).to_string())
                        }
                        None => continue,
                    };
                    self.see(&id, &reading);
                }
            }
            Err(failed) => {
                let words = Chain(&failed).to_string();
                let ids: Vec<VolumeId> = self.tracked.keys().cloned().collect();
                for id in ids {
                    self.see(&id, &Err(words.clone()));
                }
            }
        }
    }

    /// While a volume has no device, nothing leads to the number that it had.
    async fn withdraw(&mut self) {
        let is_removed = |tracked: &Tracked| tracked.watch.state() == State::Removed;
        let left = match self.tracked.values().any(is_removed) {
            true => self.node.withdraw_stale_targets(None).await,
            false => Vec::new(),
        };
        for words in left.iter().filter(|words| !self.left.contains(words)) {
            warn!("{words}");
        }
        self.left = left;
    }

    /// Takes in one look at one session.
    fn see(&mut self, id: &VolumeId, reading: &Result<Option<Subsystem>, String>) {
        let now = self.now();
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        let expected = self.node.expected(&tracked.session, &tracked.staging);
        let seen = sight(
            &expected,
            reading.as_ref().map(Option::as_ref).map_err(Clone::clone),
        );
        if let Sight::Live(namespace) = &seen {
            let before = tracked.number.replace(namespace.number);
            // It may have been lost and connected between two looks: no state tells of that.
            tracked.unproved |= before.is_some_and(|before| before != namespace.number);
        }
        tracked.is_hollow =
            matches!(reading, Ok(Some(found)) if found.is_live() && found.namespaces.is_empty());
        let stood = tracked.watch.in_state_for(now);
        let Some(transition) = tracked.watch.look(&seen, now) else {
            return;
        };
        tracked.doubt.moved(transition.to);
        match transition.change {
            Change::Lost => tracked.lost = Some(outages::now()),
            Change::Restored { .. } => {
                tracked.lost = None;
                tracked.unproved = true;
                tracked.examined = now;
                tracked.recoveries.succeeded();
            }
            Change::Same => {}
        }
        // What is lost again at once is not connected again at once.
        if transition.from == State::Live && stood >= STEADY {
            tracked.reconnections.succeeded();
        }
        self.reporter.transition(id, &transition);
    }

    fn count(&self) {
        let states = self.tracked.values().map(|tracked| tracked.watch.state());
        self.node.metrics.sessions(states);
    }
}

#[cfg(test)]
mod tests;
