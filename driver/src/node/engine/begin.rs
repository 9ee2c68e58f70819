//! What is begun for one volume, by the state of its session.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_cluster::NodeCluster;
use rds_csi_core::kind::Chain;
use rds_csi_core::session::doubt::Next;
use rds_csi_core::session::{State, backoff};
use rds_csi_core::volume_id::VolumeId;
use tracing::debug;

use super::action::{Action, Outcome};
use super::gate::Gate;
use super::tracked::Tracked;
use super::{claim, reconnect, recover};
use crate::node::Node;

/// How often the filesystem of a volume is looked at that seems to be well.
const EXAMINED: Duration = Duration::from_secs(60);

/// What an action needs of the engine.
pub(super) struct Means<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) cluster: Option<&'a Arc<dyn NodeCluster>>,
    pub(super) gates: &'a mut BTreeMap<(IpAddr, u16), Gate>,
    pub(super) asking: &'a mut bool,
    pub(super) now: Duration,
}

impl Means<'_> {
    /// What the volume's state asks for, if it is due.
    pub(super) fn begin(&mut self, id: &VolumeId, tracked: &mut Tracked) -> Option<Action> {
        match tracked.watch.state() {
            State::Removed => self.reconnect(id, tracked),
            State::Live if tracked.unproved && tracked.recoveries.is_due(self.now) => {
                Some(self.recover(id))
            }
            State::Live if tracked.is_to_be_examined(self.now) => Some(self.examine(id, tracked)),
            State::Connecting if tracked.is_hollow => tracked
                .reconnections
                .is_due(self.now)
                .then(|| self.rescan(id, tracked)),
            state @ (State::Live | State::Connecting) => self.doubt(id, tracked, state),
            State::Foreign | State::Unknown => None,
        }
    }

    fn reconnect(&mut self, id: &VolumeId, tracked: &Tracked) -> Option<Action> {
        let gate = self.gates.entry(tracked.address()).or_default();
        let is_due = tracked.reconnections.is_due(self.now)
            || (tracked.is_rejected && gate.may_probe(self.now));
        if !is_due || !gate.may_pass(self.now) {
            return None;
        }
        gate.enter();
        if tracked.is_rejected {
            gate.probe(id.as_str(), self.now);
        }
        let (id, node, cluster) = (id.clone(), self.node.clone(), self.cluster.cloned());
        let (session, staging) = (tracked.session.clone(), tracked.staging.clone());
        Some(Box::pin(async move {
            let cluster = cluster.as_deref();
            let outcome = reconnect::reconnect(&node, cluster, &session, &staging);
            (id, Outcome::Reconnected(outcome.await))
        }))
    }

    fn recover(&self, id: &VolumeId) -> Action {
        let (id, node, cluster) = (id.clone(), self.node.clone(), self.cluster.cloned());
        Box::pin(async move {
            let outcome = recover::recover(&node, cluster.as_deref(), &id).await;
            (id, Outcome::Recovered(outcome))
        })
    }

    fn examine(&self, id: &VolumeId, tracked: &mut Tracked) -> Action {
        let pause = backoff::spread(EXAMINED, id.as_str(), 0);
        tracked.examined = self.now.saturating_add(pause);
        let (id, node) = (id.clone(), self.node.clone());
        let at = tracked.session.staged_at.clone();
        Box::pin(async move {
            let is_dead = match at {
                Some(at) => node.host.has_shut_down(&at).await,
                None => Ok(false),
            };
            // Nobody can tell: the next time.
            (id, Outcome::Examined(is_dead.unwrap_or_default()))
        })
    }

    /// The device was there before its volume was, and not every one tells of it.
    fn rescan(&self, id: &VolumeId, tracked: &Tracked) -> Action {
        let (id, node) = (id.clone(), self.node.clone());
        let nqn = tracked.session.nqn.clone();
        Box::pin(async move {
            if let Err(failed) = node.host.rescan(&nqn).await {
                debug!(volume_id = %id, "rescanning: {}", Chain(&failed));
            }
            (id, Outcome::Rescanned)
        })
    }

    /// Asks whose the volume is, or acts on the answers.
    fn doubt(&mut self, id: &VolumeId, tracked: &Tracked, state: State) -> Option<Action> {
        let cluster = self.cluster.filter(|_| !tracked.is_hollow)?;
        let lost_for = tracked.watch.lost_for(self.now);
        let next = tracked.doubt.next(state, lost_for, self.now);
        if next == Next::Wait {
            return None;
        }
        let (id, node, cluster) = (id.clone(), self.node.clone(), cluster.clone());
        let (session, staging) = (tracked.session.clone(), tracked.staging.clone());
        match next {
            Next::Wait => None,
            Next::Ask if std::mem::replace(self.asking, true) => None,
            Next::Ask => Some(Box::pin(async move {
                let holding = claim::holding(&*cluster, &session).await;
                (id, Outcome::Asked(holding))
            })),
            Next::GiveUp | Next::Keep => Some(Box::pin(async move {
                let longer = next == Next::Keep;
                let was_done = claim::wait(&node, &session, &staging, longer).await;
                (id, Outcome::Waited { longer, was_done })
            })),
        }
    }
}
