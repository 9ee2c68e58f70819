//! Records as files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rds_csi_core::volume_id::VolumeId;

use super::error::{read_error, write_error};
use super::stored::Stored;
use super::{RegistryError, Session};

/// A crash leaves the old record or the new one: the text goes to a hidden file,
/// which then takes the name.
pub(super) fn write(directory: &Path, path: &Path, session: &Session) -> Result<(), RegistryError> {
    let stored = Stored::from(session);
    let draft = directory.join(format!(".{}", session.volume));
    let write = || {
        let text = serde_json::to_vec_pretty(&stored)?;
        match replace(&draft, path, &text) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)?;
                if let Some(parent) = directory.parent() {
                    File::open(parent)?.sync_all()?;
                }
                replace(&draft, path, &text)?;
            }
            replaced => replaced?,
        }
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| write_error(path, source))
}

/// Writes the draft and has it take the name.
pub(super) fn replace(draft: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(draft, path)
}

/// Absent is success.
pub(super) fn remove(directory: &Path, path: &Path) -> Result<(), RegistryError> {
    match fs::remove_file(path) {
        Ok(()) => File::open(directory).and_then(|directory| directory.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|source| write_error(path, source))
}

pub(super) fn read_all(
    directory: &Path,
) -> Result<(Vec<Session>, Vec<RegistryError>), RegistryError> {
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

pub(super) fn read(path: &Path, volume: &VolumeId) -> Result<Option<Session>, RegistryError> {
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
