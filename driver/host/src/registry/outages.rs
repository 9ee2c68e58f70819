//! Since when volumes have been without their connection, on disk, so that a process that
//! starts in the middle of an outage goes on with it.
//!
//! One file for all, beside the records and not in them: whoever watches the sessions
//! writes it without any volume's guard, and a record is not rewritten for what only
//! people are told.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rds_csi_core::volume_id::VolumeId;
use serde::{Deserialize, Serialize};

use super::error::{read_error, write_error};
use super::{RegistryError, files};

/// The file's name in the state directory.
pub(super) const NAME: &str = "outages.json";

/// Since when each volume that is lost has been, in milliseconds since 1970.
pub type Outages = BTreeMap<VolumeId, u64>;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// In which boot of the machine: what was lost in another one is of no interest.
    boot: String,
    lost: BTreeMap<String, u64>,
}

/// Without outages there is no file.
pub(super) fn write(directory: &Path, boot: &str, outages: &Outages) -> Result<(), RegistryError> {
    let path = directory.join(NAME);
    if outages.is_empty() {
        return files::remove(directory, &path);
    }
    let stored = Stored {
        boot: boot.to_owned(),
        lost: outages
            .iter()
            .map(|(id, since)| (id.to_string(), *since))
            .collect(),
    };
    let draft = directory.join(format!(".{NAME}"));
    let text = serde_json::to_vec_pretty(&stored).map_err(io::Error::from);
    text.and_then(|text| {
        files::replace(&draft, &path, &text)?;
        File::open(directory)?.sync_all()
    })
    .map_err(|source| write_error(&path, source))
}

pub(super) fn read(directory: &Path, boot: &str) -> Result<Outages, RegistryError> {
    let path = directory.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outages::new()),
        Err(error) => return Err(read_error(&path, error)),
    };
    let damaged = |reason: String| RegistryError::Damaged {
        path: path.clone(),
        reason,
    };
    let stored: Stored =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if stored.boot != boot {
        return Ok(Outages::new());
    }
    let parsed = stored.lost.into_iter().map(|(id, since)| {
        let id = id.parse().map_err(|error| damaged(format!("{error}")))?;
        Ok((id, since))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    #[tokio::test]
    async fn outages_outlive_the_process_and_not_the_boot() {
        let base = tempfile::tempdir().unwrap();
        let registry = Registry::new(base.path());
        let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
        let outages = Outages::from([(id, 1_700_000_000_123)]);
        assert_eq!(registry.outages("a").await.unwrap(), Outages::new());
        registry.note_outages("a", Outages::new()).await.unwrap();
        registry.note_outages("a", outages.clone()).await.unwrap();
        let later = Registry::new(base.path());
        assert_eq!(later.outages("a").await.unwrap(), outages);
        assert_eq!(later.outages("b").await.unwrap(), Outages::new());
        assert_eq!(later.all().await.unwrap(), [], "they are no records");
        fs::write(base.path().join(NAME), "{").unwrap();
        assert!(later.outages("a").await.is_err());
        later.note_outages("a", Outages::new()).await.unwrap();
        assert!(fs::read_dir(base.path()).unwrap().next().is_none());
    }
}
