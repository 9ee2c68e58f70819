//! The machine `web` of KubeVirt, which has its disk on the claim `vms/root` and is moved by
//! the migration `move`.

use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Machine, Migration, Phase, Pod, Role,
};

const NAMESPACE: &str = "vms";
const MACHINE: &str = "web-uid";

/// The UID of its migration.
pub const MIGRATION: &str = "move-uid";

/// The claim of its disk.
#[must_use]
pub fn claim() -> Claim {
    Claim {
        namespace: NAMESPACE.to_owned(),
        name: "root".to_owned(),
    }
}

/// A pod of it on a node; for a migration, if the UID of one is named.
#[must_use]
pub fn launcher(name: &str, node: &str, migration: Option<&str>) -> Pod {
    Pod {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        node: node.to_owned(),
        phase: Phase::Running,
        leaving: false,
        role: Role::Launcher {
            machine: MACHINE.to_owned(),
            name: "web".to_owned(),
        },
        migration: migration.map(str::to_owned),
        claims: vec![claim().name],
    }
}

/// KubeVirt with the machine, and its migration in a phase.
#[must_use]
pub fn kubevirt(phase: &str) -> KubeVirt {
    kubevirt_with(vec![migration("move", MIGRATION, phase)])
}

/// KubeVirt with the machine, and these migrations.
#[must_use]
pub fn kubevirt_with(migrations: Vec<Migration>) -> KubeVirt {
    KubeVirt::Present {
        machines: vec![Machine {
            namespace: NAMESPACE.to_owned(),
            name: "web".to_owned(),
            uid: MACHINE.to_owned(),
            is_over: false,
        }],
        migrations,
    }
}

/// A migration of it, by name and UID, in a phase.
#[must_use]
pub fn migration(name: &str, uid: &str, phase: &str) -> Migration {
    Migration {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        machine: "web".to_owned(),
        phase: phase.to_owned(),
        leaving: false,
        decentralised: None,
        created: None,
    }
}
