//! Attachments as a cluster shows them.
//!
//! Every decision is made from readings of its own: the PersistentVolume first, then the
//! VolumeAttachments, then one write over the version that was read. Nothing is kept
//! between calls, so several processes decide as one; see [`grant`].

mod finding;
mod release;

use std::sync::Arc;
use std::time::Duration;

use rds_csi_cluster::{
    Cluster, ClusterError, Look, PersistentVolume, Reader, attachments_of, now, observed,
};
use rds_csi_core::attachment::fence::Lost;
use rds_csi_core::attachment::grant::{Grant, GrantError, Observed, Record};
use rds_csi_core::attachment::observation::{Unread, VolumeAttachment};
use rds_csi_core::attachment::{
    Fence, Fencing, HandOver, Judgement, Modes, NodeIdentity, Request, Seat, Verdict,
};
use rds_csi_core::cluster_id::ClusterId;
use rds_csi_core::names::{DriverName, annotation};
use tokio::time::timeout;

use super::{Due, Granted, Wanted};
use crate::controller::error::ControllerError;
use crate::controller::probe::Sessions;
use crate::controller::reports::{FenceTold, Reports, names};

/// How long a decision may take in all.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a decision is made anew because the PersistentVolume changed under it.
const ATTEMPTS: u32 = 3;

/// The attachments of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct InCluster {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) driver: DriverName,
    /// Whose volumes these are.
    pub(crate) owner: ClusterId,
    /// How strictly the rules are held.
    pub(crate) modes: Modes,
    /// Whether the array shuts out who may still write.
    pub(crate) fencing: Fencing,
    /// Who is told.
    pub(crate) reports: Reports,
}

/// What a decision leaves to be written, to be done, and to be told once it is written.
struct Settled {
    record: Record,
    /// What the export must begin first.
    due: Option<Due>,
    told: Option<(FenceTold, Vec<Lost>)>,
}

impl InCluster {
    /// See [`super::Attachments::attach`].
    pub(crate) async fn attach(&self, wanted: &Wanted<'_>) -> Result<Granted, ControllerError> {
        within_deadline(async {
            for _ in 1..ATTEMPTS {
                match self.decide(wanted).await {
                    Err(ControllerError::Cluster(ClusterError::Changed { .. })) => {}
                    decided => return decided,
                }
            }
            self.decide(wanted).await
        })
        .await
    }

    fn reader(&self) -> &dyn Reader {
        &*self.cluster
    }

    async fn decide(&self, wanted: &Wanted<'_>) -> Result<Granted, ControllerError> {
        let refused = |source| ControllerError::NotAsked {
            id: wanted.id.clone(),
            source: Box::new(source),
        };
        let Some(volume) = self.persistent_volume(wanted).await? else {
            let node = wanted.node.to_owned();
            return Err(refused(GrantError::NotAsked { node }));
        };
        // After the PersistentVolume: whoever is in its record and not here is gone.
        let all = self.cluster.volume_attachments().await?;
        let attachments = attachments_of(&self.driver, wanted.id, &volume, &all);
        let observed = observed(&self.driver, &volume, &attachments);
        observed.asked_by(wanted.node).map_err(refused)?;
        let mut look = Look::of(self.reader(), &self.driver, wanted.id, &volume, &all);
        let verdict = self.judge(wanted, &volume, &mut look).await?;
        let reader = verdict.is_for_readers();
        // Read after the record, so that whoever is granted meanwhile has changed that.
        let node = self.cluster.node(wanted.node, wanted.id).await?;
        let identity = node.and_then(|node| node.identity);
        let noted = |key| {
            volume
                .annotations
                .get(&self.driver.annotation(key))
                .cloned()
        };
        let record = observed.record.clone();
        let granted = match observed.grant(wanted.node, identity, reader) {
            Grant::Stands => observed,
            Grant::Write(record) => Observed { record, ..observed },
        };
        let Settled {
            record: settled,
            due,
            told,
        } = self.settle(wanted, identity, &granted)?;
        if let Some(due) = due.as_ref().filter(|due| !due.lost.is_empty()) {
            self.is_needed(wanted, due, &mut look).await?;
            self.can_shut_out(wanted, due)?;
        }
        let is_new = settled != record;
        if is_new {
            self.write(&volume, &settled).await?;
            self.reports
                .granted(first_grants(&record, &granted, wanted.node));
            self.reports.allowed(&volume.name, wanted.node, &verdict);
        }
        if let Some((told, lost)) = told {
            self.reports.fence(&volume.name, wanted.node, told, &lost);
        }
        let standing = granted.standing();
        let holding = standing.iter().filter(|found| found.holds());
        let nodes = holding.map(|found| found.attachment.node.clone()).collect();
        Ok(Granted {
            nodes,
            is_new,
            reader: granted.only_reads(wanted.node),
            first_used: noted(annotation::FIRST_USED),
            format_override: noted(annotation::FORMAT_OVERRIDE),
            due,
        })
    }

    /// What is to be written once the volume is granted, and what is due before it is used.
    fn settle(
        &self,
        wanted: &Wanted<'_>,
        identity: Option<NodeIdentity>,
        granted: &Observed<'_>,
    ) -> Result<Settled, ControllerError> {
        let fence = granted.fence(wanted.node, identity);
        let now = |record, told| Settled {
            record,
            due: None,
            told,
        };
        if self.fencing != Fencing::Enforce {
            let lost = fence.lost().filter(|_| self.fencing == Fencing::Record);
            let told = lost.map(|lost| (FenceTold::Recorded, lost.to_vec()));
            return Ok(now(granted.pruned(), told));
        }
        let due = |record: &Record, epoch, lost: &[Lost]| Settled {
            record: record.clone(),
            due: Some(Due {
                epoch,
                lost: names(lost),
                persistent_volume: granted.persistent_volume.to_owned(),
            }),
            told: None,
        };
        let clear = |record: Record| match granted.restart(wanted.node) {
            Some(epoch) if wanted.ended && wanted.renewed != Some(&epoch) => {
                due(&record, epoch, &[])
            }
            Some(_) | None => now(record, None),
        };
        Ok(match fence {
            Fence::Clear => clear(granted.record.clone()),
            Fence::Clean(record) => clear(record),
            Fence::Due {
                epoch,
                record,
                lost,
            } if wanted.renewed == Some(&epoch) => now(record, Some((FenceTold::Done, lost))),
            Fence::Due { epoch, lost, .. } => due(&granted.record, epoch, &lost),
            Fence::InUse { lost } => now(granted.record.clone(), Some((FenceTold::InUse, lost))),
            Fence::Underway { node } => {
                let id = wanted.id.clone();
                return Err(ControllerError::FenceUnderway { id, node });
            }
        })
    }

    async fn write(&self, volume: &PersistentVolume, record: &Record) -> Result<(), ClusterError> {
        let key = self.driver.annotation(annotation::GRANTED);
        let record = record.to_string();
        self.cluster.annotate(volume, &key, &record).await
    }

    /// Why the node may have the volume, if it may.
    async fn judge(
        &self,
        wanted: &Wanted<'_>,
        volume: &PersistentVolume,
        look: &mut Look<'_>,
    ) -> Result<Verdict, ControllerError> {
        let request = Request {
            node: wanted.node,
            access: Some(wanted.access.mode),
            seat: Seat::Driver,
            modes: &self.modes,
            now: &now(),
        };
        let judgement = look.judge(&request).await;
        let Judgement { verdict, noted } = &judgement;
        self.reports
            .judged(&volume.name, wanted.node, verdict, noted);
        let (id, node) = (wanted.id.clone(), wanted.node.to_owned());
        match judgement.verdict {
            allowed @ (Verdict::Allow(_) | Verdict::AllowAsMigration(_)) => Ok(allowed),
            Verdict::Deny(source) => {
                let source = Box::new(source);
                Err(ControllerError::Denied { id, node, source })
            }
            Verdict::Unknown(source) => Err(ControllerError::Unjudged { id, node, source }),
        }
    }

    /// Whether a pod is there for which a lost node is shut out. A lost node may be back, with a
    /// pod that runs on the session that was left to it, while an attachment to another node
    /// stands that nobody has taken back yet: for that one nobody is shut out.
    async fn is_needed(
        &self,
        wanted: &Wanted<'_>,
        due: &Due,
        look: &mut Look<'_>,
    ) -> Result<(), ControllerError> {
        let (id, node) = (wanted.id.clone(), wanted.node.to_owned());
        match look.is_wanted(wanted.node).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(source) => return Err(ControllerError::Unjudged { id, node, source }),
        }
        let lost = due.lost.clone();
        let refused = ControllerError::NobodyAsks { id, node, lost };
        let volume = &due.persistent_volume;
        self.reports.unneeded(volume, &refused);
        Err(refused)
    }

    /// Whether a lost node is shut out by a renewal of the export, as far as anybody has seen.
    fn can_shut_out(&self, wanted: &Wanted<'_>, due: &Due) -> Result<(), ControllerError> {
        let (id, lost) = (wanted.id.clone(), due.lost.clone());
        let persistent_volume = due.persistent_volume.clone();
        let annotation = self.driver.annotation(annotation::GRANTED);
        match wanted.sessions {
            Sessions::End => Ok(()),
            Sessions::Outlive => Err(ControllerError::NotFenceable {
                id,
                lost,
                persistent_volume,
                annotation,
            }),
            Sessions::Unknown => Err(ControllerError::NotHeard {
                id,
                lost,
                persistent_volume,
                annotation,
            }),
        }
    }

    /// For which live migration two nodes have the volume of this PersistentVolume, if for
    /// any. `all` attachments are those that said so; the one to `younger` is the younger of
    /// the two.
    pub(crate) async fn hand_over(
        &self,
        name: &str,
        all: &[VolumeAttachment],
        younger: Option<&str>,
    ) -> Result<Result<Option<HandOver>, Unread>, ClusterError> {
        let volume = self.cluster.persistent_volume(name).await?;
        let of_ours = volume.and_then(|volume| Some((volume.handle.parse().ok()?, volume)));
        let Some((id, volume)) = of_ours else {
            return Ok(Ok(None));
        };
        let mut look = Look::of(self.reader(), &self.driver, &id, &volume, all);
        Ok(look.hand_over(younger).await)
    }
}

/// How many attachments of a node got their entry by this grant. One that came true without
/// an entry was granted by another driver, or an earlier release.
fn first_grants(before: &Record, granted: &Observed<'_>, node: &str) -> usize {
    let is_new = |found: &&VolumeAttachment| {
        found.node == node
            && !found.attached
            && !before.has(&found.uid)
            && granted.record.has(&found.uid)
    };
    granted.attachments.iter().filter(is_new).count()
}

async fn within_deadline<T>(
    decision: impl Future<Output = Result<T, ControllerError>>,
) -> Result<T, ControllerError> {
    let late = ClusterError::TimedOut {
        call: "deciding on an attachment",
        after: DEADLINE,
    };
    timeout(DEADLINE, decision)
        .await
        .unwrap_or(Err(late.into()))
}

#[cfg(test)]
mod tests;
