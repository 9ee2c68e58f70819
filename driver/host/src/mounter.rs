//! Mounts, and the files and directories that they lie on.
//!
//! Nothing here removes more than one name: a directory goes by rmdir, a file or node by
//! unlink, a mount one layer at a time. No call follows a symlink in the last part of
//! its path.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::mount::Mount;
use rds_csi_core::nvme::DeviceNumber;
pub use rds_csi_core::publish::Found as PathState;
use uuid::Uuid;

use crate::block::{Device, DeviceError, Superblock};
use crate::sys::CallError;

mod filesystem;
mod linux;

/// What the node service asks about mounts and paths.
#[async_trait]
pub trait Mounter: Send + Sync + fmt::Debug {
    /// Every mount of this mount namespace, in the kernel's order: of several at one
    /// target the last lies on top. Never touches the mounted filesystems.
    async fn mounts(&self) -> Result<Vec<Mount>, MountError>;

    /// Reads the beginning of a device whose identity is verified and, only if the
    /// filesystem that is meant lies there, mounts it, all under one descriptor; a mount
    /// of anything else is undone. The target is a directory, and made (mode 0750) where
    /// nothing is. `options` are one word each (`ro`, `noatime`, `nouuid`), already
    /// checked against what users may ask.
    async fn mount(
        &self,
        device: &Device,
        target: &Path,
        meant: Meant,
        options: &[String],
    ) -> Result<Mounting, MountError>;

    /// Binds a directory, file or device node to an existing target of the same sort.
    /// With `read_only` the kernel refuses writes to files through it; where that cannot
    /// be had the bind is undone. Writes through a bound device node are refused only by
    /// [`crate::block::BlockDevices::set_read_only`].
    async fn bind(&self, source: &Path, target: &Path, read_only: bool) -> Result<(), MountError>;

    /// Removes the topmost mount at the target. No mount there is success.
    async fn unmount(&self, target: &Path, how: Unmount) -> Result<(), MountError>;

    /// What lies at a path, without following a symlink. Touches the filesystem there:
    /// on a dead mount it fails, so look at [`Mounter::mounts`] first.
    async fn path(&self, path: &Path) -> Result<PathState, MountError>;

    /// Makes a directory and its missing parents (mode 0750). An existing one is success.
    async fn make_directory(&self, path: &Path) -> Result<(), MountError>;

    /// Removes an empty directory. Absent is success; a directory with content, or
    /// anything else, is an error.
    async fn remove_directory(&self, path: &Path) -> Result<(), MountError>;

    /// Makes an empty file and its missing parents. An existing regular file is success.
    async fn make_file(&self, path: &Path) -> Result<(), MountError>;

    /// Makes a block device node (mode 0660) and its missing parents. An existing name
    /// is an error, whatever it is: the caller looks first.
    async fn make_block_node(&self, path: &Path, number: DeviceNumber) -> Result<(), MountError>;

    /// Unlinks a file, node or symlink. Absent is success; a directory is an error.
    async fn remove_file(&self, path: &Path) -> Result<(), MountError>;
}

/// Which filesystem to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meant {
    /// Its type.
    pub fs: FsType,
    /// Its UUID; any where `None`.
    pub uuid: Option<Uuid>,
}

impl Meant {
    /// Whether that is the superblock of it.
    #[must_use]
    pub fn is(self, found: Superblock) -> bool {
        found.fs == self.fs && self.uuid.is_none_or(|uuid| uuid == found.uuid)
    }
}

/// What came of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounting {
    /// It was made; these are all mounts of this mount namespace after it.
    Made(Vec<Mount>),
    /// Something else lies on the device, and nothing was done. `None` says only that
    /// neither ext4 nor XFS is recognised.
    Other(Option<Superblock>),
}

/// How to unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// Fails while anything uses the mount.
    Plain,
    /// Takes the mount out of sight and leaves the rest to the kernel. Only for a mount
    /// whose device is proved dead: with a living one, writes go on unseen.
    Lazy,
}

/// Why an operation on mounts or paths failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount table could not be read.
    #[error("reading the mount table")]
    Table(#[source] CallError),
    /// The mount table has a line that is not of the documented form.
    #[error("line {line} of the mount table is not understood: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line's beginning.
        text: String,
    },
    /// More mounts or a larger table than any sane host has.
    #[error("the mount table is larger than {limit} bytes; something mounts without end")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// The device is not what the caller means, or does not answer.
    #[error("checking the device to mount at {target:?}")]
    Device {
        /// Where it was to be mounted.
        target: PathBuf,
        /// Why not.
        #[source]
        source: Box<DeviceError>,
    },
    /// mount(2) of a filesystem.
    #[error("mounting {fs} of {device} at {target:?} with options {options:?}")]
    Mount {
        /// Of what.
        device: String,
        /// The type.
        fs: FsType,
        /// Where.
        target: PathBuf,
        /// How.
        options: Vec<String>,
        /// Why not.
        #[source]
        source: Box<CallError>,
    },
    /// What got mounted is another device; it was unmounted again.
    #[error("{target:?} got device {found} mounted instead of {expected}")]
    WrongDevice {
        /// Where.
        target: PathBuf,
        /// What is meant.
        expected: DeviceNumber,
        /// What came, or that nothing did.
        found: String,
    },
    /// mount(2) with `MS_BIND`.
    #[error("binding {from:?} to {target:?}")]
    Bind {
        /// From.
        from: PathBuf,
        /// To.
        target: PathBuf,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// The remount that makes a bind read-only.
    #[error("making the bind at {target:?} read-only (the bind was {})", if *.undone { "undone" } else { "left, since unmounting it failed too" })]
    ReadOnly {
        /// Where.
        target: PathBuf,
        /// Whether the bind is gone again.
        undone: bool,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// umount2(2).
    #[error("unmounting {target:?}")]
    Unmount {
        /// Where.
        target: PathBuf,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// Looking at, making or removing a path.
    #[error("preparing {path:?}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CallError,
    },
    /// Something else lies at the path.
    #[error("{path:?} is {found:?} and not {expected}; it is left alone")]
    Unexpected {
        /// Which.
        path: PathBuf,
        /// What lies there.
        found: PathState,
        /// What was asked.
        expected: &'static str,
    },
}

impl Failure for MountError {
    fn kind(&self) -> Kind {
        match self {
            Self::Table(source)
            | Self::Bind { source, .. }
            | Self::ReadOnly { source, .. }
            | Self::Unmount { source, .. }
            | Self::Path { source, .. } => source.kind(),
            Self::Mount { source, .. } => source.kind(),
            Self::Device { source, .. } => source.kind(),
            Self::Line { .. } | Self::TooLarge { .. } | Self::WrongDevice { .. } => {
                Kind::Unreachable
            }
            Self::Unexpected { .. } => Kind::Conflict,
        }
    }
}

pub(crate) fn unexpected(path: &Path, found: PathState, expected: &'static str) -> MountError {
    MountError::Unexpected {
        path: path.to_owned(),
        found,
        expected,
    }
}
