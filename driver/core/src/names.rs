//! Every string that a user meets: parameter keys, annotation keys, context keys.
//!
//! They are declared here once and nowhere else, so that a rename is one edit and the
//! documentation can be checked against the code.

use std::fmt;
use std::str::FromStr;

use crate::kind::{Failure, Kind};

/// The driver's name where nothing else is set: the name that clusters of this
/// hardware already carry in their PersistentVolumes.
pub const DEFAULT_DRIVER_NAME: &str = "rds.csi.srvlab.io";

/// The first part of every ownership marker on the device.
pub const OWNER_PREFIX: &str = "rds-csi";

/// Keys of StorageClass parameters and of the volume context.
pub mod parameter {
    /// Where nodes connect: an IP address literal.
    pub const NVME_ADDRESS: &str = "nvmeAddress";
    /// The TCP port of the export.
    pub const NVME_PORT: &str = "nvmePort";
    /// The management address of the device; checked, not used for routing.
    pub const RDS_ADDRESS: &str = "rdsAddress";
    /// The directory of backing files on the device.
    pub const VOLUME_PATH: &str = "volumePath";
    /// Seconds until the kernel gives a lost connection up; -1 is never.
    pub const CTRL_LOSS_TMO: &str = "ctrlLossTmo";
    /// Seconds between reconnect attempts of the kernel.
    pub const RECONNECT_DELAY: &str = "reconnectDelay";
    /// Seconds between keep-alive commands.
    pub const KEEP_ALIVE_TMO: &str = "keepAliveTmo";
    /// Seconds until queued I/O fails while the connection is lost; absent is never.
    pub const FAST_IO_FAIL_TMO: &str = "fastIoFailTmo";
    /// I/O queues of a connection; absent is the kernel's choice.
    pub const NR_IO_QUEUES: &str = "nrIoQueues";
    /// Seconds after which a long migration is reported; never enforced.
    pub const MIGRATION_TIMEOUT_SECONDS: &str = "migrationTimeoutSeconds";
    /// The NVMe qualified name of the volume (volume context only).
    pub const NQN: &str = "nqn";
    /// The prefix of the keys that Kubernetes' sidecars own.
    pub const KUBERNETES_PREFIX: &str = "csi.storage.k8s.io/";
    /// The filesystem of new volumes, read by external-provisioner.
    pub const FS_TYPE: &str = "csi.storage.k8s.io/fstype";
}

/// Keys of the publish context.
pub mod publish {
    /// The size of the namespace in bytes at the time of ControllerPublish.
    pub const SIZE: &str = "size";
    /// When a filesystem volume was first used, where a record exists.
    pub const FIRST_USED: &str = "firstUsed";
    /// The NVMe qualified name of the export, where it is not that of the volume context.
    pub const NQN: &str = "nqn";
    /// The reason a person gave for formatting a volume that was used before.
    pub const FORMAT_OVERRIDE: &str = "formatOverride";
    /// Whether the node has the volume only to be read: `true`, or absent.
    pub const READER: &str = "reader";
}

/// Annotations of a PersistentVolume, each behind the driver's name and a slash: see
/// [`DriverName::annotation`].
pub mod annotation {
    /// When a container first ran with the volume mounted as a filesystem. Written by the
    /// controller, once.
    pub const FIRST_USED: &str = "first-used";
    /// A person's reason to format a volume although it was used before.
    pub const FORMAT_OVERRIDE: &str = "format-override";
    /// The VolumeAttachments that were granted: `attachment::grant::Record`. Written by
    /// the controller.
    pub const GRANTED: &str = "granted-attachments";
    /// What the device was seen to do about hosts and sessions: `device_access::Proof`, on the
    /// Lease. Written by the controller that leads.
    pub const DEVICE_ACCESS: &str = "device-access";
    /// A person's word that several machines share the disk:
    /// `attachment::exception::Exception`. Read, never written.
    pub const SHARED_DISK: &str = "shared-disk";
}

/// What others call things that the attachment rules read and speak of.
pub mod foreign {
    /// The taint by which a person says that a node's machine is off.
    pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
    /// The API group of KubeVirt's machines and migrations.
    pub const KUBEVIRT_GROUP: &str = "kubevirt.io";
    /// KubeVirt's machines, as their paths name them.
    pub const MACHINES: &str = "virtualmachineinstances";
    /// KubeVirt's migrations, as their paths name them.
    pub const MIGRATIONS: &str = "virtualmachineinstancemigrations";
    /// The API group of KubeVirt's exports.
    pub const EXPORT_GROUP: &str = "export.kubevirt.io";
    /// What a pod of KubeVirt is, such as `virt-launcher` or `hotplug-disk`.
    pub const KUBEVIRT: &str = "kubevirt.io";
    /// The UID of the migration that a pod of KubeVirt was made for.
    pub const MIGRATION: &str = "kubevirt.io/migrationJobUID";
    /// The node that a migration empties: an annotation of migrations.
    pub const EVACUATION: &str = "kubevirt.io/evacuationMigration";
    /// What a pod of CDI is, such as `cdi-clone-source`.
    pub const CDI: &str = "cdi.kubevirt.io";
    /// What a pod belongs to, such as `containerized-data-importer`.
    pub const APP: &str = "app";
}

/// Reasons of the events on a claim.
pub mod event {
    /// A node lost its connection to the volume, and I/O waits.
    pub const CONNECTION_FAILURE: &str = "ConnectionFailure";
    /// The connection is back, and I/O goes on.
    pub const CONNECTION_RECOVERY: &str = "ConnectionRecovery";
    /// The volume came back as another device, and was mounted or published anew.
    pub const DEVICE_REPLACED: &str = "DeviceReplaced";
    /// The volume does not come back by itself, and why.
    pub const RECOVERY_FAILED: &str = "RecoveryFailed";

    /// A node does not get the volume, or keeps it, and why.
    pub const ATTACHMENT_CONFLICT: &str = "AttachmentConflict";
    /// A node that was never known to let go was shut out before another one got the volume,
    /// or would have been.
    pub const ATTACHMENT_FENCED: &str = "AttachmentFenced";
    /// A node has the volume beside another one, only to be read.
    pub const ATTACHED_READ_ONLY: &str = "AttachedReadOnly";
    /// Two nodes have the volume while a machine moves between them.
    pub const MIGRATION_STARTED: &str = "MigrationStarted";
    /// The machine has arrived.
    pub const MIGRATION_COMPLETED: &str = "MigrationCompleted";
    /// The machine has not arrived.
    pub const MIGRATION_FAILED: &str = "MigrationFailed";
    /// The migration takes longer than `migrationTimeoutSeconds`; nothing is done about it.
    pub const MIGRATION_TAKES_LONG: &str = "MigrationTakesLong";
    /// The attachment to a node that exists no more was asked to leave.
    pub const STALE_ATTACHMENT_CLEARED: &str = "StaleAttachmentCleared";
    /// The attachment to a node that exists no more does not leave, and why.
    pub const STALE_ATTACHMENT_STAYS: &str = "StaleAttachmentStays";

    /// All that nodes post, for documents and tests.
    pub const ALL: [&str; 4] = [
        CONNECTION_FAILURE,
        CONNECTION_RECOVERY,
        DEVICE_REPLACED,
        RECOVERY_FAILED,
    ];
    /// All that the controller posts.
    pub const OF_CONTROLLER: [&str; 9] = [
        ATTACHMENT_CONFLICT,
        ATTACHMENT_FENCED,
        ATTACHED_READ_ONLY,
        MIGRATION_STARTED,
        MIGRATION_COMPLETED,
        MIGRATION_FAILED,
        MIGRATION_TAKES_LONG,
        STALE_ATTACHMENT_CLEARED,
        STALE_ATTACHMENT_STAYS,
    ];
}

/// A CSI driver name: a DNS subdomain of at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DriverName(String);

/// A string that is no driver name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "driver name {0:?} is not a DNS subdomain of at most 63 characters, such as {DEFAULT_DRIVER_NAME}"
)]
pub struct DriverNameError(String);

impl Failure for DriverNameError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for DriverName {
    type Err = DriverNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() <= 63 && is_object_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DriverNameError(text.to_owned()))
        }
    }
}

impl Default for DriverName {
    fn default() -> Self {
        Self(DEFAULT_DRIVER_NAME.to_owned())
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DriverName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole key of one of the [`annotation`]s.
    #[must_use]
    pub fn annotation(&self, key: &str) -> String {
        format!("{self}/{key}")
    }
}

/// Whether an object of Kubernetes may have this name: lower-case labels of letters,
/// digits and inner hyphens, joined by dots, 253 characters at most.
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        !bytes.is_empty()
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_driver_name() {
        assert_eq!(DEFAULT_DRIVER_NAME.parse(), Ok(DriverName::default()));
    }

    #[test]
    fn odd_driver_names_are_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "Rds.csi",
            "a b",
            "a/b",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<DriverName>().is_err(), "{text:?}");
        }
    }
}
