//! A controller in this process with a device of its own, and a look at both.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use csi_proto::v1::{
    CapacityRange, ControllerExpandVolumeRequest, DeleteVolumeRequest, ListVolumesRequest,
    ListVolumesResponse,
};
use rds_csi_cluster::{ApiServer, Cluster};
use rds_csi_driver::config::{ClusterMode, ControllerConfig};
use rds_csi_driver::serve::{Driver, ServeError};
use rds_csi_routeros::{Rds as _, RdsClient, RdsConfig};
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::plugin::{CLUSTER, Plugin};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rds_sim::model::Item;
use rds_sim::{Fault, Options, Sim};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

/// How long a state may take to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Where backing files lie.
pub(crate) const DIRECTORY: &str = "storage-pool/rds-csi";
/// A name as external-provisioner makes them.
pub(crate) const NAME: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";

/// A binary megabyte.
pub(crate) const MIB: i64 = 1 << 20;
/// A binary gigabyte.
pub(crate) const GIB: i64 = 1 << 30;

/// What to start.
pub(crate) struct Setup {
    /// The device.
    pub(crate) device: Options,
    /// Whether the device refuses connections at first.
    pub(crate) down: bool,
    /// Whom the controller asks who may have a volume, if anybody.
    pub(crate) api: Option<SocketAddr>,
    /// Changes the controller's configuration.
    pub(crate) change: Box<dyn FnOnce(&mut ControllerConfig)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            device: Options::default(),
            down: false,
            api: None,
            change: Box::new(|_| {}),
        }
    }
}

/// A controller and its device.
pub(crate) struct World {
    pub(crate) sim: Arc<Sim>,
    pub(crate) plugin: Plugin,
    pub(crate) config: ControllerConfig,
    pub(crate) rds: Arc<RdsClient>,
    pub(crate) stop: CancellationToken,
    /// Where metrics and readiness are, if they are anywhere.
    pub(crate) admin: Option<SocketAddr>,
    server: JoinSet<Result<(), ServeError>>,
    api: Option<Arc<ApiServer>>,
    following: JoinSet<()>,
    _link: DropGuard,
    _directory: TempDir,
}

/// The code of a refusal.
pub(crate) fn code<T: Debug>(answer: Result<T, Status>) -> Code {
    answer.unwrap_err().code()
}

/// Ends in time or fails.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

/// A file that only its owner may read.
pub(crate) fn write_key(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

impl Setup {
    /// A device with these switches.
    pub(crate) fn switches(pairs: &[&str]) -> Self {
        let mut setup = Self::default();
        for pair in pairs {
            setup.device.variants.set_pair(pair).unwrap();
        }
        setup
    }

    /// A device whose pool has so many binary gigabytes.
    pub(crate) fn pool(mut self, gib: u64) -> Self {
        self.device.pool_size = gib << 30;
        self
    }

    /// With another configuration.
    pub(crate) fn config(mut self, change: impl FnOnce(&mut ControllerConfig) + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// Starts both. The controller serves; unless the device is down, its link is up.
    pub(crate) async fn start(self) -> World {
        let sim = Arc::new(Sim::start(self.device).await.unwrap());
        let down = self.down;
        sim.inject(Fault::RefuseConnections { refuse: down })
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(&sim, directory.path());
        (self.change)(&mut config);
        let api = match self.api {
            Some(address) => Some(FakeApiServer::client(address).await.unwrap()),
            None => None,
        };
        World::of(sim, config, api, directory).await
    }

    /// As [`Setup::start`], and the link is up.
    pub(crate) async fn connected(self) -> World {
        let world = self.start().await;
        world.reachable().await;
        world
    }
}

fn config(sim: &Sim, directory: &Path) -> ControllerConfig {
    let key = directory.join("key");
    write_key(&key, sim.client_key().unwrap());
    let host_key = sim.host_key().unwrap().parse().unwrap();
    let user = sim.user().to_owned();
    ControllerConfig {
        driver_name: Default::default(),
        endpoint: directory.join("csi.sock"),
        admin: None,
        cluster_id: CLUSTER.parse().unwrap(),
        cluster: ClusterMode::None,
        nodes: BTreeSet::new(),
        rds: RdsConfig::new(sim.address().into(), user, key, vec![host_key]),
        volume_directory: Default::default(),
        nqn_prefix: Default::default(),
        nvme_address: sim.address().ip(),
        nvme_port: 4420,
        modes: rds_csi_core::attachment::Modes::default(),
        fencing: rds_csi_core::attachment::Fencing::default(),
        leftovers: Default::default(),
        // Nobody serves NVMe over TCP here, unless a test does.
        probe: false,
        overcommit_percent: 100,
        shutdown_grace: Duration::from_secs(20),
    }
}

impl World {
    /// A controller of a device with nothing special about it.
    pub(crate) async fn new() -> Self {
        Setup::default().connected().await
    }

    /// Waits until the controller has a session with the device.
    pub(crate) async fn reachable(&self) {
        let up = async || Ok(self.rds.link().connected.then_some(()));
        until("the device is reached", PATIENCE, up).await.unwrap();
    }

    async fn of(
        sim: Arc<Sim>,
        config: ControllerConfig,
        api: Option<Arc<ApiServer>>,
        directory: TempDir,
    ) -> Self {
        let link = CancellationToken::new();
        let rds = RdsClient::start(config.rds.clone(), &TaskTracker::new(), link.clone());
        let mut world = Self {
            plugin: Plugin::at(&config.endpoint),
            sim,
            config,
            rds,
            stop: CancellationToken::new(),
            admin: None,
            server: JoinSet::new(),
            api,
            following: JoinSet::new(),
            _link: link.drop_guard(),
            _directory: directory,
        };
        world.serve().await;
        world
    }

    /// Another controller of the same device, which has its key from this one, and of the
    /// cluster at an address.
    pub(crate) async fn another(&self, api: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = ControllerConfig {
            endpoint: directory.path().join("csi.sock"),
            ..self.config.clone()
        };
        let api = FakeApiServer::client(api).await.unwrap();
        Self::of(self.sim.clone(), config, Some(api), directory).await
    }

    /// Whether it is the one of several controllers that leads.
    pub(crate) fn leads(&self) -> bool {
        let api = self.api.as_ref();
        api.is_some_and(|api| api.leadership().is_held())
    }

    /// What the one that leads has said.
    pub(crate) fn word(&self) -> Option<String> {
        self.api.as_ref()?.leadership().word()
    }

    /// Waits until the controller has read what the one that leads says.
    pub(crate) async fn hears(&self) {
        let api = self.api.as_ref().unwrap();
        let heard = async || Ok(api.leadership().has_heard().then_some(()));
        until("the Lease is read", PATIENCE, heard).await.unwrap();
    }

    /// Ends the server in order, and all that is done beside it.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        self.ended().await.unwrap();
        self.following.shutdown().await;
    }

    async fn serve(&mut self) {
        self.stop = CancellationToken::new();
        let api = self.api.clone().map(|api| api as Arc<dyn Cluster>);
        let driver = Driver::controller(&self.config, self.rds.clone(), api, self.stop.clone());
        let driver = driver.await.unwrap();
        self.admin = driver.admin_address();
        self.server.spawn(driver.run());
        self.following.abort_all();
        if let Some(api) = self.api.clone() {
            self.following
                .spawn(async move { Box::pin(api.follow()).await });
        }
        self.plugin = Plugin::at(&self.config.endpoint);
    }

    /// How the server ended.
    pub(crate) async fn ended(&mut self) -> Result<(), ServeError> {
        soon(self.server.join_next()).await.unwrap().unwrap()
    }

    /// Ends the server in order and starts another one, which knows nothing of it.
    pub(crate) async fn restart(&mut self) {
        self.stop.cancel();
        self.ended().await.unwrap();
        self.serve().await;
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.sim.inject(fault).unwrap();
    }

    pub(crate) async fn create(&self, claim: &Claim) -> Result<Volume, Status> {
        claim.clone().create(&self.plugin).await
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = DeleteVolumeRequest {
            volume_id: id.to_owned(),
            ..DeleteVolumeRequest::default()
        };
        let mut client = self.plugin.controller();
        client.delete_volume(request).await.map(drop)
    }

    /// The size after an expansion.
    pub(crate) async fn expand(&self, id: &str, required: i64, limit: i64) -> Result<i64, Status> {
        let request = ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            capacity_range: Some(CapacityRange {
                required_bytes: required,
                limit_bytes: limit,
            }),
            ..ControllerExpandVolumeRequest::default()
        };
        let mut client = self.plugin.controller();
        let answer = client.controller_expand_volume(request).await?.into_inner();
        assert!(answer.node_expansion_required);
        Ok(answer.capacity_bytes)
    }

    pub(crate) async fn list(&self, most: i32, from: &str) -> Result<ListVolumesResponse, Status> {
        let request = ListVolumesRequest {
            max_entries: most,
            starting_token: from.to_owned(),
        };
        let mut client = self.plugin.controller();
        Ok(client.list_volumes(request).await?.into_inner())
    }

    /// The items with a file, as the device has them.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.sim.with_model(|model| {
            let items = model.device().items.iter();
            items
                .filter(|item| item.file().is_some())
                .cloned()
                .collect()
        })
    }

    /// The files on the pool with their sizes.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        self.sim.with_model(|model| model.files().unwrap())
    }

    /// Everything on the device, to compare.
    pub(crate) fn device(&self) -> (Vec<Item>, Vec<(String, u64)>) {
        (self.items(), self.files())
    }

    /// Where a file of the device lies on this machine.
    pub(crate) fn host_path(&self, file: &str) -> PathBuf {
        self.sim.pool_dir().join(file)
    }

    /// The volume is on the device once, whole, marked and of this size.
    pub(crate) fn assert_whole(&self, volume: &Volume, size: i64) {
        let id = volume.id();
        let items = self.items();
        let mut items = items.iter().filter(|item| item.slot == id);
        let item = items.next().unwrap();
        assert!(items.next().is_none());
        assert_eq!(item.comment, format!("rds-csi/lab/{}", volume.claim.name));
        let file = item.file().unwrap();
        let size = u64::try_from(size).unwrap();
        let nqn = format!("nqn.2000-02.com.mikrotik:{id}");
        assert_eq!(file.file_path, format!("/{DIRECTORY}/{id}.img"));
        assert_eq!((file.size, file.export), (size, true));
        assert_eq!((file.nqn.as_ref(), file.port), (Some(&nqn), Some(4420)));
        assert!(!file.mount_filesystem && !item.disabled);
        let files = self.files();
        assert!(
            files.contains(&(format!("{DIRECTORY}/{id}.img"), size)),
            "{files:?}"
        );
    }

    /// No volume and no file is on the device.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.device(), (Vec::new(), Vec::new()));
    }
}
