//! What the controller's log shows, at its most detailed: enough to follow a volume, and
//! no secret.
//!
//! A program of its own with one test: whether a line is logged at all is decided once for
//! the whole process, and tests beside it that log nothing would decide it.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, its parts outside test functions too"
)]

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csi_proto::v1::{DeleteVolumeRequest, ListVolumesRequest};
use rds_csi_driver::config::{ClusterMode, ControllerConfig};
use rds_csi_driver::serve::Driver;
use rds_csi_routeros::{Rds as _, RdsClient, RdsConfig};
use rds_csi_tests::plugin::{CLUSTER, Plugin};
use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;
use rds_sim::{Options, Sim};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::Code;
use tracing_subscriber::fmt::MakeWriter;

const NAME: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start() -> Self {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A controller that runs until this value goes.
struct Controller {
    plugin: Plugin,
    rds: Arc<RdsClient>,
    _server: JoinSet<()>,
    _link: DropGuard,
}

/// Serves a device with the key in a file.
async fn serve(sim: &Sim, directory: &Path, key: &str) -> Controller {
    let key_file = directory.join("key");
    std::fs::write(&key_file, key).unwrap();
    let host_key = sim.host_key().unwrap().parse().unwrap();
    let user = sim.user().to_owned();
    let config = ControllerConfig {
        driver_name: Default::default(),
        endpoint: directory.join("csi.sock"),
        admin: None,
        cluster_id: CLUSTER.parse().unwrap(),
        cluster: ClusterMode::None,
        nodes: BTreeSet::new(),
        rds: RdsConfig::new(sim.address().into(), user, key_file, vec![host_key]),
        volume_directory: Default::default(),
        nqn_prefix: Default::default(),
        nvme_address: sim.address().ip(),
        nvme_port: 4420,
        modes: rds_csi_core::attachment::Modes::default(),
        fencing: rds_csi_core::attachment::Fencing::default(),
        leftovers: Default::default(),
        probe: false,
        overcommit_percent: 100,
        shutdown_grace: Duration::from_secs(20),
    };
    tracing::info!(?config, "serving");
    let link = CancellationToken::new();
    let rds = RdsClient::start(config.rds.clone(), &TaskTracker::new(), link.clone());
    let driver = Driver::controller(&config, rds.clone(), None, CancellationToken::new()).await;
    let mut server = JoinSet::new();
    let running = driver.unwrap().run();
    server.spawn(async move { running.await.unwrap() });
    Controller {
        plugin: Plugin::at(&config.endpoint),
        rds,
        _server: server,
        _link: link.drop_guard(),
    }
}

fn secrets() -> HashMap<String, String> {
    HashMap::from([("password".to_owned(), "hunter2-of-the-claim".to_owned())])
}

/// Calls with secrets, good and bad ones.
async fn calls(plugin: &Plugin) {
    let mut request = Claim::block(NAME, 64).request();
    request.secrets = secrets();
    let mut controller = plugin.controller();
    let created = controller.create_volume(request.clone()).await.unwrap();
    request.name = "no name\n".to_owned();
    let refused = controller.create_volume(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let listed = ListVolumesRequest::default();
    controller.list_volumes(listed).await.unwrap();
    let request = DeleteVolumeRequest {
        volume_id: created.into_inner().volume.unwrap().volume_id,
        secrets: secrets(),
    };
    controller.delete_volume(request).await.unwrap();
}

#[tokio::test]
async fn no_secret_gets_into_the_most_detailed_log() {
    let log = Log::start();
    let sim = Sim::start(Options::default()).await.unwrap();
    let own = sim.client_key().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let controller = serve(&sim, directory.path(), own).await;
    let up = async || Ok(controller.rds.link().connected.then_some(()));
    until("the device is reached", PATIENCE, up).await.unwrap();
    calls(&controller.plugin).await;

    // A key that is not let in, and a file that is none, are told at length.
    let stranger = Sim::start(Options::default()).await.unwrap();
    let strange = stranger.client_key().unwrap();
    for content in [strange.to_owned(), format!("{strange}garbage")] {
        let directory = tempfile::tempdir().unwrap();
        let turned_away = serve(&sim, directory.path(), &content).await;
        let created = Claim::block(NAME, 64).create(&turned_away.plugin).await;
        assert_eq!(created.unwrap_err().code(), Code::Unavailable);
    }

    let text = log.text();
    for told in [
        "volume made",
        "volume removed",
        "was rejected",
        "CreateVolume",
        "\"level\":\"TRACE\"",
    ] {
        assert!(text.contains(told), "{told:?} is not in the log");
    }
    assert!(!text.contains("hunter2") && !text.contains("PRIVATE"));
    for line in own.lines().chain(strange.lines()) {
        assert!(!text.contains(line), "a line of a key is in the log");
    }
}
