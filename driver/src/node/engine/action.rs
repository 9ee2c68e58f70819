//! What is done about the states of sessions, a few volumes at a time.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rds_csi_core::kind::Chain;
use rds_csi_core::session::doubt::{Holding, Next};
use rds_csi_core::session::{State, backoff};
use rds_csi_core::volume_id::VolumeId;
use tracing::debug;

use super::reconnect::{self, Reconnection};
use super::recover::{self, Recovery};
use super::{Engine, TROUBLED, claim};
use crate::node::stats;

/// How many volumes are acted on at once.
const AT_ONCE: usize = 8;

/// How often the filesystem of a volume is looked at that seems to be well.
const EXAMINED: Duration = Duration::from_secs(60);

/// After how many looks for a namespace in vain somebody is told.
const HOLLOW: u32 = 4;

/// What came of an action.
#[derive(Debug)]
pub(super) enum Outcome {
    Reconnected(Reconnection),
    Rescanned,
    /// Whether its filesystem has shut down.
    Examined(bool),
    /// What the cluster says of it.
    Asked(Holding),
    /// The kernel was told to wait for it no longer, or again; whether it took that.
    Waited {
        longer: bool,
        was_done: bool,
    },
    /// `None` where a CSI call on the volume was under way.
    Recovered(Result<Option<Recovery>, String>),
}

pub(super) type Actions = FuturesUnordered<BoxFuture<'static, (VolumeId, Outcome)>>;

impl Engine {
    /// Begins what the states ask for, as far as there is room; who has waited longest
    /// goes first, so that one that fails again and again stands in nobody's way.
    pub(super) fn act(&mut self, actions: &mut Actions) {
        let now = self.now();
        let mut idle: Vec<_> = self.tracked.iter_mut().collect();
        idle.retain(|(_, tracked)| !tracked.busy);
        idle.sort_by_key(|(_, tracked)| tracked.tried);
        for (id, tracked) in idle {
            if actions.len() >= AT_ONCE {
                return;
            }
            let (node, cluster) = (self.node.clone(), self.cluster.clone());
            match tracked.watch.state() {
                State::Removed => {
                    let gate = self.gates.entry(tracked.address()).or_default();
                    let is_due = tracked.reconnections.is_due(now)
                        || (tracked.is_rejected && gate.may_probe(now));
                    if !is_due || !gate.may_pass(now) {
                        continue;
                    }
                    gate.enter();
                    if tracked.is_rejected {
                        gate.probe(id.as_str(), now);
                    }
                    let id = id.clone();
                    let (session, staging) = (tracked.session.clone(), tracked.staging.clone());
                    actions.push(Box::pin(async move {
                        let cluster = cluster.as_deref();
                        let outcome = reconnect::reconnect(&node, cluster, &session, &staging);
                        (id, Outcome::Reconnected(outcome.await))
                    }));
                }
                State::Live if tracked.unproved && tracked.recoveries.is_due(now) => {
                    let id = id.clone();
                    actions.push(Box::pin(async move {
                        let outcome = recover::recover(&node, cluster.as_deref(), &id).await;
                        (id, Outcome::Recovered(outcome))
                    }));
                }
                // The device was there before its volume was, and not every one tells of it.
                State::Connecting if tracked.is_hollow && tracked.reconnections.is_due(now) => {
                    let (id, nqn) = (id.clone(), tracked.session.nqn.clone());
                    actions.push(Box::pin(async move {
                        if let Err(failed) = node.host.rescan(&nqn).await {
                            debug!(volume_id = %id, "rescanning: {}", Chain(&failed));
                        }
                        (id, Outcome::Rescanned)
                    }));
                }
                State::Live if tracked.is_to_be_examined(now) => {
                    let pause = backoff::spread(EXAMINED, id.as_str(), 0);
                    tracked.examined = now.saturating_add(pause);
                    let (id, at) = (id.clone(), tracked.session.staged_at.clone());
                    actions.push(Box::pin(async move {
                        let is_dead = match at {
                            Some(at) => node.host.has_shut_down(&at).await,
                            None => Ok(false),
                        };
                        // Nobody can tell: the next time.
                        (id, Outcome::Examined(is_dead.unwrap_or_default()))
                    }));
                }
                state @ (State::Live | State::Connecting) => {
                    let Some(cluster) = cluster.filter(|_| !tracked.is_hollow) else {
                        continue;
                    };
                    let lost_for = tracked.watch.lost_for(now);
                    let next = tracked.doubt.next(state, lost_for, now);
                    let id = id.clone();
                    let (session, staging) = (tracked.session.clone(), tracked.staging.clone());
                    match next {
                        Next::Wait => continue,
                        Next::Ask if std::mem::replace(&mut self.asking, true) => continue,
                        Next::Ask => actions.push(Box::pin(async move {
                            let holding = claim::holding(&*cluster, &session).await;
                            (id, Outcome::Asked(holding))
                        })),
                        Next::GiveUp | Next::Keep => actions.push(Box::pin(async move {
                            let longer = next == Next::Keep;
                            let was_done = claim::wait(&node, &session, &staging, longer).await;
                            (id, Outcome::Waited { longer, was_done })
                        })),
                    }
                }
                State::Foreign | State::Unknown => continue,
            }
            tracked.busy = true;
            tracked.tried = now;
        }
    }

    /// Takes in what came of an action.
    pub(super) fn conclude(&mut self, id: &VolumeId, outcome: Outcome) {
        let now = self.now();
        if matches!(outcome, Outcome::Asked(_)) {
            self.asking = false;
        }
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        tracked.busy = false;
        match outcome {
            Outcome::Examined(is_dead) => {
                if is_dead {
                    tracked.tell(&mut self.reporter, id, stats::SHUT_DOWN.to_owned());
                }
            }
            Outcome::Asked(holding) => tracked.doubt.heard(holding, id.as_str(), now),
            Outcome::Waited { longer, was_done } => {
                tracked.doubt.acted(was_done, now);
                if was_done && !longer {
                    tracked.tell(&mut self.reporter, id, claim::TAKEN.to_owned());
                }
            }
            Outcome::Rescanned => {
                tracked.reconnections.failed(id.as_str(), now);
                if tracked.reconnections.failures() == HOLLOW {
                    let words = "the device is connected and shows no namespace of it".to_owned();
                    tracked.tell(&mut self.reporter, id, words);
                }
            }
            Outcome::Reconnected(reconnection) => self.reconnected(id, reconnection),
            Outcome::Recovered(recovery) => self.recovered(id, recovery),
        }
    }

    fn reconnected(&mut self, id: &VolumeId, reconnection: Reconnection) {
        let now = self.now();
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        let gate = self.gates.entry(tracked.address()).or_default();
        gate.leave(!matches!(reconnection, Reconnection::NoAnswer), now);
        self.reporter.reconnected(&reconnection);
        if reconnection != Reconnection::Busy {
            tracked.is_rejected = matches!(reconnection, Reconnection::Rejected(_));
        }
        match reconnection {
            // The next look finds it, or that it is gone again.
            Reconnection::Connected => {
                tracked.reconnections.failed(id.as_str(), now);
                if gate.accept() {
                    let address = tracked.address();
                    self.hasten_rejected(address, now);
                }
            }
            Reconnection::Busy => tracked.reconnections.put_off(TROUBLED, now),
            // The gate says when to try again, for all volumes there.
            Reconnection::NoAnswer => {}
            Reconnection::Rejected(words) => {
                gate.reject(id.as_str(), now);
                tracked.reconnections.failed(id.as_str(), now);
                tracked.tell(&mut self.reporter, id, words);
            }
            Reconnection::NotOurs(words) | Reconnection::Failed(words) => {
                tracked.reconnections.failed(id.as_str(), now);
                tracked.tell(&mut self.reporter, id, words);
            }
        }
    }

    /// The device has exports again: what it rejected is worth an attempt. Not one that was
    /// tried just now, so that the one that stays away is not tried with each of the others.
    fn hasten_rejected(&mut self, address: (IpAddr, u16), now: Duration) {
        for tracked in self.tracked.values_mut() {
            if tracked.is_rejected && tracked.address() == address {
                let due = tracked.tried.saturating_add(backoff::FIRST).max(now);
                tracked.reconnections.hasten(due);
            }
        }
    }

    fn recovered(&mut self, id: &VolumeId, recovery: Result<Option<Recovery>, String>) {
        let now = self.now();
        let Some(tracked) = self.tracked.get_mut(id) else {
            return;
        };
        match recovery {
            Ok(None) => tracked.recoveries.put_off(TROUBLED, now),
            Ok(Some(recovery)) => {
                tracked.recoveries.succeeded();
                tracked.unproved = false;
                tracked.told.clear();
                self.reporter.recovered(id, &recovery);
            }
            Err(words) => {
                tracked.recoveries.failed(id.as_str(), now);
                self.reporter.recovery_failed();
                tracked.tell(&mut self.reporter, id, words);
            }
        }
    }
}
