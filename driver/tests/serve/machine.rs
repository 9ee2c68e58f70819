//! A model of a node's machine that outlives the plugins on it, and what is asked of them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi_proto::v1::{
    NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability,
};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::{Nqn, NqnPrefix};
use rds_csi_driver::config::{NodeConfig, Role};
use rds_csi_driver::serve::Driver;
use rds_csi_host::fake::{Array, FakeHost, Medium};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::running::{Running, role};

/// The volume that there is.
pub(crate) const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";
/// Its size.
pub(crate) const SIZE: Bytes = Bytes::gib(1);
/// Where it is published.
pub(crate) const TARGET: &str = "/kubelet/pods/1/mount";
const STAGING: &str = "/kubelet/staging/globalmount";

/// A machine with its state directory, which outlives every process on it.
pub(crate) struct Machine {
    pub(crate) array: Array,
    pub(crate) host: FakeHost,
    pub(crate) nqn: Nqn,
    base: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let nqn = NqnPrefix::default().nqn(&ID.parse().unwrap());
        let array = Array::new();
        array.export(&nqn, SIZE, Medium::Blank);
        Self {
            host: FakeHost::new(&array),
            array,
            nqn,
            base: tempfile::tempdir().unwrap(),
        }
    }

    /// A path on the machine's own disk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// What a node plugin here is told, `more` included.
    pub(crate) fn config(&self, more: &[&str]) -> NodeConfig {
        let path = |name: &str| self.path(name).display().to_string();
        let args = [
            "node",
            "--cluster=none",
            "--cluster-id=c1",
            "--node-name=node-1",
            "--admin-listen=127.0.0.1:0",
            "--shutdown-grace=20s",
            "--state-dir",
            &path("state"),
            "--endpoint",
            &path("csi.sock"),
        ];
        match role(args.iter().chain(more).map(|arg| (*arg).to_owned())) {
            Role::Node(config) => config,
            Role::Controller(_) => panic!("a node was asked for"),
        }
    }

    /// A node plugin that is bound and does not run yet.
    pub(crate) async fn bind(&self, config: &NodeConfig, stop: &CancellationToken) -> Driver {
        let host = Arc::new(self.host.clone());
        let driver = Driver::node(config, host, "boot-1", None, stop.clone());
        driver.await.unwrap()
    }

    /// A node plugin that runs.
    pub(crate) async fn start(&self, more: &[&str]) -> Running {
        let config = self.config(more);
        let stop = CancellationToken::new();
        let driver = self.bind(&config, &stop).await;
        Running::start(driver, &config.endpoint, stop)
    }

    pub(crate) fn stage(&self, capability: VolumeCapability) -> NodeStageVolumeRequest {
        let context = [
            ("nvmeAddress", "192.0.2.7"),
            ("nqn", self.nqn.as_str()),
            ("volumePath", "/pool/csi"),
        ];
        NodeStageVolumeRequest {
            volume_id: ID.to_owned(),
            publish_context: HashMap::from([("size".to_owned(), SIZE.get().to_string())]),
            staging_target_path: STAGING.to_owned(),
            volume_capability: Some(capability),
            volume_context: context
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..NodeStageVolumeRequest::default()
        }
    }

    pub(crate) fn publish(&self, capability: VolumeCapability) -> NodePublishVolumeRequest {
        let stage = self.stage(capability);
        NodePublishVolumeRequest {
            volume_id: stage.volume_id,
            publish_context: stage.publish_context,
            staging_target_path: stage.staging_target_path,
            target_path: TARGET.to_owned(),
            volume_capability: stage.volume_capability,
            volume_context: stage.volume_context,
            ..NodePublishVolumeRequest::default()
        }
    }

    pub(crate) fn formats(&self) -> usize {
        let log = self.host.log();
        log.iter().filter(|call| *call == "format").count()
    }
}

pub(crate) fn filesystem() -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: "xfs".to_owned(),
            ..MountVolume::default()
        })),
    }
}

pub(crate) fn raw() -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::MultiNodeMultiWriter.into(),
        }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

pub(crate) fn unstage() -> NodeUnstageVolumeRequest {
    NodeUnstageVolumeRequest {
        volume_id: ID.to_owned(),
        staging_target_path: STAGING.to_owned(),
    }
}
