//! Keeps staged volumes accessible: watches their sessions, connects anew what the kernel
//! has given up, and hands the device back to whoever uses it.
//!
//! While the kernel reconnects by itself nothing is done but telling. Once it has removed
//! a session ([`State::Removed`]) the engine connects, but only while the cluster says
//! that the volume is this node's, and only where the device answers at all: one probe
//! for all volumes of an address. What comes back is handed on only if it is the volume
//! that was staged; see [`rds_csi_core::session`] for the states and `recover` for what
//! consumers get.
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
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rds_csi_core::kind::Chain;
use rds_csi_core::nvme::Subsystem;
use rds_csi_core::session::backoff::Backoff;
use rds_csi_core::session::{Change, State, Watch, sight};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::registry::{Session, Staging};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Node;
use crate::cluster::NodeCluster;

mod gate;
mod reconnect;
mod recover;
mod report;
mod tracked;

use gate::Gate;
use reconnect::Reconnection;
pub(crate) use recover::Recovery;
use report::Reporter;
use tracked::{Tracked, expected};

/// How often sessions are looked at while all are live.
const CALM: Duration = Duration::from_secs(3);
/// How often while one is not.
const TROUBLED: Duration = Duration::from_millis(500);
/// How many volumes are acted on at once.
const AT_ONCE: usize = 8;

/// The engine of one node.
#[derive(Debug)]
pub(crate) struct Engine {
    node: Arc<Node>,
    cluster: Option<Arc<dyn NodeCluster>>,
    begun: Instant,
    tracked: BTreeMap<VolumeId, Tracked>,
    gates: BTreeMap<(IpAddr, u16), Gate>,
    /// Which records were found damaged, so that each is told once.
    damaged: Vec<String>,
    /// Which raw targets could not be taken away, as well.
    left: Vec<String>,
    reporter: Reporter,
}

/// What came of an action.
#[derive(Debug)]
enum Outcome {
    Reconnected(Reconnection),
    /// `None` where a CSI call on the volume was under way.
    Recovered(Result<Option<Recovery>, String>),
}

type Actions = FuturesUnordered<BoxFuture<'static, (VolumeId, Outcome)>>;

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
            damaged: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Watches until `stop`, then lets the actions under way come to their end.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.node.registry.changes();
        let mut actions = Actions::new();
        let posting = self.reporter.posting();
        tokio::pin!(posting);
        self.node.restore_loss_times().await;
        self.reload(true).await;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut posting => {}
                Some((id, outcome)) = actions.next() => self.conclude(&id, outcome),
                () = tokio::time::sleep_until(next) => {
                    // Not at the change itself: a pod is being started then.
                    if changes.has_changed().unwrap_or_default() {
                        changes.mark_unchanged();
                        self.reload(false).await;
                    }
                    self.look().await;
                    self.withdraw().await;
                    next = Instant::now() + self.pause();
                }
            }
            self.act(&mut actions);
            self.count();
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

    /// Takes in the records: which volumes are staged here, in this boot. `first` is at
    /// the start of a process, which knows nothing of what went before.
    async fn reload(&mut self, first: bool) {
        let (sessions, damaged) = match self.node.registry.readable().await {
            Ok(records) => records,
            Err(failed) => {
                error!(
                    "the sessions of this node are not known: {}",
                    Chain(&failed)
                );
                return;
            }
        };
        let damaged: Vec<String> = damaged.iter().map(ToString::to_string).collect();
        for words in damaged.iter().filter(|words| !self.damaged.contains(words)) {
            error!("{words}; its volume is not watched");
        }
        self.damaged = damaged;
        let now = self.now();
        let mut before = std::mem::take(&mut self.tracked);
        for session in sessions {
            let Some(staging) = self.staged_now(&session) else {
                continue;
            };
            let id = session.volume.clone();
            let tracked = match before.remove(&id) {
                Some(tracked) => Tracked {
                    session,
                    staging,
                    ..tracked
                },
                None => Tracked {
                    unproved: first || !session.targets.is_empty() || session.recovery.is_some(),
                    session,
                    staging,
                    watch: Watch::new(now),
                    backoff: Backoff::default(),
                    busy: false,
                    told: String::new(),
                },
            };
            self.tracked.insert(id, tracked);
        }
        let used: Vec<_> = self.tracked.values().map(Tracked::address).collect();
        self.gates.retain(|address, _| used.contains(address));
    }

    /// How the volume is staged, if it is, in this boot of the machine.
    fn staged_now(&self, session: &Session) -> Option<Staging> {
        session.staged_at.as_ref()?;
        let staging = session.staging.clone();
        staging.filter(|_| self.node.is_of_this_boot(session))
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
        let host = self.node.settings.identity.nqn.clone();
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        let expected = expected(&tracked.session, &tracked.staging, &host);
        let seen = sight(
            &expected,
            reading.as_ref().map(Option::as_ref).map_err(Clone::clone),
        );
        let Some(transition) = tracked.watch.look(&seen, now) else {
            return;
        };
        if let Change::Restored { .. } = transition.change {
            tracked.unproved = true;
        }
        if transition.to == State::Live || transition.to == State::Removed {
            tracked.backoff.succeeded();
        }
        self.reporter.transition(id, &transition);
    }

    /// Begins what the states ask for, as far as there is room.
    fn act(&mut self, actions: &mut Actions) {
        let now = self.now();
        for (id, tracked) in &mut self.tracked {
            if actions.len() >= AT_ONCE {
                return;
            }
            if tracked.busy || !tracked.backoff.is_due(now) {
                continue;
            }
            let state = tracked.watch.state();
            let gate = self.gates.entry(tracked.address()).or_default();
            let reconnects = state == State::Removed && gate.may_pass(now);
            if !(reconnects || state == State::Live && tracked.unproved) {
                continue;
            }
            tracked.busy = true;
            let node = self.node.clone();
            let (id, cluster) = (id.clone(), self.cluster.clone());
            if reconnects {
                gate.enter();
                let (session, staging) = (tracked.session.clone(), tracked.staging.clone());
                actions.push(Box::pin(async move {
                    let cluster = cluster.as_deref();
                    let outcome = reconnect::reconnect(&node, cluster, &session, &staging);
                    (id, Outcome::Reconnected(outcome.await))
                }));
            } else {
                actions.push(Box::pin(async move {
                    let outcome = recover::recover(&node, cluster.as_deref(), &id).await;
                    (id, Outcome::Recovered(outcome))
                }));
            }
        }
    }

    /// Takes in what came of an action.
    fn conclude(&mut self, id: &VolumeId, outcome: Outcome) {
        let now = self.now();
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        tracked.busy = false;
        match outcome {
            Outcome::Reconnected(reconnection) => {
                let gate = self.gates.entry(tracked.address()).or_default();
                gate.leave(!matches!(reconnection, Reconnection::NoAnswer), now);
                self.reporter.reconnected(&reconnection);
                match reconnection {
                    // The next look finds it, or that it is gone again.
                    Reconnection::Connected => {
                        tracked.backoff.succeeded();
                        tracked.backoff.put_off(TROUBLED, now);
                    }
                    Reconnection::Busy => tracked.backoff.put_off(TROUBLED, now),
                    // The gate says when to try again, for all volumes there.
                    Reconnection::NoAnswer => {}
                    Reconnection::NotOurs(words) | Reconnection::Failed(words) => {
                        tracked.backoff.failed(id.as_str(), now);
                        tracked.tell(&mut self.reporter, id, words);
                    }
                }
            }
            Outcome::Recovered(Ok(None)) => tracked.backoff.put_off(TROUBLED, now),
            Outcome::Recovered(Ok(Some(recovery))) => {
                tracked.backoff.succeeded();
                tracked.unproved = false;
                tracked.told.clear();
                self.reporter.recovered(id, &recovery);
            }
            Outcome::Recovered(Err(words)) => {
                tracked.backoff.failed(id.as_str(), now);
                self.reporter.recovery_failed();
                tracked.tell(&mut self.reporter, id, words);
            }
        }
    }

    fn count(&self) {
        let states = self.tracked.values().map(|tracked| tracked.watch.state());
        self.node.metrics.sessions(states);
    }
}

#[cfg(test)]
mod tests;
