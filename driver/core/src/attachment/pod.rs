//! Pods, stripped to what the rules read, and what each of them is to KubeVirt.
//!
//! Who owns a pod counts before its labels, and its name counts for nothing: labels of a
//! pod are its author's to choose. A pod that pretends to be another's helper gets at
//! most what its own author's claim holds.

use super::observation::Claim;
use crate::names::foreign;

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// The node that it is bound to; empty before.
    pub node: String,
    /// How far it came.
    pub phase: Phase,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// What it is.
    pub role: Role,
    /// The migration that it was made for: label `kubevirt.io/migrationJobUID`.
    pub migration: Option<String>,
    /// The claims that it uses, those of generic ephemeral volumes included.
    pub claims: Vec<String>,
}

impl Pod {
    /// Whether it uses a claim.
    #[must_use]
    pub fn uses(&self, claim: &Claim) -> bool {
        self.namespace == claim.namespace && self.claims.contains(&claim.name)
    }
}

/// `status.phase` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No container of it ran yet, none that initialises either, as far as kubelet said.
    Pending,
    /// One of its containers runs, or nobody knows.
    Running,
    /// All of them have ended for good: `Succeeded` or `Failed`.
    Over,
}

impl Phase {
    /// Reads Kubernetes' word. One that is not known is taken for a running pod.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "" | "Pending" => Self::Pending,
            "Succeeded" | "Failed" => Self::Over,
            _ => Self::Running,
        }
    }

    /// Whether nothing of the pod runs or will run.
    #[must_use]
    pub fn is_over(self) -> bool {
        self == Self::Over
    }
}

/// The object that made a pod and answers for it: its owner with `controller: true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `apiVersion`, such as `kubevirt.io/v1`.
    pub api_version: &'a str,
    /// `kind`.
    pub kind: &'a str,
    /// `name`.
    pub name: &'a str,
    /// `uid`.
    pub uid: &'a str,
}

/// A machine of KubeVirt that a pod is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OfMachine<'a> {
    /// The machine's UID.
    pub(super) machine: &'a str,
    /// The machine's name.
    pub(super) name: &'a str,
    /// The UID of the migration that the pod was made for.
    pub(super) migration: Option<&'a str>,
}

impl<'a> OfMachine<'a> {
    /// The machine that a pod is part of, if of any; that of a hot-plug pod is its launcher's,
    /// which is one of `pods`.
    pub(super) fn by(pods: &'a [Pod], pod: &'a Pod) -> Option<Self> {
        let launcher = match &pod.role {
            Role::HotPlug { launcher } => pods.iter().find(|found| found.uid == *launcher)?,
            _ => pod,
        };
        let Role::Launcher { machine, name } = &launcher.role else {
            return None;
        };
        let migration = pod.migration.as_deref().or(launcher.migration.as_deref());
        Some(Self {
            machine,
            name,
            migration,
        })
    }
}

/// What a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The pod in which a machine runs.
    Launcher {
        /// The machine's UID, which says which one it is.
        machine: String,
        /// The machine's name, by which it is looked for.
        name: String,
    },
    /// The pod that holds a hot-plugged disk for a launcher.
    HotPlug {
        /// The launcher pod's UID.
        launcher: String,
    },
    /// A helper that only reads: the source of a CDI clone, or an export.
    Reader,
    /// A helper that writes: CDI's importer and uploader.
    Writer,
    /// Anything else.
    Other,
}

impl Role {
    /// What a pod is, by its owner and its labels.
    #[must_use]
    pub fn of<'a>(owner: Option<&Owner<'_>>, label: impl Fn(&str) -> Option<&'a str>) -> Self {
        if let Some(owner) = owner {
            let group = owner.api_version.split('/').next().unwrap_or_default();
            match (group, owner.kind) {
                (foreign::KUBEVIRT_GROUP, "VirtualMachineInstance") => {
                    return Self::Launcher {
                        machine: owner.uid.to_owned(),
                        name: owner.name.to_owned(),
                    };
                }
                ("v1", "Pod") if label(foreign::KUBEVIRT) == Some("hotplug-disk") => {
                    let launcher = owner.uid.to_owned();
                    return Self::HotPlug { launcher };
                }
                (foreign::EXPORT_GROUP, "VirtualMachineExport") => return Self::Reader,
                _ => {}
            }
        }
        if label(foreign::CDI) == Some("cdi-clone-source") {
            Self::Reader
        } else if label(foreign::APP) == Some("containerized-data-importer") {
            Self::Writer
        } else {
            Self::Other
        }
    }

    /// Whether such a pod may write to the volumes that it uses.
    #[must_use]
    pub fn writes(&self) -> bool {
        *self != Self::Reader
    }
}
