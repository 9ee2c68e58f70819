//! Why a record could not be read or changed. An unread record is never an absent one.

use std::io;
use std::path::{Path, PathBuf};

use rds_csi_core::kind::{Failure, Kind};

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

pub(super) fn read_error(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Read {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn write_error(path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Write {
        path: path.to_owned(),
        source,
    }
}
