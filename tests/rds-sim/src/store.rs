//! The configuration on disk: what a device keeps over a restart.
//!
//! A save is whole or absent: written beside, synced, renamed, and the directory synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use crate::model::Device;

/// A step on the state directory that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("could not {step} {path}")]
    File {
        /// What was tried.
        step: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The saved configuration is not one.
    #[error("{0} holds no configuration of the simulator")]
    Configuration(PathBuf, #[source] serde_json::Error),
    /// The host key cannot be made or read.
    #[error("{0} holds no host key")]
    HostKey(PathBuf, #[source] russh::keys::ssh_key::Error),
}

/// A state directory.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Uses `directory`, and makes it if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let made = fs::create_dir_all(directory);
        made.map_err(|source| file("make", directory, source))?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// The saved configuration, if there is one.
    ///
    /// # Errors
    /// When there is something that cannot be read as one.
    pub fn load(&self) -> Result<Option<Device>, StoreError> {
        let path = self.directory.join("configuration.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| StoreError::Configuration(path, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file("read", &path, source)),
        }
    }

    /// Saves the configuration.
    ///
    /// # Errors
    /// When it may not be on disk.
    pub fn save(&self, device: &Device) -> Result<(), StoreError> {
        let path = self.directory.join("configuration.json");
        let bytes = serde_json::to_vec_pretty(device)
            .map_err(|error| StoreError::Configuration(path.clone(), error))?;
        self.replace(&path, &bytes)
    }

    /// The host key; made at the first call and kept.
    ///
    /// # Errors
    /// When it cannot be read, made or kept.
    pub fn host_key(&self) -> Result<PrivateKey, StoreError> {
        let path = self.directory.join("host_key");
        let wrong = |error| StoreError::HostKey(path.clone(), error);
        match fs::read(&path) {
            Ok(bytes) => PrivateKey::from_openssh(bytes).map_err(wrong),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut rng = russh::keys::key::safe_rng();
                let key = PrivateKey::random(&mut rng, Algorithm::Ed25519).map_err(wrong)?;
                let text = key.to_openssh(LineEnding::LF).map_err(wrong)?;
                self.replace(&path, text.as_bytes())?;
                Ok(key)
            }
            Err(source) => Err(file("read", &path, source)),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let beside = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut new = options.open(&beside)?;
            new.write_all(bytes)?;
            new.sync_all()?;
            fs::rename(&beside, path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| file("write", path, source))
    }
}

fn file(step: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        step,
        path: path.to_owned(),
        source,
    }
}
