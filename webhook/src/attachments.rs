//! The rules about objects that take volumes to nodes: VolumeAttachments, and migrations
//! that somebody asks for.
//!
//! Who gets a volume is judged by the rules that ControllerPublishVolume uses, here early
//! and to the person who can act on it. What is well by what was watched passes at once;
//! whatever else is to be said is judged anew by what is read then, so that no refusal is
//! older than its question. What cannot be read, or not in time, is allowed with a warning:
//! the driver judges again and has the last word. Nothing here changes anything.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::storage::v1::VolumeAttachment;
use rds_csi_cluster::{ClusterError, Look, MachineDisk, PersistentVolume, Reader, now};
use rds_csi_core::attachment::Verdict as Judged;
use rds_csi_core::attachment::observation::Claim;
use rds_csi_core::attachment::{
    Denial, Disk, Finding, Mode, Modes, Noted, Obstacle, Request, Seat, preflight,
};
use rds_csi_core::kind::Chain;
use rds_csi_core::names::{DriverName, foreign};
use rds_csi_core::volume_id::VolumeId;
use serde::Deserialize;
use tokio::time::timeout;

use crate::verdict::{Relaxed, Verdict};

/// Judges by what a cluster shows.
#[derive(Debug, Clone)]
pub struct AttachmentRules {
    watched: Arc<dyn Reader>,
    live: Arc<dyn Reader>,
    driver: DriverName,
    modes: Modes,
    limit: Duration,
}

/// A VirtualMachineInstanceMigration, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Migration {
    metadata: Metadata,
    spec: MigrationSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MigrationSpec {
    vmi_name: String,
    send_to: Option<Half>,
    receive: Option<Half>,
}

/// One side of a migration between two clusters or namespaces.
#[derive(Debug, Clone, Deserialize)]
struct Half {}

impl Migration {
    /// Whether source and target have claims of their own.
    fn is_decentralised(&self) -> bool {
        self.spec.send_to.is_some() || self.spec.receive.is_some()
    }

    /// Whether it is to empty a node: nobody types it, and whoever drains a node is told of
    /// obstacles by what stays there.
    fn is_evacuation(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.contains_key(foreign::EVACUATION))
    }
}

impl AttachmentRules {
    /// Judges volumes of `driver`: first by `watched`, which may be a moment behind, and by
    /// `live` before anybody is refused or warned. No judgement takes longer than `limit`.
    #[must_use]
    pub fn new(
        watched: Arc<dyn Reader>,
        live: Arc<dyn Reader>,
        driver: DriverName,
        modes: Modes,
        limit: Duration,
    ) -> Self {
        Self {
            watched,
            live,
            driver,
            modes,
            limit,
        }
    }

    /// Judges an attachment that is to be made.
    pub async fn attachment(&self, asked: &VolumeAttachment) -> Verdict {
        let spec = &asked.spec;
        if spec.attacher != self.driver.as_str() {
            return Verdict::foreign();
        }
        let Some(name) = &spec.source.persistent_volume_name else {
            return Verdict::allow();
        };
        let judged = async {
            let early = self.judge(&*self.watched, &spec.node_name, name).await;
            if early == Ok(Verdict::allow()) {
                return Verdict::allow();
            }
            let judged = self.judge(&*self.live, &spec.node_name, name).await;
            judged.unwrap_or_else(|why| not_judged(&why))
        };
        self.in_time(judged).await
    }

    /// What cannot be read in time is what cannot be read: each request to the API server has
    /// more time than all of them together have here, and a review that is not answered is
    /// refused or let pass without a word, as the `failurePolicy` says.
    async fn in_time(&self, judged: impl Future<Output = Verdict>) -> Verdict {
        let limit = self.limit;
        let judged = timeout(limit, judged).await;
        judged.unwrap_or_else(|_| {
            not_judged(&format!(
                "the API server is slow, {limit:?} were not enough"
            ))
        })
    }

    /// Judges by one reader, or says what it could not read.
    async fn judge(&self, reader: &dyn Reader, node: &str, name: &str) -> Result<Verdict, String> {
        let found = self.look(reader, name).await;
        let Some(mut look) = found.map_err(|error| Chain(&error).to_string())? else {
            // There is nothing that could be attached.
            return Ok(Verdict::allow());
        };
        let request = Request {
            node,
            access: None,
            seat: Seat::Admission,
            modes: &self.modes,
            now: &now(),
        };
        let judgement = look.judge(&request).await;
        let mut verdict = Verdict::allow();
        for Noted { mode, finding } in judgement.noted {
            if let Finding::Denial(denial) = finding {
                relax(&mut verdict, mode, &denial, &denial.why);
            }
        }
        match judgement.verdict {
            Judged::Allow(_) | Judged::AllowAsMigration(_) => {}
            Judged::Deny(denial) => verdict.deny("spec.nodeName", denial.to_string()),
            Judged::Unknown(unread) => return Err(unread.to_string()),
        }
        Ok(verdict)
    }

    /// Judges a migration that is to be made, of a machine in `namespace`.
    pub async fn migration(&self, namespace: &str, asked: &Migration) -> Verdict {
        let judged = async {
            let early = self.obstacles(&*self.watched, namespace, asked).await;
            if early.is_ok_and(|obstacles| obstacles.is_empty()) {
                return Verdict::allow();
            }
            match self.obstacles(&*self.live, namespace, asked).await {
                Ok(obstacles) => self.told(asked, &obstacles),
                Err(error) => not_judged(&Chain(&error)),
            }
        };
        self.in_time(judged).await
    }

    fn told(&self, asked: &Migration, obstacles: &[Obstacle]) -> Verdict {
        let mut verdict = Verdict::allow();
        for Obstacle { disk, denial } in obstacles {
            let why = format!("disk {disk}: {}", denial.why);
            match self.modes.of(denial.rule, Seat::Admission) {
                Mode::Enforce if !asked.is_evacuation() => {
                    verdict.deny("spec.vmiName", format!("disk {disk}: {denial}"));
                }
                Mode::Enforce => verdict.warn(why),
                mode @ (Mode::Warn | Mode::Audit) => relax(&mut verdict, mode, denial, &why),
            }
        }
        verdict
    }

    /// What keeps the machine from arriving. A machine that is not there is KubeVirt's to
    /// refuse.
    async fn obstacles(
        &self,
        reader: &dyn Reader,
        namespace: &str,
        asked: &Migration,
    ) -> Result<Vec<Obstacle>, ClusterError> {
        let disks = reader.disks(namespace, &asked.spec.vmi_name).await?;
        let mut ours = Vec::new();
        for disk in disks.unwrap_or_default() {
            let claim = Claim {
                namespace: namespace.to_owned(),
                name: disk.claim.clone(),
            };
            if let Some(name) = reader.volume_of(&claim).await?
                && let Some(volume) = self.ours(reader, &name).await?
            {
                ours.push((disk, volume));
            }
        }
        if ours.is_empty() {
            return Ok(Vec::new());
        }
        let all = reader.volume_attachments().await?;
        let look = |(id, found)| Look::of(reader, &self.driver, &id, &found, &all);
        let looks = ours.into_iter().map(|(disk, volume)| (disk, look(volume)));
        let mut looks: Vec<_> = looks.collect();
        let decentralised = asked.is_decentralised();
        if found(decentralised, &looks).is_empty() {
            return Ok(Vec::new());
        }
        for (_, look) in &mut looks {
            look.explain().await;
        }
        Ok(found(decentralised, &looks))
    }

    /// The PersistentVolume of this name, if it is of a volume of ours.
    async fn ours(
        &self,
        reader: &dyn Reader,
        name: &str,
    ) -> Result<Option<(VolumeId, PersistentVolume)>, ClusterError> {
        let found = reader.persistent_volume(name).await?;
        let found = found.filter(|found| found.driver == self.driver.as_str());
        Ok(found.and_then(|found| Some((found.handle.parse().ok()?, found))))
    }

    async fn look<'a>(
        &self,
        reader: &'a dyn Reader,
        name: &str,
    ) -> Result<Option<Look<'a>>, ClusterError> {
        let Some((id, found)) = self.ours(reader, name).await? else {
            return Ok(None);
        };
        let all = reader.volume_attachments().await?;
        Ok(Some(Look::of(reader, &self.driver, &id, &found, &all)))
    }
}

fn found(decentralised: bool, looks: &[(MachineDisk, Look<'_>)]) -> Vec<Obstacle> {
    let disks = looks.iter().map(|(disk, look)| Disk {
        name: &disk.name,
        seen: look.seen(),
        copied: disk.copied,
    });
    preflight(decentralised, &disks.collect::<Vec<_>>())
}

/// Lets pass what a rule refuses that is not enforced: it is counted, and told where it is
/// to be.
fn relax(verdict: &mut Verdict, mode: Mode, denial: &Denial, why: &str) {
    if mode.is_told() {
        verdict.warn(why);
    }
    verdict.relaxed.push(Relaxed {
        rule: denial.rule,
        mode,
        why: why.to_owned(),
    });
}

/// The rule needs what nobody can read now.
fn not_judged(why: &dyn Display) -> Verdict {
    tracing::warn!(%why, "allowed without a judgement: the driver decides");
    let mut verdict = Verdict::allow();
    verdict.warn(format!(
        "rds-csi cannot judge this now, the driver will: {why}"
    ));
    verdict
}

#[cfg(test)]
mod tests;
