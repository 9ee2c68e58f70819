//! Block devices of volumes: what lies on them, who holds them, making and growing
//! filesystems.
//!
//! Every call takes a [`Device`] and verifies, after opening it and while keeping it
//! open, that the device number still means that NQN and namespace; a number cannot be
//! given away while a descriptor holds it. Reads that prove something are direct, and
//! an error or a short read is an error and never "blank". mkfs never gets a force flag.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::{Content, FsType};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{DeviceNumber, Namespace};
use uuid::Uuid;

use crate::command::CommandError;
use crate::mounter::MountError;
use crate::sys::CallError;

mod blkid;
mod examine;
mod grow;
mod holders;
mod linux;
mod mkfs;
mod superblock;

/// A block device together with what makes it the one that the caller means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The subsystem that it belongs to.
    pub nqn: Nqn,
    /// The namespace as it was read from the kernel.
    pub namespace: Namespace,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, {})",
            self.namespace.name, self.namespace.number, self.nqn
        )
    }
}

/// A filesystem as its superblock describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// The type.
    pub fs: FsType,
    /// Its UUID.
    pub uuid: Uuid,
    /// How much of the device it covers.
    pub size: Bytes,
}

/// Space and inodes of a mounted filesystem, or the size of a block volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that an unprivileged writer can still get.
    pub available_bytes: u64,
    /// Inodes in all; 0 where the filesystem does not count them.
    pub total_inodes: u64,
    /// Inodes in use.
    pub used_inodes: u64,
    /// Inodes that are free.
    pub available_inodes: u64,
}

/// Somebody who uses a block device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Mounted there, as this mount namespace sees it.
    Mount(PathBuf),
    /// Another block device lies on it (device mapper, md, a partition in use).
    Device(String),
    /// Swap.
    Swap,
    /// The kernel refuses an exclusive open: mounted in another mount namespace, or
    /// claimed by a program.
    Claimed,
}

/// What the node service asks about the content of devices.
#[async_trait]
pub trait BlockDevices: Send + Sync + fmt::Debug {
    /// Reads the device's beginning directly, which also proves that I/O works, and
    /// returns the ext4 or XFS superblock there. `None` says only that neither is
    /// recognised: it is never a reason to format.
    async fn identify(&self, device: &Device) -> Result<Option<Superblock>, DeviceError>;

    /// The full and slower proof before a format: direct reads of every region where a
    /// signature may lie, and blkid.
    async fn examine(&self, device: &Device) -> Result<Content, DeviceError>;

    /// Makes a filesystem with this UUID and verifies it. Examines the device first,
    /// under the same descriptor: anything but [`Content::Blank`] is refused.
    async fn format(&self, device: &Device, fs: FsType, uuid: Uuid) -> Result<(), FormatError>;

    /// Grows the mounted filesystem to its device and returns the measured size after
    /// that. Nothing to do is success.
    async fn grow(
        &self,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError>;

    /// The measured size of a mounted filesystem.
    async fn filesystem_size(
        &self,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError>;

    /// Space of the filesystem mounted at the path.
    async fn stats(&self, path: &Path) -> Result<Stats, StatsError>;

    /// Everybody who uses the device; empty only if all checks succeeded. A process that
    /// merely has the device open is not seen: Linux has no such list.
    async fn holders(&self, device: &Device) -> Result<Vec<Holder>, DeviceError>;

    /// Has the kernel refuse (or accept again) writes to the device.
    async fn set_read_only(&self, device: &Device, read_only: bool) -> Result<(), DeviceError>;
}

/// Why a device could not be opened, verified, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A system call on it.
    #[error("accessing {device}")]
    Call {
        /// Which.
        device: String,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// The device is gone, or its number means something else by now.
    #[error("{device} is no longer what it was: {field} is {found:?}, not {expected:?}")]
    Changed {
        /// Which.
        device: String,
        /// What differs.
        field: &'static str,
        /// What is meant.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A read stopped early.
    #[error("reading {length} bytes of {device} at offset {offset}: only {read} came")]
    Short {
        /// Which.
        device: String,
        /// Where.
        offset: u64,
        /// What was asked.
        length: u64,
        /// What came.
        read: u64,
    },
    /// A read failed.
    #[error("reading {length} bytes of {device} at offset {offset}")]
    Read {
        /// Which.
        device: String,
        /// Where.
        offset: u64,
        /// What was asked.
        length: u64,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A superblock of a known type is damaged: its fields contradict one another.
    #[error("the {fs} superblock of {device} is damaged: {reason}")]
    Damaged {
        /// Which.
        device: String,
        /// The type.
        fs: FsType,
        /// What is wrong.
        reason: String,
    },
    /// A program.
    #[error("examining or changing {device}")]
    Command {
        /// Which.
        device: String,
        /// Why not.
        #[source]
        source: CommandError,
    },
    /// The mount table.
    #[error("looking for mounts of {device}")]
    Mounts {
        /// Of which.
        device: String,
        /// Why not.
        #[source]
        source: Box<MountError>,
    },
    /// A file of sysfs or procfs is not as documented.
    #[error("{path:?} holds {text:?}, which is not understood")]
    Unexpected {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
}

impl Failure for DeviceError {
    /// Always one to retry: nothing that a device fails to say is a fact about it.
    fn kind(&self) -> Kind {
        match self {
            Self::Call { source, .. } => source.kind(),
            Self::Command { source, .. } => source.kind(),
            Self::Mounts { source, .. } => source.kind(),
            Self::Changed { .. }
            | Self::Short { .. }
            | Self::Read { .. }
            | Self::Damaged { .. }
            | Self::Unexpected { .. } => Kind::Unreachable,
        }
    }
}

/// Why no filesystem was made.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The device is not blank. Nothing was written.
    #[error("{device} is not blank ({content}); it is not formatted")]
    NotBlank {
        /// Which.
        device: String,
        /// What is there.
        content: String,
    },
    /// It could not be examined. Nothing was written.
    #[error("examining {device} before formatting it")]
    Examine {
        /// Which.
        device: String,
        /// Why not.
        #[source]
        source: Box<DeviceError>,
    },
    /// mkfs failed, was refused, or did not end in time; part of it may be written.
    #[error("making {fs} on {device}")]
    Make {
        /// Which.
        device: String,
        /// The type.
        fs: FsType,
        /// Why not.
        #[source]
        source: Box<CommandError>,
    },
    /// After mkfs the device could not be read.
    #[error("verifying the new {fs} on {device}")]
    Verify {
        /// Which.
        device: String,
        /// The type.
        fs: FsType,
        /// Why not.
        #[source]
        source: Box<DeviceError>,
    },
    /// After mkfs the device does not carry what was asked.
    #[error("mkfs reported success, but {device} carries {found} instead of {fs} with UUID {uuid}")]
    Mismatch {
        /// Which.
        device: String,
        /// The type.
        fs: FsType,
        /// The UUID.
        uuid: Uuid,
        /// What is there.
        found: String,
    },
}

impl Failure for FormatError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotBlank { .. } => Kind::Conflict,
            Self::Examine { source, .. } | Self::Verify { source, .. } => source.kind(),
            Self::Make { source, .. } => source.kind(),
            Self::Mismatch { .. } => Kind::Unreachable,
        }
    }
}

/// Why a filesystem was not grown or measured.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// The device.
    #[error("checking {device}")]
    Device {
        /// Which.
        device: String,
        /// Why not.
        #[source]
        source: Box<DeviceError>,
    },
    /// The program.
    #[error("growing {fs} on {device}")]
    Grow {
        /// Which.
        device: String,
        /// The type.
        fs: FsType,
        /// Why not.
        #[source]
        source: Box<CommandError>,
    },
    /// The size could not be measured.
    #[error("measuring {fs} on {device}: {reason}")]
    Measure {
        /// Which.
        device: String,
        /// The type.
        fs: FsType,
        /// What came instead.
        reason: String,
    },
    /// Another device is mounted at the path.
    #[error("{path:?} is not a mount of {expected}")]
    NotMounted {
        /// Where.
        path: PathBuf,
        /// What should be there.
        expected: DeviceNumber,
    },
    /// The mount could not be checked.
    #[error("checking the mount at {path:?}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CallError,
    },
}

impl Failure for GrowError {
    fn kind(&self) -> Kind {
        match self {
            Self::Device { source, .. } => source.kind(),
            Self::Grow { source, .. } => source.kind(),
            Self::Mount { source, .. } => source.kind(),
            Self::Measure { .. } | Self::NotMounted { .. } => Kind::Unreachable,
        }
    }
}

/// Why a filesystem's space is not known.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// statvfs(3).
    #[error("asking for the space at {path:?}")]
    Statvfs {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CallError,
    },
}

impl Failure for StatsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Statvfs { source, .. } => source.kind(),
        }
    }
}
