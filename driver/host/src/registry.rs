//! The NVMe sessions that this driver opened, on disk.
//!
//! A node may have sessions that are none of the driver's business, its own root disk
//! for one. Only an NQN recorded here may be disconnected. A session is recorded before
//! it is opened, so that a crash in between leaves a record too many and never one too
//! few. A file that cannot be read is an error that names it, never an absence.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::volume_id::VolumeId;
use tokio::sync::watch;

use crate::sys::calls::Calls;

mod session;
mod stored;

pub use session::{RawTarget, Session, Staging};
use stored::Stored;

/// For reading. The state directory may itself lie on a disk that is away, and a question
/// must be answered nevertheless. A change is awaited, however long it takes: one that is
/// given up may still come after a later one, and undo it.
const READING: Duration = Duration::from_secs(15);
/// How many readings may be under way.
const READINGS: usize = 16;

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
    reads: Calls,
    /// How many changes this process has made.
    changes: Arc<watch::Sender<u64>>,
    /// The raw targets of the records, in memory; `None` until they were read.
    raw_targets: Arc<Mutex<Option<Index>>>,
}

type Index = BTreeMap<VolumeId, Vec<RawTarget>>;

impl Registry {
    /// The registry below a directory of the host that outlives the plugin and, better,
    /// a reboot. Nothing is made before the first record.
    #[must_use]
    pub fn new(state_directory: &Path) -> Self {
        Self {
            directory: state_directory.join("sessions"),
            reads: Calls::new(READINGS),
            changes: Arc::new(watch::Sender::new(0)),
            raw_targets: Arc::default(),
        }
    }

    /// Tells of every change that this process makes to any record.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
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
        self.reading(self.path(volume), move |path| read(path, &owned))
            .await
    }

    /// Removes the record of a volume. Absent is success.
    pub async fn remove(&self, volume: &VolumeId) -> Result<(), RegistryError> {
        let directory = self.directory.clone();
        let removed = self.blocking(self.path(volume), move |path| {
            match fs::remove_file(path) {
                Ok(()) => File::open(&directory).and_then(|directory| directory.sync_all()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
            .map_err(|source| write_error(path, source))
        });
        removed.await.inspect(|()| self.changed(volume, None))
    }

    /// Every record, in the order of volume ids. One damaged file fails it all.
    pub async fn all(&self) -> Result<Vec<Session>, RegistryError> {
        let (sessions, damaged) = self.readable().await?;
        damaged.into_iter().next().map_or(Ok(sessions), Err)
    }

    /// The records that can be read, in the order of volume ids, and what is wrong with
    /// the others. For whoever looks after many volumes: one damaged file is no reason to
    /// leave the rest alone.
    pub async fn readable(&self) -> Result<(Vec<Session>, Vec<RegistryError>), RegistryError> {
        self.reading(self.directory.clone(), read_all).await
    }

    /// Every recorded target of a raw device. Records that cannot be read are passed over,
    /// and then looked for again at the next call; where all can be read, only the first
    /// call reads anything.
    pub async fn raw_targets(&self) -> Result<Vec<RawTarget>, RegistryError> {
        while self.index().is_none() {
            let before = *self.changes.borrow();
            let (sessions, unread) = self.readable().await?;
            let raw = sessions
                .iter()
                .map(|session| (&session.volume, raw(session)));
            if !unread.is_empty() {
                return Ok(raw.flat_map(|(_, targets)| targets).collect());
            }
            let read: Index = raw.map(|(id, targets)| (id.clone(), targets)).collect();
            let mut index = self.index();
            // A change since the reading began may be missing from it.
            if *self.changes.borrow() == before {
                *index = Some(read);
            }
        }
        let index = self.index();
        let all = index.iter().flat_map(BTreeMap::values);
        Ok(all.flatten().cloned().collect())
    }

    fn index(&self) -> MutexGuard<'_, Option<Index>> {
        self.raw_targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a record is another or, where there is none, gone.
    fn changed(&self, volume: &VolumeId, session: Option<&Session>) {
        if let Some(index) = &mut *self.index() {
            let targets = session.map(raw).unwrap_or_default();
            index.insert(volume.clone(), targets);
            index.retain(|_, targets| !targets.is_empty());
        }
        self.changes.send_modify(|changes| *changes += 1);
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

    async fn reading<T: Send + 'static>(
        &self,
        path: PathBuf,
        work: impl FnOnce(&Path) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let named = path.clone();
        let answer = self
            .reads
            .run("read", &path, READING, move || work(&named))
            .await;
        answer.unwrap_or_else(|failed| Err(read_error(&path, io::Error::other(failed))))
    }

    /// A crash leaves the old record or the new one: the text goes to a hidden file,
    /// which then takes the name.
    fn write(&self, path: &Path, session: &Session) -> Result<(), RegistryError> {
        let stored = Stored::from(session);
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
            self.changed(&session.volume, Some(session));
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| write_error(path, source))
    }
}

fn raw(session: &Session) -> Vec<RawTarget> {
    let paths = session.raw_targets().into_iter().flatten();
    paths
        .map(|path| RawTarget {
            volume: session.volume.clone(),
            nqn: session.nqn.clone(),
            path,
        })
        .collect()
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

fn read_all(directory: &Path) -> Result<(Vec<Session>, Vec<RegistryError>), RegistryError> {
    let entries = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(read_error(directory, error)),
    };
    let (mut sessions, mut wrong) = (Vec::new(), Vec::new());
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            // A draft that a crash left; its record never took effect.
            continue;
        }
        match read_named(&entry.path(), &name) {
            Ok(session) => sessions.extend(session),
            Err(error) => wrong.push(error),
        }
    }
    sessions.sort_by(|a, b| a.volume.cmp(&b.volume));
    Ok((sessions, wrong))
}

fn read_named(path: &Path, name: &str) -> Result<Option<Session>, RegistryError> {
    let damaged = |reason: String| RegistryError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let volume: VolumeId = name
        .strip_suffix(".json")
        .ok_or_else(|| damaged("its name does not end in .json".to_owned()))?
        .parse()
        .map_err(|error| damaged(format!("its name: {error}")))?;
    read(path, &volume)
}

fn read(path: &Path, volume: &VolumeId) -> Result<Option<Session>, RegistryError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read_error(path, error)),
    };
    let session = serde_json::from_slice::<Stored>(&bytes)
        .map_err(|error| error.to_string())
        .and_then(Session::try_from);
    let damaged = |reason| RegistryError::Damaged {
        path: path.to_owned(),
        reason,
    };
    match session.map_err(damaged)? {
        session if session.volume == *volume => Ok(Some(session)),
        other => Err(damaged(format!("it is about volume {}", other.volume))),
    }
}

#[cfg(test)]
mod tests;
