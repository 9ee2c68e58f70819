//! What is done about the states of sessions, a few volumes at a time.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rds_csi_core::session::backoff;
use rds_csi_core::session::doubt::Holding;
use rds_csi_core::volume_id::VolumeId;

use super::begin::Means;
use super::reconnect::Reconnection;
use super::recover::Recovery;
use super::{Engine, TROUBLED, claim};
use crate::node::stats;

/// How many volumes are acted on at once.
const AT_ONCE: usize = 8;

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

pub(super) type Action = BoxFuture<'static, (VolumeId, Outcome)>;
pub(super) type Actions = FuturesUnordered<Action>;

impl Engine {
    /// Begins what the states ask for, as far as there is room; who has waited longest
    /// goes first, so that one that fails again and again stands in nobody's way.
    pub(super) fn act(&mut self, actions: &mut Actions) {
        let now = self.now();
        let mut idle: Vec<_> = self.tracked.iter_mut().collect();
        idle.retain(|(_, tracked)| !tracked.busy);
        idle.sort_by_key(|(_, tracked)| tracked.tried);
        let mut means = Means {
            node: &self.node,
            cluster: self.cluster.as_ref(),
            gates: &mut self.gates,
            asking: &mut self.asking,
            now,
        };
        for (id, tracked) in idle {
            if actions.len() >= AT_ONCE {
                return;
            }
            if let Some(action) = means.begin(id, tracked) {
                actions.push(action);
                tracked.busy = true;
                tracked.tried = now;
            }
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
