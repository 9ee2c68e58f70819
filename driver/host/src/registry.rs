//! The NVMe sessions that this driver opened, on disk.
//!
//! A node may have sessions that are none of the driver's business, its own root disk
//! for one. Only an NQN recorded here may be disconnected. A session is recorded before
//! it is opened, so that a crash in between leaves a record too many and never one too
//! few. A file that cannot be read is an error that names it, never an absence.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;
use serde::{Deserialize, Serialize};

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Of which volume.
    pub volume: VolumeId,
    /// Its subsystem.
    pub nqn: Nqn,
    /// Where it was connected.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// The staging path, where one is known.
    pub staged_at: Option<PathBuf>,
    /// When it was recorded, in seconds since 1970.
    pub opened: u64,
    /// The targets at which the volume is published as a raw device or read-only, and
    /// whether each is read-only. Written before a target is made, so one here may not exist.
    pub targets: BTreeMap<PathBuf, bool>,
}

/// Why the record could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Reading.
    #[error("reading the session record {path:?}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Writing or removing.
    #[error("writing the session record {path:?}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What it holds is no session, or that of another volume.
    #[error(
        "the session record {path:?} is damaged ({reason}); compare it with `cat /sys/class/nvme/*/subsysnqn`, then remove it"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Failure for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Damaged { .. } => Kind::Unreachable,
        }
    }
}

/// The directory of records; one file for each volume.
#[derive(Debug, Clone)]
pub struct Registry {
    directory: PathBuf,
}

/// A session as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    volume: String,
    nqn: String,
    address: IpAddr,
    port: u16,
    staged_at: Option<PathBuf>,
    opened: u64,
    #[serde(default)]
    targets: BTreeMap<PathBuf, bool>,
}

impl Registry {
    /// The registry below a directory of the host that outlives the plugin and, better,
    /// a reboot. Nothing is made before the first record.
    #[must_use]
    pub fn new(state_directory: &Path) -> Self {
        Self {
            directory: state_directory.join("sessions"),
        }
    }

    /// Writes or replaces the record of a volume; it is on the disk when this returns.
    pub async fn record(&self, session: &Session) -> Result<(), RegistryError> {
        let (registry, session) = (self.clone(), session.clone());
        let path = self.path(&session.volume);
        self.blocking(path, move |path| registry.write(path, &session))
            .await
    }

    /// Writes what `change` makes of a volume's record, and returns it.
    pub async fn update(
        &self,
        volume: &VolumeId,
        change: impl FnOnce(Option<Session>) -> Session + Send + 'static,
    ) -> Result<Session, RegistryError> {
        let (registry, owned) = (self.clone(), volume.clone());
        self.blocking(self.path(volume), move |path| {
            let session = change(read(path, &owned)?);
            registry.write(path, &session)?;
            Ok(session)
        })
        .await
    }

    /// The record of a volume; `None` only where there is no file.
    pub async fn get(&self, volume: &VolumeId) -> Result<Option<Session>, RegistryError> {
        let owned = volume.clone();
        self.blocking(self.path(volume), move |path| read(path, &owned))
            .await
    }

    /// Removes the record of a volume. Absent is success.
    pub async fn remove(&self, volume: &VolumeId) -> Result<(), RegistryError> {
        let directory = self.directory.clone();
        self.blocking(self.path(volume), move |path| {
            match fs::remove_file(path) {
                Ok(()) => File::open(&directory).and_then(|directory| directory.sync_all()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
            .map_err(|source| write_error(path, source))
        })
        .await
    }

    /// Every record, in the order of volume ids. One damaged file fails it all.
    pub async fn all(&self) -> Result<Vec<Session>, RegistryError> {
        self.blocking(self.directory.clone(), read_all).await
    }

    fn path(&self, volume: &VolumeId) -> PathBuf {
        self.directory.join(format!("{volume}.json"))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        path: PathBuf,
        work: impl FnOnce(&Path) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let named = path.clone();
        tokio::task::spawn_blocking(move || work(&path))
            .await
            .unwrap_or_else(|failed| Err(read_error(&named, io::Error::other(failed))))
    }

    /// A crash leaves the old record or the new one: the text goes to a hidden file,
    /// which then takes the name.
    fn write(&self, path: &Path, session: &Session) -> Result<(), RegistryError> {
        let stored = Stored {
            volume: session.volume.to_string(),
            nqn: session.nqn.to_string(),
            address: session.address,
            port: session.port,
            staged_at: session.staged_at.clone(),
            opened: session.opened,
            targets: session.targets.clone(),
        };
        let draft = self.directory.join(format!(".{}", session.volume));
        let open = |path: &Path| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
        };
        let write = || {
            let mut file = match open(&draft) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(&self.directory)?;
                    open(&draft)?
                }
                opened => opened?,
            };
            file.write_all(&serde_json::to_vec_pretty(&stored)?)?;
            file.sync_all()?;
            fs::rename(&draft, path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| write_error(path, source))
    }
}

fn read_error(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Read {
        path: path.to_owned(),
        source,
    }
}

fn write_error(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Write {
        path: path.to_owned(),
        source,
    }
}

fn read_all(directory: &Path) -> Result<Vec<Session>, RegistryError> {
    let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read_error(directory, error)),
    };
    let mut sessions = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            // A draft that a crash left; its record never took effect.
            continue;
        }
        let damaged = |reason: String| RegistryError::Damaged {
            path: entry.path(),
            reason,
        };
        let volume: VolumeId = name
            .strip_suffix(".json")
            .ok_or_else(|| damaged("its name does not end in .json".to_owned()))?
            .parse()
            .map_err(|error| damaged(format!("its name: {error}")))?;
        sessions.extend(read(&entry.path(), &volume)?);
    }
    sessions.sort_by(|a, b| a.volume.cmp(&b.volume));
    Ok(sessions)
}

fn read(path: &Path, volume: &VolumeId) -> Result<Option<Session>, RegistryError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read_error(path, error)),
    };
    let damaged = |reason: String| RegistryError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let stored: Stored =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if stored.volume != volume.as_str() {
        return Err(damaged(format!("it is about volume {:?}", stored.volume)));
    }
    Ok(Some(Session {
        volume: volume.clone(),
        nqn: stored
            .nqn
            .parse()
            .map_err(|error| damaged(format!("{error}")))?,
        address: stored.address,
        port: stored.port,
        staged_at: stored.staged_at,
        opened: stored.opened,
        targets: stored.targets,
    }))
}

#[cfg(test)]
mod tests;
