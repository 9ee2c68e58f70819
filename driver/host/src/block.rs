//! Block devices of volumes: what lies on them, who holds them, making and growing
//! filesystems.
//!
//! Every call takes a [`Device`] and verifies, after opening it and while keeping it
//! open, that the device number still means that NQN and namespace; a number cannot be
//! given away while a descriptor holds it. Reads that prove something are direct, and
//! an error or a short read is an error and never "blank". mkfs never gets a force flag.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::{Content, FsType};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{DeviceNumber, Namespace};
use uuid::Uuid;

mod blkid;
mod error;
pub(crate) mod examine;
mod grow;
mod held;
mod holders;
mod linux;
mod mkfs;
mod superblock;

pub use error::{DeviceError, FormatError, GrowError, StatsError};

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

/// Keeps a device's number from being given to another device, for as long as it lives,
/// also once the device is gone. It claims nothing, and where the kernel has a character
/// device of the namespace, since Linux 5.13, it does not have the block device open either.
pub struct Kept {
    _held: Box<dyn Any + Send + Sync>,
}

impl Kept {
    pub(crate) fn by(held: impl Any + Send + Sync) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
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

    /// Whether the filesystem mounted at the path has shut down after an error. It stays so
    /// until it is unmounted everywhere, whatever its device does. To be asked where the
    /// device does I/O.
    async fn has_shut_down(&self, path: &Path) -> Result<bool, StatsError>;

    /// Whether the kernel has a block device of this number. A number cannot be given
    /// away while a mount holds it, so one of a mount that is not there is dead for good.
    /// Numbers of filesystems without a device (major 0) are always there.
    async fn exists(&self, number: DeviceNumber) -> Result<bool, DeviceError>;

    /// The NQN of the subsystem that the block device of this number belongs to; `None`
    /// where there is no such device, or it is of another kind.
    async fn owner(&self, number: DeviceNumber) -> Result<Option<String>, DeviceError>;

    /// Has everything written that was written to the device through the page cache, by
    /// whomever: the kernel does so at the last close only, and others may have it open.
    async fn flush(&self, device: &Device) -> Result<(), DeviceError>;

    /// Keeps the number of a device that is there.
    async fn keep(&self, device: &Device) -> Result<Kept, DeviceError>;

    /// Everybody who uses the device; empty only if all checks succeeded. A process that
    /// merely has the device open is not seen: Linux has no such list.
    async fn holders(&self, device: &Device) -> Result<Vec<Holder>, DeviceError>;

    /// Has the kernel refuse (or accept again) writes to the device.
    async fn set_read_only(&self, device: &Device, read_only: bool) -> Result<(), DeviceError>;
}
