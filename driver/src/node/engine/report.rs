//! What people and monitoring learn of sessions: a log line for each transition and none
//! for a look, numbers, and events on the claim.

use std::sync::Arc;

use rds_csi_cluster::{NodeCluster, Severity};
use rds_csi_core::kind::Chain;
use rds_csi_core::names::event;
use rds_csi_core::session::{Change, State, Transition};
use rds_csi_core::volume_id::VolumeId;
use tracing::{info, warn};

use super::Recovery;
use super::reconnect::Reconnection;
use crate::metrics::Metrics;
use crate::postbox::{Postbox, Waiting};

/// How many events may wait to be posted: an outage of all volumes of a node.
const WAITING: usize = 1024;

#[derive(Debug)]
pub(super) struct Reporter {
    metrics: Metrics,
    cluster: Option<Arc<dyn NodeCluster>>,
    events: Postbox<VolumeId>,
    waiting: Option<Waiting<VolumeId>>,
}

impl Reporter {
    pub(super) fn new(metrics: Metrics, cluster: Option<Arc<dyn NodeCluster>>) -> Self {
        let (events, waiting) = Postbox::new(WAITING, metrics.clone());
        Self {
            metrics,
            cluster,
            events,
            waiting: Some(waiting),
        }
    }

    /// Posts events as they come, for as long as it is polled. Taken a second time it posts
    /// none.
    pub(super) fn posting(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (waiting, cluster) = (self.waiting.take(), self.cluster.clone());
        async move {
            let (Some(mut waiting), Some(cluster)) = (waiting, cluster) else {
                return std::future::pending().await;
            };
            while let Some((id, notice)) = waiting.next().await {
                let outcome = cluster.post(&id, &notice).await;
                if let Some(failed) = waiting.posted(&notice, outcome) {
                    warn!(volume_id = %id, reason = notice.reason, "posting an event: {}", Chain(&failed));
                }
            }
        }
    }

    fn post(&self, id: &VolumeId, severity: Severity, reason: &'static str, message: String) {
        if self.cluster.is_some() {
            self.events.put(id.clone(), severity, reason, message);
        }
    }

    pub(super) fn transition(&self, id: &VolumeId, transition: &Transition) {
        let Transition {
            from,
            to,
            seen,
            change,
        } = transition;
        match change {
            Change::Lost => {
                self.metrics.session_lost();
                warn!(volume_id = %id, %from, %to, seen, "the connection is lost: I/O waits or fails");
                let next = match to {
                    State::Removed => "the kernel has given it up, and the driver connects it anew",
                    State::Foreign => "nothing is touched",
                    State::Connecting | State::Live | State::Unknown => {
                        "the kernel connects it again"
                    }
                };
                let seen = if seen.is_empty() {
                    "no session is left"
                } else {
                    seen
                };
                let message =
                    format!("the node lost its connection to the volume ({seen}); {next}");
                self.post(id, Severity::Warning, event::CONNECTION_FAILURE, message);
            }
            Change::Restored { after } => {
                self.metrics.session_restored(*after);
                let after_s = after.as_secs_f64();
                info!(volume_id = %id, %from, %to, seen, after_s, "the connection is back");
                let message = format!("the connection to the volume is back after {after_s:.1} s");
                self.post(id, Severity::Normal, event::CONNECTION_RECOVERY, message);
            }
            Change::Same => {
                info!(volume_id = %id, %from, %to, seen, "the session changed its state");
                if *to == State::Foreign {
                    self.stuck(id, seen);
                }
            }
        }
    }

    pub(super) fn reconnected(&self, reconnection: &Reconnection) {
        self.metrics.session_reconnect(match reconnection {
            Reconnection::Connected => "ok",
            Reconnection::Busy => return,
            Reconnection::NoAnswer => "no_answer",
            Reconnection::NotOurs(_) => "not_ours",
            Reconnection::Rejected(_) | Reconnection::Failed(_) => "error",
        });
    }

    pub(super) fn recovered(&self, id: &VolumeId, recovery: &Recovery) {
        if !recovery.replaced {
            return;
        }
        self.metrics.stale_recovery(true);
        let targets = recovery.targets;
        info!(volume_id = %id, targets, "the volume came back as another device, and its targets have it");
        let message = format!(
            "the volume came back as another device; it was staged and published anew at {targets} targets. Containers that were running keep the dead one: restart their pods"
        );
        self.post(id, Severity::Warning, event::DEVICE_REPLACED, message);
    }

    pub(super) fn recovery_failed(&self) {
        self.metrics.stale_recovery(false);
    }

    /// The volume does not come back, and why.
    pub(super) fn stuck(&self, id: &VolumeId, words: &str) {
        let message = format!("the volume does not come back by itself yet: {words}");
        self.post(id, Severity::Warning, event::RECOVERY_FAILED, message);
    }
}
