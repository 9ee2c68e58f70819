//! A client with a simulator behind it.

use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::appliance::Step;
use rds_csi_core::backing_file::{BackingFile, VolumeDirectory};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::NqnPrefix;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::client::{RdsClient, RosClient};
use rds_csi_routeros::command::Dialect;
use rds_csi_routeros::{Rds, RdsConfig};
use rds_csi_tests::console::MemoryConsole;
use rds_sim::model::Device;
use rds_sim::{Model, Options, Sim, Variants};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A volume as the driver would make it.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) id: VolumeId,
    pub(crate) file: BackingFile,
    pub(crate) owner: Owner,
}

impl Volume {
    pub(crate) fn new(name: &str) -> Self {
        let owner = Owner::from_comment(&format!("rds-csi/lab/{name}")).unwrap();
        let id = VolumeId::for_name(&owner.cluster, name);
        let file = VolumeDirectory::default().file(&id);
        Self { id, file, owner }
    }

    pub(crate) fn creation(&self, size: Bytes) -> Vec<Step> {
        let nqn = NqnPrefix::default().nqn(&self.id);
        vec![
            Step::Add {
                size,
                owner: self.owner.clone(),
            },
            Step::Offer { nqn, port: 4420 },
            Step::Export,
        ]
    }
}

pub(crate) const DELETION: [Step; 3] = [Step::Unexport, Step::RemoveItem, Step::RemoveFile];

pub(crate) fn variants(pairs: &[&str]) -> Variants {
    let mut variants = Variants::default();
    for pair in pairs {
        variants.set_pair(pair).unwrap();
    }
    variants
}

/// The client over a model in memory.
pub(crate) struct Memory {
    pub(crate) console: MemoryConsole,
    pub(crate) rds: RosClient<MemoryConsole>,
    _directory: TempDir,
}

pub(crate) fn memory(variants: Variants, dialect: Dialect) -> Memory {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("storage-pool")).unwrap();
    let device = Device::with_pool("raid1", "storage-pool", 100 << 30, "contract");
    let model = Model::new(variants, device, directory.path());
    let console = MemoryConsole::new(model, dialect);
    Memory {
        rds: RosClient::new(console.clone(), VolumeDirectory::default()),
        console,
        _directory: directory,
    }
}

/// The client over SSH.
pub(crate) struct Ssh {
    pub(crate) sim: Sim,
    pub(crate) rds: Arc<RdsClient>,
    pub(crate) config: RdsConfig,
    _token: DropGuard,
    _directory: TempDir,
}

pub(crate) async fn ssh(variants: Variants) -> Ssh {
    ssh_with(variants, |_| {}).await
}

/// A client whose configuration was changed before its start.
pub(crate) async fn ssh_with(variants: Variants, change: impl FnOnce(&mut RdsConfig)) -> Ssh {
    let options = Options {
        variants,
        ..Options::default()
    };
    let sim = Sim::start(options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let key_file = directory.path().join("key");
    write_key(&key_file, sim.client_key().unwrap());
    let host_key = sim.host_key().unwrap().parse().unwrap();
    let mut config = RdsConfig::new(
        sim.address().into(),
        sim.user().to_owned(),
        key_file,
        vec![host_key],
    );
    config.command_timeout = Duration::from_secs(5);
    change(&mut config);
    let token = CancellationToken::new();
    let rds = RdsClient::start(config.clone(), &TaskTracker::new(), token.clone());
    Ssh {
        sim,
        rds,
        config,
        _token: token.drop_guard(),
        _directory: directory,
    }
}

pub(crate) fn write_key(path: &std::path::Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Asks for a volume until the client has a session again; bounded.
pub(crate) async fn reconnected(
    rds: &dyn Rds,
    volume: &Volume,
) -> rds_csi_core::appliance::VolumeState {
    let asked = async {
        loop {
            match rds.volume(&volume.id, &volume.file).await {
                Ok(state) => return state,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked)
        .await
        .unwrap()
}
