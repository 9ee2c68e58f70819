//! What a decision is made from, read as far as the decision needs it.
//!
//! A volume that no other node has needs nothing but its attachments, which is the common
//! case and stays cheap. What could not be read is said to be so, and decides nothing.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use rds_csi_core::attachment::exception::Moment;
use rds_csi_core::attachment::grant::{Observed, Record, VolumeAttachment, attachment_name};
use rds_csi_core::attachment::observation::{
    Observations, Part, Pod, Reading, Standing, Unread, Volume,
};
use rds_csi_core::attachment::{HandOver, Judgement, Request, Verdict, hand_over, judge};
use rds_csi_core::names::{DriverName, annotation, parameter};
use rds_csi_core::volume_id::VolumeId;

use crate::{ClusterError, PersistentVolume, Reader};

/// A volume in a cluster, as far as it was looked at.
#[derive(Debug)]
pub struct Look<'a> {
    reader: &'a dyn Reader,
    id: VolumeId,
    /// The nodes whose pods matter.
    nodes: BTreeSet<String>,
    seen: Observations,
}

impl<'a> Look<'a> {
    /// A volume of which the PersistentVolume was read, and then the attachments, which are
    /// all of it.
    #[must_use]
    pub fn new(
        reader: &'a dyn Reader,
        id: &VolumeId,
        volume: Volume,
        attachments: Vec<Standing>,
    ) -> Self {
        let node = |standing: &Standing| standing.attachment.node.clone();
        Self {
            reader,
            id: id.clone(),
            nodes: attachments.iter().map(node).collect(),
            seen: Observations {
                volume,
                attachments,
                ..Observations::default()
            },
        }
    }

    /// A volume by its PersistentVolume, and of `all` attachments, which were read after it,
    /// those that are its own.
    #[must_use]
    pub fn of(
        reader: &'a dyn Reader,
        driver: &DriverName,
        id: &VolumeId,
        found: &PersistentVolume,
        all: &[VolumeAttachment],
    ) -> Self {
        let attachments = attachments_of(driver, id, found, all);
        let standing = observed(driver, found, &attachments).standing();
        Self::new(reader, id, volume(found, driver), standing)
    }

    /// Judges a request, and reads what it needs. Where it is refused, more is read for the
    /// words: a person is told what holds the volume and what helps.
    pub async fn judge(&mut self, request: &Request<'_>) -> Judgement {
        self.nodes.insert(request.node.to_owned());
        let judgement = self.judge_once(request).await;
        if !matches!(judgement.verdict, Verdict::Deny(_)) {
            return judgement;
        }
        self.explain().await;
        self.judge_once(request).await
    }

    async fn judge_once(&mut self, request: &Request<'_>) -> Judgement {
        loop {
            let judgement = judge(request, &self.seen);
            match judgement.unread().cloned() {
                Some(part) => self.read(&part).await,
                None => return judgement,
            }
        }
    }

    /// For which live migration two nodes have the volume, if for any; `younger` is the one
    /// whose attachment is the younger, where that is known.
    ///
    /// # Errors
    /// [`Unread`] where what would say so could not be read.
    pub async fn hand_over(&mut self, younger: Option<&str>) -> Result<Option<HandOver>, Unread> {
        let now = now();
        loop {
            match hand_over(&self.seen, younger, &now) {
                Err(Unread { part, why: None }) => self.read(&part).await,
                found => return found,
            }
        }
    }

    /// Whether a pod on a node wants the volume: one that has an attachment of it, so that the
    /// pods there are among those that are read. Where the PersistentVolume is not `Bound` it is
    /// of no claim, and no pod of one wants it.
    ///
    /// # Errors
    /// [`Unread`] where the pods could not be read.
    pub async fn is_wanted(&mut self, node: &str) -> Result<bool, Unread> {
        if self.seen.pods == Reading::NotYet {
            self.read(&Part::Pods).await;
        }
        self.seen.is_wanted(node)
    }

    /// Reads what makes a refusal helpful: the nodes that have the volume, and their pods.
    pub async fn explain(&mut self) {
        for node in self.nodes.clone() {
            if !self.seen.nodes.contains_key(&node) {
                self.read(&Part::Node(node)).await;
            }
        }
        if self.seen.pods == Reading::NotYet {
            self.read(&Part::Pods).await;
        }
    }

    /// What is known so far.
    #[must_use]
    pub fn seen(&self) -> &Observations {
        &self.seen
    }

    /// Says which volume it is.
    pub fn is(&mut self, volume: Volume) {
        self.seen.volume = volume;
    }

    /// Reads a part. That of pods is of those on the nodes that were looked at.
    pub async fn read(&mut self, part: &Part) {
        let (reader, claim) = (self.reader, &self.seen.volume.claim);
        let namespace = claim.as_ref().map(|claim| claim.namespace.as_str());
        match part {
            Part::Node(name) => {
                let node = reader.node(name, &self.id).await;
                self.nodes.insert(name.clone());
                self.seen.nodes.insert(name.clone(), reading(node));
            }
            Part::Pods => self.seen.pods = reading(self.pods(namespace).await),
            Part::KubeVirt => {
                self.seen.kubevirt = match self.seen.machines() {
                    // Without a claim there is no pod that could be a machine's.
                    Ok(machines) => {
                        let namespace = namespace.unwrap_or("default");
                        reading(reader.kubevirt(namespace, &machines).await)
                    }
                    Err(unread) => Reading::Failed(unread.to_string()),
                };
            }
        }
    }

    async fn pods(&self, namespace: Option<&str>) -> Result<Vec<Pod>, ClusterError> {
        let mut pods = Vec::new();
        if let Some(namespace) = namespace {
            for node in &self.nodes {
                pods.extend(self.reader.pods(namespace, node).await?);
            }
        }
        Ok(pods)
    }
}

fn reading<T>(answer: Result<T, impl Display>) -> Reading<T> {
    answer.map_or_else(
        |error| Reading::Failed(error.to_string()),
        Reading::Complete,
    )
}

/// Of all attachments those of a volume: by its PersistentVolume, or by the name that
/// Kubernetes gives them, so that two PersistentVolumes of one volume do not hide from each
/// other.
#[must_use]
pub fn attachments_of(
    driver: &DriverName,
    id: &VolumeId,
    found: &PersistentVolume,
    all: &[VolumeAttachment],
) -> Vec<VolumeAttachment> {
    // A digest for each node and not for each attachment, of which there are many more.
    let nodes: BTreeSet<&str> = all.iter().map(|found| found.node.as_str()).collect();
    let names = nodes
        .into_iter()
        .map(|node| attachment_name(id, driver, node));
    let names: BTreeSet<String> = names.collect();
    let is_its = |attachment: &&VolumeAttachment| {
        attachment.persistent_volume == found.name || names.contains(&attachment.name)
    };
    all.iter().filter(is_its).cloned().collect()
}

/// The same with the record of those that were granted.
#[must_use]
pub fn observed<'a>(
    driver: &DriverName,
    found: &'a PersistentVolume,
    attachments: &'a [VolumeAttachment],
) -> Observed<'a> {
    let record = found
        .annotations
        .get(&driver.annotation(annotation::GRANTED));
    Observed {
        persistent_volume: &found.name,
        record: record.map_or_else(Record::default, |text| Record::parse(text)),
        attachments,
    }
}

/// What the rules read of a PersistentVolume.
#[must_use]
pub fn volume(found: &PersistentVolume, driver: &DriverName) -> Volume {
    let timeout = found.attributes.get(parameter::MIGRATION_TIMEOUT_SECONDS);
    let timeout = timeout.and_then(|seconds| seconds.parse().ok());
    let exception = driver.annotation(annotation::SHARED_DISK);
    Volume {
        persistent_volume: found.name.clone(),
        claim: found.claim.clone(),
        access_modes: found.access_modes.clone(),
        is_block: !found.is_filesystem,
        exception: found.annotations.get(&exception).cloned(),
        migration_timeout: timeout.map(Duration::from_secs),
    }
}

/// This moment, for the end of exceptions.
#[must_use]
pub fn now() -> Moment {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    now.to_string().parse().unwrap_or_else(|_| Moment::last())
}
