//! Fields of requests, guards and answers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi_proto::v1::{CapacityRange, VolumeCapability};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::{HostIdentity, Nqn, NqnPrefix};
use rds_csi_core::nvme::ControllerState;
use rds_csi_host::fake::{Array, FakeHost, Fault, Medium};
use rds_csi_host::registry::Registry;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::*;
use crate::metrics::Metrics;
use crate::node::NodeSettings;

mod calls;
mod fields;

const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";
const SIZE: Bytes = Bytes::gib(1);
const STAGING: &str = "/kubelet/staging/globalmount";
const TARGET: &str = "/kubelet/pods/1/mount";

struct Lab {
    array: Array,
    host: FakeHost,
    handler: NodeHandler,
    nqn: Nqn,
    _state: TempDir,
}

impl Lab {
    fn new() -> Self {
        let nqn = NqnPrefix::default().nqn(&ID.parse().unwrap());
        let array = Array::new();
        array.export(&nqn, SIZE, Medium::Blank);
        let host = FakeHost::new(&array);
        let state = tempfile::tempdir().unwrap();
        let settings = NodeSettings {
            name: "node-1".to_owned(),
            identity: HostIdentity::of(&"lab".parse().unwrap(), "node-1"),
            nqn_prefix: NqnPrefix::default(),
            connect_timeout: Duration::from_secs(30),
            max_volumes: 64,
            boot: "boot-1".to_owned(),
            shutdown_marker: None,
            nodes: PathBuf::from("/dev/rds-csi"),
        };
        let node = Node::new(
            settings,
            Arc::new(host.clone()),
            Registry::new(state.path()),
            Metrics::new("node", Vec::new()),
        );
        Self {
            array,
            host,
            handler: NodeHandler::new(Arc::new(node), Tasks::new(CancellationToken::new())),
            nqn,
            _state: state,
        }
    }

    fn stage(&self) -> NodeStageVolumeRequest {
        NodeStageVolumeRequest {
            volume_id: ID.to_owned(),
            publish_context: map(&[("size", &SIZE.get().to_string())]),
            staging_target_path: STAGING.to_owned(),
            volume_capability: Some(capability(Mode::SingleNodeWriter, "ext4")),
            volume_context: self.volume_context(),
            ..NodeStageVolumeRequest::default()
        }
    }

    fn publish(&self) -> NodePublishVolumeRequest {
        let stage = self.stage();
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

    fn volume_context(&self) -> HashMap<String, String> {
        map(&[
            ("nvmeAddress", "192.0.2.7"),
            ("nvmePort", "4420"),
            ("nqn", self.nqn.as_str()),
            ("volumePath", "/pool/csi"),
        ])
    }

    async fn send_stage(&self, request: NodeStageVolumeRequest) -> Result<(), Status> {
        let answer = self.handler.node_stage_volume(Request::new(request)).await;
        answer.map(drop)
    }

    async fn send_publish(&self, request: NodePublishVolumeRequest) -> Result<(), Status> {
        let answer = self
            .handler
            .node_publish_volume(Request::new(request))
            .await;
        answer.map(drop)
    }

    async fn send_unstage(&self, volume_id: &str, path: &str) -> Result<(), Status> {
        let request = NodeUnstageVolumeRequest {
            volume_id: volume_id.to_owned(),
            staging_target_path: path.to_owned(),
        };
        let answer = self
            .handler
            .node_unstage_volume(Request::new(request))
            .await;
        answer.map(drop)
    }

    async fn send_unpublish(&self, volume_id: &str, path: &str) -> Result<(), Status> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            target_path: path.to_owned(),
        };
        let answer = self
            .handler
            .node_unpublish_volume(Request::new(request))
            .await;
        answer.map(drop)
    }

    async fn send_stats(
        &self,
        volume_id: &str,
        path: &str,
    ) -> Result<NodeGetVolumeStatsResponse, Status> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: volume_id.to_owned(),
            volume_path: path.to_owned(),
            ..NodeGetVolumeStatsRequest::default()
        };
        let answer = self
            .handler
            .node_get_volume_stats(Request::new(request))
            .await;
        answer.map(Response::into_inner)
    }

    async fn send_expand(&self, request: NodeExpandVolumeRequest) -> Result<i64, Status> {
        let answer = self.handler.node_expand_volume(Request::new(request)).await;
        answer.map(|answer| answer.get_ref().capacity_bytes)
    }
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn capability(mode: Mode, fs_type: &str) -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            ..MountVolume::default()
        })),
    }
}

fn raw(mode: Mode) -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}
