//! The NVMe sessions that this driver opened, on disk.
//!
//! A node may have sessions that are none of the driver's business, its own root disk
//! for one. Only an NQN recorded here may be disconnected. A session is recorded before
//! it is opened, so that a crash in between leaves a record too many and never one too
//! few. A file that cannot be read is an error that names it, never an absence.

use std::path::PathBuf;

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;
use std::net::IpAddr;

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
