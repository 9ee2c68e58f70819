//! KubeVirt's machines and migrations, and whether the cluster knows them.
//!
//! The kinds are not compiled in: which of their versions a cluster serves is asked first.
//! What is read of them has been the same in each since `v1alpha3`.

use rds_csi_core::attachment::observation::{Machine, Migration};
use serde::Deserialize;

use super::Meta;
use crate::MachineDisk;

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

/// A VirtualMachineInstance, for its disks.
#[derive(Debug, Deserialize)]
pub(in super::super) struct MachineDisks {
    #[serde(default)]
    spec: MachineSpec,
    #[serde(default)]
    status: MachineStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MachineSpec {
    volumes: Option<Vec<MachineVolume>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MachineVolume {
    name: String,
    persistent_volume_claim: Option<ClaimName>,
    /// Its claim has its name.
    data_volume: Option<Named>,
    /// What is written goes elsewhere, and the claim is the machine's all the same.
    ephemeral: Option<Ephemeral>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ephemeral {
    persistent_volume_claim: Option<ClaimName>,
}

impl MachineVolume {
    /// The claim that it lies on, if on one.
    fn claim(&mut self) -> Option<String> {
        let backing = self.ephemeral.take();
        let backing = backing.and_then(|ephemeral| ephemeral.persistent_volume_claim);
        let claim = self.persistent_volume_claim.take().or(backing);
        let named = self.data_volume.take().map(|data| data.name);
        claim.map(|claim| claim.claim_name).or(named)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimName {
    claim_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MachineStatus {
    /// What a volume migration copies.
    migrated_volumes: Option<Vec<Migrated>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Migrated {
    volume_name: String,
}

impl MachineDisks {
    /// Those that lie on claims.
    pub(in super::super) fn disks(self) -> Vec<MachineDisk> {
        let migrated = self.status.migrated_volumes.unwrap_or_default();
        let disk = |mut volume: MachineVolume| {
            let claim = volume.claim()?;
            let copied = migrated
                .iter()
                .any(|moved| moved.volume_name == volume.name);
            let name = volume.name;
            Some(MachineDisk {
                name,
                claim,
                copied,
            })
        };
        let volumes = self.spec.volumes.unwrap_or_default();
        volumes.into_iter().filter_map(disk).collect()
    }
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
            created: meta.created(),
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
