//! How a simulator is started, and what can keep it from starting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;

use crate::model::{Device, Model};
use crate::nvmet::{CONFIGFS, Target};
use crate::store::{Store, StoreError};
use crate::variants::Variants;

/// How a simulator is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the SSH server; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the control socket, if there is to be one.
    pub control: Option<SocketAddr>,
    /// Where configuration and host key are kept; none uses a directory that goes with the simulator.
    pub state_dir: Option<PathBuf>,
    /// Where backing files lie; none uses a directory that goes with the simulator.
    pub pool_dir: Option<PathBuf>,
    /// The one user who may log in.
    pub user: String,
    /// Public keys in OpenSSH form; none makes a key pair, see [`Sim::client_key`].
    pub authorized_keys: Vec<String>,
    /// Slot of the pool of a new device.
    pub pool_slot: String,
    /// Mount point of the pool of a new device.
    pub pool_mount_point: String,
    /// Bytes of the pool of a new device.
    pub pool_size: u64,
    /// How long after the start the pool is mounted.
    pub pool_mount_delay: Duration,
    /// The switches.
    pub variants: Variants,
    /// Address on which the kernel's NVMe target serves exports; none serves nothing.
    pub nvmet: Option<String>,
    /// Where configfs shows the target.
    pub configfs_root: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            control: None,
            state_dir: None,
            pool_dir: None,
            user: "rds-csi".to_owned(),
            authorized_keys: Vec::new(),
            pool_slot: "raid1".to_owned(),
            pool_mount_point: "storage-pool".to_owned(),
            pool_size: 100 << 30,
            pool_mount_delay: Duration::ZERO,
            variants: Variants::default(),
            nvmet: None,
            configfs_root: PathBuf::from(CONFIGFS),
        }
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory is unusable.
    #[error("could not use the state directory")]
    Store(#[from] StoreError),
    /// A directory could not be made.
    #[error("could not make {0}")]
    Directory(PathBuf, #[source] io::Error),
    /// An address could not be listened on.
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A key could not be read or made.
    #[error("could not read or make a key")]
    Key(#[from] russh::keys::ssh_key::Error),
}

/// A directory that goes with its owner.
#[derive(Debug)]
pub(super) struct OwnDirectory(pub(super) PathBuf);

impl OwnDirectory {
    pub(super) fn new() -> Result<Self, StartError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let path = std::env::temp_dir().join(format!(
            "rds-sim-{}-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed),
            now.map_or(0, |now| now.as_nanos())
        ));
        std::fs::create_dir(&path).map_err(|error| StartError::Directory(path.clone(), error))?;
        Ok(Self(path))
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "directory left behind");
        }
    }
}

/// The model with its kept configuration, switched on.
pub(super) fn model(options: &Options, store: Store) -> Result<Model, StartError> {
    let pool_dir = options.pool_dir.clone().unwrap_or_default();
    let mount_point = pool_dir.join(&options.pool_mount_point);
    let made = std::fs::create_dir_all(&mount_point);
    made.map_err(|error| StartError::Directory(mount_point, error))?;
    let new = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = format!(
            "{}-{}",
            std::process::id(),
            now.map_or(0, |now| now.as_nanos())
        );
        let (slot, mount_point) = (&options.pool_slot, &options.pool_mount_point);
        Device::with_pool(slot, mount_point, options.pool_size, &seed)
    };
    let device = store.load()?.unwrap_or_else(new);
    let variants = options.variants.clone();
    let mut model = Model::new(variants, device, &pool_dir);
    model.save_to(store);
    if let Some(address) = &options.nvmet {
        let (root, variants) = (&options.configfs_root, &options.variants);
        let (notice, order) = (variants.resize_notice, variants.boot_order);
        model.serve_with(Target::new(root, address, notice, order));
    }
    model.switch_on(options.pool_mount_delay)?;
    Ok(model)
}

/// A listener and the address it got.
pub(super) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
