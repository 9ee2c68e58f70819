//! KubeVirt's machines and migrations, and whether the cluster knows them.
//!
//! The kinds are not compiled in: which of their versions a cluster serves is asked first.
//! What is read of them has been the same in each since `v1alpha3`.

use rds_csi_core::attachment::observation::{Machine, Migration};
use serde::Deserialize;

use super::Meta;

/// A group of kinds, as `/apis/NAME` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct Group {
    versions: Vec<GroupVersion>,
    preferred_version: GroupVersion,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct GroupVersion {
    version: String,
}

impl Group {
    /// The versions that the cluster serves, the one that it prefers first.
    pub(in super::super) fn versions(&self) -> Vec<&str> {
        let preferred = &self.preferred_version;
        let others = self.versions.iter().filter(|version| *version != preferred);
        let all = [preferred].into_iter().chain(others);
        all.map(|version| version.version.as_str())
            .filter(|version| !version.is_empty())
            .collect()
    }
}

/// The kinds of a version of a group, as `/apis/NAME/VERSION` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Resources {
    resources: Vec<Kind>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kind {
    name: String,
}

impl Resources {
    /// Whether a kind, by the name in its path, is among them.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        self.resources.iter().any(|kind| kind.name == name)
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Listed<T> {
    #[serde(default)]
    pub(in super::super) metadata: ListMeta,
    pub(in super::super) items: Vec<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct ListMeta {
    pub(in super::super) r#continue: Option<String>,
}

/// A VirtualMachineInstance.
#[derive(Debug, Deserialize)]
pub(in super::super) struct MachineObject {
    metadata: Meta,
    #[serde(default)]
    status: Status,
}

/// A VirtualMachineInstanceMigration.
#[derive(Debug, Deserialize)]
pub(in super::super) struct MigrationObject {
    metadata: Meta,
    #[serde(default)]
    spec: MigrationSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MigrationSpec {
    vmi_name: String,
    send_to: Option<Half>,
    receive: Option<Half>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Half {
    #[serde(rename = "migrationID")]
    migration_id: String,
}

impl From<MachineObject> for Machine {
    fn from(object: MachineObject) -> Self {
        let MachineObject {
            metadata: meta,
            status,
        } = object;
        Self {
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            is_over: ["Succeeded", "Failed"].contains(&status.phase.as_str()),
        }
    }
}

impl From<MigrationObject> for Migration {
    fn from(object: MigrationObject) -> Self {
        let MigrationObject {
            metadata: meta,
            spec,
            status,
        } = object;
        let half = spec.send_to.or(spec.receive);
        Self {
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            machine: spec.vmi_name,
            phase: status.phase,
            leaving: meta.deletion_timestamp.is_some(),
            decentralised: half
                .map(|half| half.migration_id)
                .filter(|id| !id.is_empty()),
        }
    }
}
