//! A whole node on a real socket, over a model of its machine that outlives it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step of a test ends it"
)]

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi_proto::v1::{
    NodeGetInfoRequest, NodeGetVolumeStatsRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability,
};
use hyper_util::rt::TokioIo;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::{Nqn, NqnPrefix};
use rds_csi_driver::args::Cli;
use rds_csi_driver::config::{Config, NodeConfig, Role};
use rds_csi_driver::serve::{Driver, ServeError};
use rds_csi_host::fake::{Array, FakeHost, Medium};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const ID: &str = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy";
const SIZE: Bytes = Bytes::gib(1);
const STAGING: &str = "/kubelet/staging/globalmount";
const TARGET: &str = "/kubelet/pods/1/mount";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it should have ended long ago")
}

/// A machine with its state directory, which outlives every process on it.
struct Machine {
    array: Array,
    host: FakeHost,
    nqn: Nqn,
    base: TempDir,
}

/// A node plugin in a task of this process.
struct Running {
    client: NodeClient<Channel>,
    stop: CancellationToken,
    task: JoinSet<Result<(), ServeError>>,
}

impl Machine {
    fn new() -> Self {
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

    fn config(&self) -> NodeConfig {
        let path = |name: &str| self.base.path().join(name).display().to_string();
        let args = [
            "rds-csi-driver",
            "node",
            "--cluster-id=c1",
            "--node-name=node-1",
            "--admin-listen=off",
            "--shutdown-grace=20s",
            "--state-dir",
            &path("state"),
            "--endpoint",
            &path("csi.sock"),
        ]
        .map(str::to_owned);
        let config = Config::try_from(&Cli::try_parse_from(args).unwrap()).unwrap();
        match config.role {
            Role::Node(config) => config,
            Role::Controller(_) => panic!("a node was asked for"),
        }
    }

    async fn start(&self) -> Running {
        let config = self.config();
        let stop = CancellationToken::new();
        let host = Arc::new(self.host.clone());
        let driver = Driver::node(&config, host, stop.clone()).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        Running {
            client: NodeClient::new(channel(&config.endpoint).await),
            stop,
            task,
        }
    }

    fn stage(&self, capability: VolumeCapability) -> NodeStageVolumeRequest {
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

    fn publish(&self, capability: VolumeCapability) -> NodePublishVolumeRequest {
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

    fn formats(&self) -> usize {
        let log = self.host.log();
        log.iter().filter(|call| *call == "format").count()
    }
}

impl Running {
    async fn end(mut self) -> Result<(), ServeError> {
        self.stop.cancel();
        soon(self.task.join_next()).await.unwrap().unwrap()
    }
}

async fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://csi")
        .connect_with_connector(connect)
        .await
        .unwrap()
}

fn filesystem() -> VolumeCapability {
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

fn raw() -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::MultiNodeMultiWriter.into(),
        }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

fn unstage() -> NodeUnstageVolumeRequest {
    NodeUnstageVolumeRequest {
        volume_id: ID.to_owned(),
        staging_target_path: STAGING.to_owned(),
    }
}

#[tokio::test]
async fn a_volume_lives_through_a_new_process_for_every_call() {
    for capability in [filesystem(), raw()] {
        let machine = Machine::new();
        let mut running = machine.start().await;
        let request = machine.stage(capability.clone());
        running.client.node_stage_volume(request).await.unwrap();
        running.end().await.unwrap();

        let mut running = machine.start().await;
        let request = machine.publish(capability);
        running.client.node_publish_volume(request).await.unwrap();
        running.end().await.unwrap();

        let mut running = machine.start().await;
        let stats = NodeGetVolumeStatsRequest {
            volume_id: ID.to_owned(),
            volume_path: TARGET.to_owned(),
            ..NodeGetVolumeStatsRequest::default()
        };
        let stats = running.client.node_get_volume_stats(stats).await.unwrap();
        assert_eq!(stats.get_ref().usage[0].total, SIZE.to_i64());
        let unpublish = NodeUnpublishVolumeRequest {
            volume_id: ID.to_owned(),
            target_path: TARGET.to_owned(),
        };
        let answer = running.client.node_unpublish_volume(unpublish).await;
        answer.unwrap();
        running.end().await.unwrap();

        let mut running = machine.start().await;
        running.client.node_unstage_volume(unstage()).await.unwrap();
        running.end().await.unwrap();
        assert!(machine.host.connected().is_empty());
        assert_eq!(machine.host.mount_table(), []);
    }
}

#[tokio::test]
async fn a_client_that_leaves_and_a_shutdown_cut_no_staging_off() {
    let machine = Machine::new();
    let delay = Duration::from_millis(700);
    machine.array.set_namespace_delay(&machine.nqn, delay);
    let running = machine.start().await;
    let mut leaving = running.client.clone();
    let connected = async {
        while machine.host.connected().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = leaving.node_stage_volume(machine.stage(filesystem())) => panic!("{answer:?}"),
        () = soon(connected) => {}
    }
    drop(leaving);
    let mut second = running.client.clone();
    let busy = second.node_stage_volume(machine.stage(filesystem())).await;
    assert_eq!(busy.unwrap_err().code(), Code::Aborted);
    let busy = second.node_unstage_volume(unstage()).await;
    assert_eq!(busy.unwrap_err().code(), Code::Aborted);
    drop(second);
    running.end().await.unwrap();
    assert_eq!(machine.host.mount_table().len(), 1, "staged to its end");

    let mut running = machine.start().await;
    let again = running
        .client
        .node_stage_volume(machine.stage(filesystem()))
        .await;
    again.unwrap();
    assert_eq!(machine.formats(), 1);
    running.end().await.unwrap();
}

#[tokio::test]
async fn the_node_is_named_as_its_cluster_names_it() {
    let machine = Machine::new();
    let mut running = machine.start().await;
    let info = running.client.node_get_info(NodeGetInfoRequest {}).await;
    assert_eq!(info.unwrap().get_ref().node_id, "node-1");
    running.end().await.unwrap();
}
