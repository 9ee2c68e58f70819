//! Why a volume is not made, grown or removed.

use crate::backing_file::BackingFile;
use crate::bytes::{Bytes, CapacityError};
use crate::cluster_id::ClusterId;
use crate::kind::{Failure, Kind};
use crate::nqn::Nqn;
use crate::volume_id::VolumeId;

/// Why a plan cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The slot holds something that this cluster did not make.
    #[error(
        "disk item {slot:?} exists and is not ours: its comment is {comment:?}, not a marker of cluster {cluster}; it is left alone"
    )]
    ForeignItem {
        /// The slot.
        slot: String,
        /// Its comment, shortened.
        comment: String,
        /// This cluster.
        cluster: ClusterId,
    },
    /// Our item, but not the volume that is wanted.
    #[error("volume {id} exists with {property} {found}, wanted {wanted}")]
    Different {
        /// The volume.
        id: VolumeId,
        /// What differs.
        property: &'static str,
        /// What is there.
        found: String,
        /// What is wanted.
        wanted: String,
    },
    /// A file without an item: its bytes may be anybody's.
    #[error(
        "file {file} exists without a disk item and is never taken for a new volume; move it away or remove it on the device to go on"
    )]
    StrayFile {
        /// The file.
        file: BackingFile,
    },
    /// Another item uses the volume's file.
    #[error(
        "file {file} belongs to disk item {slot:?}, which is not volume {id}; it is left alone"
    )]
    FileTaken {
        /// The file.
        file: BackingFile,
        /// The other item.
        slot: String,
        /// The volume.
        id: VolumeId,
    },
    /// Another item carries the volume's NQN: hosts could reach the wrong one.
    #[error("NQN {nqn} is in use by disk item {slot:?}, which is not volume {id}")]
    NqnTaken {
        /// The NQN.
        nqn: Nqn,
        /// The other item.
        slot: String,
        /// The volume.
        id: VolumeId,
    },
    /// The pool is not there (yet): after a reboot its items come before its files.
    #[error("no pool is mounted at {pool:?}; waiting for the device to mount it")]
    PoolMissing {
        /// The mount point.
        pool: String,
    },
    /// The pool lost redundancy.
    #[error("pool {pool:?} is {state:?}, not clean: no new volumes until it is repaired")]
    PoolUnhealthy {
        /// The mount point.
        pool: String,
        /// What the device says.
        state: String,
    },
    /// Not enough space, promises included.
    #[error(
        "pool {pool:?} has {available} left to promise, {asked} are needed; ask for less, delete volumes, or raise the overcommit ratio"
    )]
    NoSpace {
        /// The mount point.
        pool: String,
        /// What was asked.
        asked: Bytes,
        /// What can still be promised.
        available: Bytes,
    },
    /// No size fits what is asked.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// A volume only ever grows.
    #[error("volume {id} has {found} and cannot shrink to at most {limit}")]
    CannotShrink {
        /// The volume.
        id: VolumeId,
        /// Its size.
        found: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// Half-made, or its pool is not mounted yet.
    #[error(
        "volume {id} is not ready on the device: {} and its file {}; it is completed by the next CreateVolume, or once its pool is mounted",
        if *.exported { "exported" } else { "not exported" },
        if *.file_exists { "exists" } else { "is not to be seen" }
    )]
    NotReady {
        /// The volume.
        id: VolumeId,
        /// Whether it is exported.
        exported: bool,
        /// Whether its file is to be seen.
        file_exists: bool,
    },
    /// No such volume, and a complete reading says so.
    #[error(
        "volume {id} does not exist on the device: no disk item has that slot; look for its backing file there before the claim is deleted, which removes the file too"
    )]
    Missing {
        /// The volume.
        id: VolumeId,
    },
}

impl Failure for ProvisionError {
    fn kind(&self) -> Kind {
        match self {
            Self::ForeignItem { .. }
            | Self::Different { .. }
            | Self::StrayFile { .. }
            | Self::FileTaken { .. }
            | Self::NqnTaken { .. } => Kind::Exists,
            Self::PoolMissing { .. } | Self::NotReady { .. } => Kind::Unreachable,
            Self::PoolUnhealthy { .. } => Kind::Conflict,
            Self::NoSpace { .. } => Kind::Exhausted,
            Self::Capacity(source) => source.kind(),
            Self::CannotShrink { .. } => Kind::OutOfRange,
            Self::Missing { .. } => Kind::NotFound,
        }
    }
}
