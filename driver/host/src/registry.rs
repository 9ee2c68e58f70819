//! The NVMe sessions that this driver opened, on disk.
//!
//! A node may have sessions that are none of the driver's business, its own root disk
//! for one. Only an NQN recorded here may be disconnected. A session is recorded before
//! it is opened, so that a crash in between leaves a record too many and never one too
//! few. A file that cannot be read is an error that names it, never an absence.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_csi_core::volume_id::VolumeId;
use tokio::sync::watch;

use crate::sys::calls::Calls;

mod error;
mod files;
mod outages;
mod session;
mod stored;

pub use error::RegistryError;
use error::read_error;
pub use outages::Outages;
pub use session::{RawTarget, Session, Staging};

/// For reading. The state directory may itself lie on a disk that is away, and a question
/// must be answered nevertheless. A change is awaited, however long it takes: one that is
/// given up may still come after a later one, and undo it.
const READING: Duration = Duration::from_secs(15);
/// How many readings may be under way.
const READINGS: usize = 16;

/// The directory of records; one file for each volume.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Where all is kept.
    state: PathBuf,
    /// Where the records are.
    directory: PathBuf,
    reads: Calls,
    /// How many changes this process has made.
    changes: Arc<watch::Sender<u64>>,
    /// The raw targets of the records, in memory; `None` until they were read.
    raw_targets: Arc<Mutex<Option<Index>>>,
}

type Index = BTreeMap<VolumeId, Vec<RawTarget>>;

impl Registry {
    /// How many threads of the runtime's blocking pool its readings take at most.
    pub const THREADS: usize = READINGS;

    /// The registry below a directory of the host that outlives the plugin and, better,
    /// a reboot. Nothing is made before the first record.
    #[must_use]
    pub fn new(state_directory: &Path) -> Self {
        Self {
            state: state_directory.to_owned(),
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
            let session = change(files::read(path, &owned)?);
            registry.write(path, &session)?;
            Ok(session)
        })
        .await
    }

    /// The record of a volume; `None` only where there is no file.
    pub async fn get(&self, volume: &VolumeId) -> Result<Option<Session>, RegistryError> {
        let owned = volume.clone();
        self.reading(self.path(volume), move |path| files::read(path, &owned))
            .await
    }

    /// Removes the record of a volume. Absent is success.
    pub async fn remove(&self, volume: &VolumeId) -> Result<(), RegistryError> {
        let directory = self.directory.clone();
        let removed = self.blocking(self.path(volume), move |path| {
            files::remove(&directory, path)
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
        self.reading(self.directory.clone(), files::read_all).await
    }

    /// Writes down which volumes are lost in this boot of the machine, and since when.
    pub async fn note_outages(&self, boot: &str, outages: Outages) -> Result<(), RegistryError> {
        let boot = boot.to_owned();
        self.blocking(self.state.clone(), move |state| {
            outages::write(state, &boot, &outages)
        })
        .await
    }

    /// Which volumes were lost in this boot of the machine when that was last written down.
    pub async fn outages(&self, boot: &str) -> Result<Outages, RegistryError> {
        let boot = boot.to_owned();
        self.reading(self.state.clone(), move |state| outages::read(state, &boot))
            .await
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

    fn write(&self, path: &Path, session: &Session) -> Result<(), RegistryError> {
        let written = files::write(&self.directory, path, session);
        // A write that failed may be there all the same, and a target too many is looked at
        // before anything is done about it.
        self.changed(&session.volume, Some(session));
        written
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

#[cfg(test)]
mod tests;
