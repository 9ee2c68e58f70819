//! The node's operations against a model of a host and of the array it connects to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::access::{Access, AccessMode};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::context::{PublishContext, VolumeContext};
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::{HostIdentity, Nqn, NqnPrefix};
use rds_csi_core::nvme::{Target, Tuning};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::fake::{Array, FakeHost, Medium};
use rds_csi_host::mounter::{Mounter, PathState};
use rds_csi_host::nvme::NvmeHost;
use rds_csi_host::registry::Registry;
use tempfile::TempDir;

use super::*;

mod expand;
mod faults;
mod identity;
mod publish;
mod renewed;
mod round_trip;
mod stage;
mod stats;
mod unstage;

const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";
const OLDER: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
const SIZE: Bytes = Bytes::gib(1);
pub(crate) const STAGING: &str = "/kubelet/staging/globalmount";
pub(crate) const TARGET: &str = "/kubelet/pods/1/mount";

/// What the tests use a volume as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Block,
    Filesystem(FsType),
}

impl Use {
    pub(crate) const ALL: [Self; 3] = [
        Self::Block,
        Self::Filesystem(FsType::Ext4),
        Self::Filesystem(FsType::Xfs),
    ];

    fn access(self, mode: AccessMode) -> Access {
        match self {
            Self::Block => Access::block(mode).unwrap(),
            Self::Filesystem(fs) => {
                Access::filesystem(mode, fs.as_str(), &["noatime".to_owned()]).unwrap()
            }
        }
    }
}

/// One node, one array with one volume, and a state directory.
pub(crate) struct Lab {
    pub(crate) array: Array,
    pub(crate) host: FakeHost,
    state: TempDir,
    pub(crate) node: Arc<Node>,
    pub(crate) id: VolumeId,
    pub(crate) nqn: Nqn,
}

pub(crate) fn identity(node: &str) -> HostIdentity {
    HostIdentity::of(&"lab".parse().unwrap(), node)
}

impl Lab {
    fn with(id: &str, medium: Medium) -> Self {
        let id: VolumeId = id.parse().unwrap();
        let nqn = NqnPrefix::default().nqn(&id);
        let array = Array::new();
        array.export(&nqn, SIZE, medium);
        let host = FakeHost::new(&array);
        let state = tempfile::tempdir().unwrap();
        let node = node(&host, &state);
        Self {
            array,
            host,
            state,
            node,
            id,
            nqn,
        }
    }

    pub(crate) fn new(medium: Medium) -> Self {
        Self::with(ID, medium)
    }

    /// A new process that is told what tells of the machine's end.
    pub(crate) fn mark_shutdown(&mut self, marker: &Path) {
        self.with_settings(|settings| settings.shutdown_marker = Some(marker.to_owned()));
    }

    /// A new process in another boot of the machine.
    pub(crate) fn start_again(&mut self, boot: &str) {
        self.with_settings(|settings| boot.clone_into(&mut settings.boot));
    }

    fn with_settings(&mut self, change: impl FnOnce(&mut NodeSettings)) {
        let mut settings = self.node.settings.clone();
        change(&mut settings);
        let host = Arc::new(self.host.clone());
        let registry = Registry::new(self.state.path());
        let metrics = Metrics::new("node", Vec::new());
        self.node = Arc::new(Node::new(settings, host, registry, metrics));
    }

    /// The same machine with a new process.
    pub(crate) fn restart(&mut self) {
        self.node = node(&self.host, &self.state);
    }

    pub(crate) fn state_directory(&self) -> &Path {
        self.state.path()
    }

    fn lose_record(&self) {
        std::fs::remove_dir_all(self.state.path().join("sessions")).unwrap();
    }

    pub(crate) fn stage_request(&self, used: Use) -> StageRequest {
        StageRequest {
            id: self.id.clone(),
            staging: STAGING.into(),
            access: used.access(AccessMode::SingleNodeWriter),
            context: VolumeContext {
                nvme_address: "192.0.2.7".parse().unwrap(),
                nvme_port: 4420,
                nqn: self.nqn.clone(),
                volume_directory: Default::default(),
                tuning: Tuning::default(),
                migration_timeout_seconds: None,
            },
            publish: PublishContext {
                size: Some(SIZE),
                first_used: None,
                format_override: None,
                nqn: None,
                reader: false,
            },
            again: false,
        }
    }

    pub(crate) fn publish_request(&self, used: Use) -> PublishRequest {
        PublishRequest {
            id: self.id.clone(),
            staging: STAGING.into(),
            target: TARGET.into(),
            access: used.access(AccessMode::SingleNodeWriter),
            read_only: false,
            nqn: Some(self.nqn.clone()),
        }
    }

    pub(crate) async fn stage(&self, used: Use) -> Result<(), NodeError> {
        self.node.stage(&self.stage_request(used)).await
    }

    pub(crate) async fn publish(&self, used: Use) -> Result<(), NodeError> {
        self.node.publish(&self.publish_request(used)).await
    }

    pub(crate) async fn unpublish(&self) -> Result<(), NodeError> {
        self.node.unpublish(&self.id, Path::new(TARGET)).await
    }

    pub(crate) async fn unstage(&self) -> Result<(), NodeError> {
        self.node.unstage(&self.id, Path::new(STAGING)).await
    }

    async fn stats(&self, path: &str) -> Result<Report, NodeError> {
        self.node.stats(&self.id, Path::new(path)).await
    }

    fn medium(&self) -> Medium {
        self.array.medium(&self.nqn).unwrap()
    }

    fn is_connected(&self) -> bool {
        self.host.connected().contains(self.nqn.as_str())
    }

    pub(crate) fn formats(&self) -> usize {
        let log = self.host.log();
        log.iter().filter(|call| *call == "format").count()
    }

    pub(crate) fn mounts(&self, path: &str) -> usize {
        let table = self.host.mount_table();
        table
            .iter()
            .filter(|mount| mount.target == Path::new(path))
            .count()
    }

    pub(crate) async fn path(&self, path: &str) -> PathState {
        self.host.path(Path::new(path)).await.unwrap()
    }

    /// Nothing of the volume is left on the node.
    pub(crate) async fn assert_gone(&self) {
        assert!(!self.is_connected());
        assert_eq!(self.host.mount_table(), []);
        assert_eq!(self.path(TARGET).await, PathState::Absent);
        assert_eq!(self.node.registry.all().await.unwrap(), []);
    }

    /// Somebody else on this machine connects.
    pub(crate) async fn connect_as(&self, host: HostIdentity, nqn: &Nqn) {
        let target = Target {
            nqn: nqn.clone(),
            address: "192.0.2.7".parse().unwrap(),
            port: 4420,
            host,
            tuning: Tuning::default(),
        };
        self.host.connect(&target).await.unwrap();
    }
}

fn node(host: &FakeHost, state: &TempDir) -> Arc<Node> {
    let settings = NodeSettings {
        name: "node-1".to_owned(),
        identity: identity("node-1"),
        nqn_prefix: NqnPrefix::default(),
        connect_timeout: Duration::from_secs(30),
        max_volumes: 0,
        boot: "boot-1".to_owned(),
        shutdown_marker: None,
        nodes: PathBuf::from("/dev/rds-csi"),
    };
    Arc::new(Node::new(
        settings,
        Arc::new(host.clone()),
        Registry::new(state.path()),
        Metrics::new("node", Vec::new()),
    ))
}

/// A filesystem that this driver made for the volume.
pub(crate) fn own(lab: &Lab, fs: FsType) -> Medium {
    Medium::Filesystem {
        fs,
        uuid: lab.id.filesystem_uuid(),
        size: SIZE,
    }
}

pub(crate) const EXT4: Use = Use::Filesystem(FsType::Ext4);
