//! What a decision about an attachment is made from: plain values that a caller read.
//!
//! Everything here is as small as the rules need it, so that a cache of thousands of
//! pods stays small, and nothing here says who read it or when. What was not read is said
//! to be so, because an error while reading is never "absent": see [`Reading`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use super::grant::VolumeAttachment;
pub use super::identity::NodeIdentity;
use super::pod::OfMachine;
pub use super::pod::{Phase, Pod, Role};

/// One part of the cluster, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reading<T> {
    /// Nobody asked yet. A rule that needs it says so, and the caller reads and asks again.
    #[default]
    NotYet,
    /// It was asked for and the answer did not come, or not whole.
    Failed(String),
    /// The whole answer.
    Complete(T),
}

/// A part that a rule needs and that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} {}", .why.as_deref().map_or_else(|| "must be read first".to_owned(), |why| format!("could not be read: {why}")))]
pub struct Unread {
    /// Which part.
    pub part: Part,
    /// Why it could not be read; `None` where nobody tried.
    pub why: Option<String>,
}

/// The parts that a caller reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One node.
    Node(String),
    /// The pods that use the claim, and the launchers of the hot-plug pods among them.
    Pods,
    /// KubeVirt's [machines](Observations::machines) and migrations. The pods are read before.
    KubeVirt,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::Pods => f.write_str("the pods that use the volume"),
            Self::KubeVirt => f.write_str("the machines and migrations of KubeVirt"),
        }
    }
}

impl<T> Reading<T> {
    /// The whole answer, or what is missing.
    ///
    /// # Errors
    /// [`Unread`] with the reason where there was one.
    pub fn whole(&self, part: Part) -> Result<&T, Unread> {
        let why = match self {
            Self::Complete(answer) => return Ok(answer),
            Self::NotYet => None,
            Self::Failed(why) => Some(why.clone()),
        };
        Err(Unread { part, why })
    }
}

/// What a PersistentVolume says of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    /// The PersistentVolume's name.
    pub persistent_volume: String,
    /// The claim that it is bound to.
    pub claim: Option<Claim>,
    /// `spec.accessModes`, in Kubernetes' words.
    pub access_modes: Vec<String>,
    /// Whether `spec.volumeMode` is `Block`.
    pub is_block: bool,
    /// The annotation `shared-disk`, whole: see [`super::exception::Exception`].
    pub exception: Option<String>,
    /// After which time a migration is reported as long. It decides nothing.
    pub migration_timeout: Option<Duration>,
}

impl Volume {
    /// Whether it may be attached to two nodes at all, which a live migration needs.
    #[must_use]
    pub fn is_migratable(&self) -> bool {
        self.is_block && self.is_for_many()
    }

    /// Whether many nodes were promised the volume, as a block device or not.
    #[must_use]
    pub fn is_for_many(&self) -> bool {
        let many = |mode: &String| mode == "ReadWriteMany" || mode == "ReadOnlyMany";
        self.access_modes.iter().any(many)
    }
}

/// A PersistentVolumeClaim, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A VolumeAttachment of the volume, and whether it was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The object.
    pub attachment: VolumeAttachment,
    /// Whether the driver said yes to it: see [`super::grant::Record`].
    pub granted: bool,
}

impl Standing {
    /// Whether its node may be using the volume. One that is being deleted counts like
    /// any other, until it is gone: its node lets go at the very end.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.granted || self.attachment.attached
    }

    /// What is to be said of its node and the volume: one that only wishes for it has it not.
    pub(super) fn has(&self) -> &'static str {
        if self.holds() {
            "has"
        } else {
            "is about to get"
        }
    }
}

/// What a Node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Node {
    /// Whether its condition `Ready` is `True`; `Unknown` is not.
    pub ready: bool,
    /// Whether it has the taint `node.kubernetes.io/out-of-service`, by which a person
    /// says that the machine is off.
    pub out_of_service: bool,
    /// Whether `status.volumesInUse` [names the volume](super::grant::name_on_nodes). Kubelet
    /// writes that down before it mounts anything, and takes it back once nothing is mounted
    /// any more.
    pub in_use: bool,
    /// Who it is, where it says so.
    pub identity: Option<NodeIdentity>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
}

/// A KubeVirt machine (VirtualMachineInstance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Whether `status.phase` is `Succeeded` or `Failed`.
    pub is_over: bool,
}

/// A KubeVirt migration (VirtualMachineInstanceMigration).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// `spec.vmiName`.
    pub machine: String,
    /// `status.phase`; empty before the first.
    pub phase: String,
    /// Whether it is being deleted, which is how a migration is aborted.
    pub leaving: bool,
    /// `spec.sendTo.migrationID` or `spec.receive.migrationID`: what the two halves of a
    /// decentralised migration have in common.
    pub decentralised: Option<String>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
}

impl Migration {
    /// Whether it is under way. Every phase but the two last counts, `Pending` and those
    /// of later versions included: the target's attachment is asked for in `Pending`
    /// already. One that is being aborted gives nobody a volume any more.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.leaving && !self.has_succeeded() && !self.has_failed()
    }

    /// Whether it is over and the machine runs on the target.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.phase == "Succeeded"
    }

    /// Whether it was certainly made after a moment.
    #[must_use]
    pub fn is_later_than(&self, moment: Option<i64>) -> bool {
        let both = self.created.zip(moment);
        both.is_some_and(|(created, moment)| created > moment)
    }

    /// Whether it is over and has not done what it was for.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.phase == "Failed"
    }
}

/// What there is of KubeVirt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeVirt {
    /// The cluster does not know its kinds.
    Absent,
    /// The cluster knows only some of the kinds that rules read.
    Incomplete {
        /// The kind that is missing.
        missing: String,
    },
    /// Its objects in the claim's namespace.
    Present {
        /// Those that were asked for by [name](Observations::machines), as far as there are any.
        /// Which machine has the name now, its UID says.
        machines: Vec<Machine>,
        /// Every migration.
        migrations: Vec<Migration>,
    },
}

/// All that is known when a decision is made.
///
/// Where the verdict is to be written down in the [record](super::grant::Record), the
/// PersistentVolume must have been read before all the rest: whoever is granted meanwhile
/// has changed it, and the write over what was read fails.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observations {
    /// The volume.
    pub volume: Volume,
    /// Every VolumeAttachment of the volume, whatever its state.
    pub attachments: Vec<Standing>,
    /// The nodes that were looked for. `Complete(None)` is one that does not exist.
    pub nodes: BTreeMap<String, Reading<Option<Node>>>,
    /// The pods that use the claim, and the launchers of the hot-plug pods among them.
    pub pods: Reading<Vec<Pod>>,
    /// KubeVirt, where it is installed.
    pub kubevirt: Reading<KubeVirt>,
}

impl Observations {
    /// One node; `None` is one that does not exist.
    ///
    /// # Errors
    /// [`Unread`] if it was not looked for, or not answered.
    pub fn node(&self, name: &str) -> Result<Option<Node>, Unread> {
        let part = Part::Node(name.to_owned());
        let unread = Reading::NotYet;
        let reading = self.nodes.get(name).unwrap_or(&unread);
        reading.whole(part).copied()
    }

    /// The pods on a node that may use the volume: those of the claim that have not ended.
    /// One that is being deleted is among them until it is gone.
    ///
    /// # Errors
    /// [`Unread`] if the pods are not known.
    pub fn users(&self, node: &str) -> Result<Vec<&Pod>, Unread> {
        let pods = self.pods.whole(Part::Pods)?;
        let Some(claim) = &self.volume.claim else {
            return Ok(Vec::new());
        };
        let uses = |pod: &&Pod| pod.uses(claim) && pod.node == node && !pod.phase.is_over();
        Ok(pods.iter().filter(uses).collect())
    }

    /// The names of the machines that pods of the claim are part of which have not ended,
    /// hot-plugged disks by their launchers.
    ///
    /// # Errors
    /// [`Unread`] if the pods are not known.
    pub fn machines(&self) -> Result<BTreeSet<&str>, Unread> {
        let pods = self.pods.whole(Part::Pods)?;
        let Some(claim) = &self.volume.claim else {
            return Ok(BTreeSet::new());
        };
        let users = pods
            .iter()
            .filter(|pod| pod.uses(claim) && !pod.phase.is_over());
        let machines = users.filter_map(|pod| OfMachine::by(pods, pod));
        Ok(machines.map(|found| found.name).collect())
    }

    /// Whether a pod on a node wants the volume, which an attachment that nobody has taken
    /// back yet does not say: one of the claim that has not ended and is not to.
    ///
    /// # Errors
    /// [`Unread`] if the pods are not known.
    pub fn is_wanted(&self, node: &str) -> Result<bool, Unread> {
        Ok(self.users(node)?.iter().any(|pod| !pod.leaving))
    }
}
