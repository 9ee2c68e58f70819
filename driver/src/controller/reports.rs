//! What people and monitoring learn of attachments, migrations and leftovers: numbers, and
//! events on the claim.
//!
//! A refusal that comes again in the same words, as they do until their cause is gone, is told
//! once in a while, and so is a node that is not shut out. Where another pod or migration stands
//! in the way by now, the words are others, and are told at once.

use std::sync::Arc;

use rds_csi_cluster::{Cluster, Severity};
use rds_csi_core::attachment::fence::Lost;
use rds_csi_core::attachment::leftovers::Leftover;
use rds_csi_core::attachment::observation::{Pod, VolumeAttachment};
use rds_csi_core::attachment::{Denial, Finding, Noted, Reason, Rule, Verdict};
use rds_csi_core::kind::Chain;
use rds_csi_core::names::event;
use tracing::warn;

mod lately;
mod migration;

use lately::Lately;

use super::error::ControllerError;
use crate::metrics::Metrics;
use crate::postbox::{Postbox, Waiting};

/// How many events may wait to be posted: an evacuation of a node.
const WAITING: usize = 256;

/// The events that wait to be posted, by the name of the PersistentVolume.
pub(crate) type Events = Waiting<String>;

/// Posts events as they come, for ever.
pub(crate) async fn post(mut events: Events, cluster: &dyn Cluster) {
    while let Some((volume, notice)) = events.next().await {
        let outcome = cluster.post(&volume, &notice).await;
        if let Some(failed) = events.posted(&notice, outcome) {
            warn!(
                volume,
                reason = notice.reason,
                "posting an event: {}",
                Chain(&failed)
            );
        }
    }
}

/// What was done about a node that may still write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FenceTold {
    /// It was shut out.
    Done,
    /// It would have been.
    Recorded,
    /// It is not while the export is in use.
    InUse,
}

/// Counts and tells. Clones share all of it.
#[derive(Debug, Clone)]
pub(crate) struct Reports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    events: Postbox<String>,
    /// Which refusals were told: volume, and the words, which name the node. No words have times
    /// or counts in them that differ each time.
    told: Lately<(String, String)>,
    /// Of which lost attachments it was told that they are not shut out, and beside which node.
    unfenced: Lately<(FenceTold, String, String)>,
}

impl Reports {
    pub(crate) fn new(metrics: Metrics) -> (Self, Events) {
        let (events, waiting) = Postbox::new(WAITING, metrics.clone());
        let inner = Inner {
            metrics,
            events,
            told: Lately::default(),
            unfenced: Lately::default(),
        };
        (Self(Arc::new(inner)), waiting)
    }

    fn post(&self, volume: &str, severity: Severity, reason: &'static str, message: String) {
        self.0
            .events
            .put(volume.to_owned(), severity, reason, message);
    }

    /// Attachments stand in the record that were never granted before.
    pub(crate) fn granted(&self, count: usize) {
        self.0.metrics.attachments_granted(count);
    }

    /// What was said to a node that asks for a volume.
    pub(crate) fn judged(&self, volume: &str, node: &str, verdict: &Verdict, noted: &[Noted]) {
        let metrics = &self.0.metrics;
        if let Verdict::Deny(denial) = verdict {
            metrics.attachment_conflict(denial.rule.as_str());
            let message = format!("node {node} does not get the volume: {denial}");
            self.conflict(volume, message);
        }
        for Noted { mode, finding } in noted {
            let Finding::Denial(denial) = finding else {
                continue;
            };
            metrics.attachment_rule_relaxed(denial.rule.as_str(), mode.as_str());
            if mode.is_told() {
                let message =
                    format!("node {node} gets the volume although the rule is not kept: {denial}");
                self.conflict(volume, message);
            }
        }
    }

    /// A node does not get the volume, as a lost one may still write and no pod needs it shut out.
    pub(crate) fn unneeded(&self, volume: &str, refused: &ControllerError) {
        self.0.metrics.attachment_conflict(Rule::NodeLoss.as_str());
        self.conflict(volume, refused.to_string());
    }

    /// What was done about nodes that had a volume before `node` and may still write. That
    /// nothing was is seen when they are let go of and at each attachment that follows.
    pub(crate) fn fence(&self, volume: &str, node: &str, told: FenceTold, lost: &[Lost]) {
        if told != FenceTold::Done && !self.is_news(told, node, lost) {
            return;
        }
        let lost = names(lost);
        let had = format!("{lost} had the volume and was never known to let go of it");
        let (result, message) = match told {
            FenceTold::Done => (
                "done",
                format!(
                    "{had}: its export was ended, and begun anew under another name, before node {node} got the volume"
                ),
            ),
            FenceTold::Recorded => (
                "recorded",
                format!(
                    "{had}; node {node} has the volume all the same, as fencing is only recorded. Make sure that its machine is off"
                ),
            ),
            FenceTold::InUse => (
                "in_use",
                format!(
                    "{had}, and is not shut out while the volume is in use, as a running machine would lose it too. Make sure that its machine is off; it is shut out when the volume is next attached to one node alone"
                ),
            ),
        };
        self.0.metrics.fence(result);
        warn!(volume, node, "{message}");
        self.post(volume, Severity::Warning, event::ATTACHMENT_FENCED, message);
    }

    fn is_news(&self, told: FenceTold, node: &str, lost: &[Lost]) -> bool {
        let uids: Vec<&str> = lost.iter().map(|lost| lost.attachment.as_str()).collect();
        self.0
            .unfenced
            .is_news((told, node.to_owned(), uids.join(" ")))
    }

    /// A node was granted a volume, and that is written down.
    pub(crate) fn allowed(&self, volume: &str, node: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Allow(Reason::Excepted { reason, until }) => {
                self.0.metrics.attachment_exception();
                warn!(volume, node, reason, %until, "attached by an exception");
            }
            Verdict::Allow(Reason::Reader { pod }) => {
                let message = format!(
                    "node {node} has the volume beside another one, for pod {pod} that reads it: until this attachment is gone every pod there is refused writes. One that writes is to be deleted, and made anew once that is so"
                );
                self.post(volume, Severity::Normal, event::ATTACHED_READ_ONLY, message);
            }
            Verdict::Allow(_)
            | Verdict::AllowAsMigration(_)
            | Verdict::Deny(_)
            | Verdict::Unknown(_) => {}
        }
    }

    /// A node that may still write keeps a volume.
    pub(crate) fn kept(&self, denial: &Denial) {
        self.0.metrics.attachment_kept(denial.rule.as_str());
    }

    fn conflict(&self, volume: &str, message: String) {
        let key = (volume.to_owned(), message.clone());
        if self.0.told.is_news(key) {
            self.post(
                volume,
                Severity::Warning,
                event::ATTACHMENT_CONFLICT,
                message,
            );
        }
    }

    /// How many migrations there are.
    pub(crate) fn migrations(&self, active: usize) {
        self.0.metrics.active_migrations(active);
    }

    /// The attachment to a node that exists no more was asked to leave.
    pub(crate) fn cleared(&self, leftover: &Leftover) {
        self.0.metrics.stale_attachment_cleared();
        let VolumeAttachment { name, node, .. } = &leftover.attachment;
        let (since, minutes) = (&leftover.since, leftover.after.as_secs() / 60);
        let message = format!(
            "VolumeAttachment {name} was deleted: there has been no node {node} since {since}, for {minutes} min, and no pod of the claim stands there. Once it is gone another node gets the volume: switch off every machine that still runs under the name {node}, or it writes to the volume too"
        );
        self.leftover(leftover, event::STALE_ATTACHMENT_CLEARED, message);
    }

    /// One is leaving and does not go.
    pub(crate) fn hangs(&self, leftover: &Leftover) {
        let name = &leftover.attachment.name;
        let why = format!(
            "it is being deleted and does not go. external-attacher takes it away where it runs and finds the PersistentVolume. To see it: kubectl describe volumeattachment {name}"
        );
        self.stays(leftover, &why);
    }

    /// One is not asked to leave, for a pod.
    pub(crate) fn stays_for(&self, leftover: &Leftover, pod: &Pod) {
        let Pod {
            namespace, name, ..
        } = pod;
        let why = format!(
            "pod {namespace}/{name} may use the volume there. To see it: kubectl describe pod -n {namespace} {name}"
        );
        self.stays(leftover, &why);
    }

    /// One is not asked to leave, as nothing would keep its node from writing.
    pub(crate) fn stays_unfenced(&self, leftover: &Leftover) {
        let name = &leftover.attachment.name;
        let why = format!(
            "it is cleared with --fencing=enforce alone, as the machine may run on and write. Once it is certainly off: kubectl delete volumeattachment {name}"
        );
        self.stays(leftover, &why);
    }

    fn stays(&self, leftover: &Leftover, why: &str) {
        let VolumeAttachment { name, node, .. } = &leftover.attachment;
        let since = &leftover.since;
        let message = format!(
            "VolumeAttachment {name} stays although there has been no node {node} since {since}: {why}"
        );
        self.leftover(leftover, event::STALE_ATTACHMENT_STAYS, message);
    }

    /// To the log too: the PersistentVolume may be gone, and nobody be told by it.
    fn leftover(&self, leftover: &Leftover, reason: &'static str, message: String) {
        let volume = &leftover.attachment.persistent_volume;
        warn!(volume, reason, "{message}");
        self.post(volume, Severity::Warning, reason, message);
    }

    /// How many attachments there are to nodes that exist no more.
    pub(crate) fn leftovers(&self, count: usize) {
        self.0.metrics.stale_attachments(count);
    }
}

/// Who was lost, in words.
pub(crate) fn names(lost: &[Lost]) -> String {
    let names: Vec<String> = lost.iter().map(Lost::to_string).collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests;
