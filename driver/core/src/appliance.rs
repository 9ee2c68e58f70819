//! What the device says about itself: disk items, files, pools.
//!
//! These are observations, complete and error-free or not made at all: whoever reads
//! the device turns a missing required property into an error, never into an empty
//! value, because an absent path once meant that a file was silently not deleted.

use crate::backing_file::{BackingFile, VolumeDirectory};
use crate::bytes::Bytes;
use crate::volume_id::VolumeId;
use crate::volume_name::Owner;

/// One `/disk` item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskItem {
    /// `slot=`: the unique name.
    pub slot: String,
    /// `comment=`, empty where there is none.
    pub comment: String,
    /// What kind of item it is.
    pub kind: DiskKind,
    /// `nvme-tcp-export=`.
    pub exported: bool,
    /// `nvme-tcp-server-nqn=`, where set.
    pub nqn: Option<String>,
    /// `nvme-tcp-server-port=`, where set.
    pub port: Option<u16>,
    /// `nvme-tcp-server-allow-host-name=`, where set; empty means any host.
    pub allowed_host: Option<String>,
}

/// The kinds of disk items that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskKind {
    /// `type=file`.
    File(FileDisk),
    /// Every other type, by its name.
    Other(String),
}

/// What a `type=file` item has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDisk {
    /// `file-path=` as the device spells it. It parses as a [`BackingFile`] for every
    /// volume of ours; other people's files may be named as they like.
    pub path: String,
    /// `size=`: the exact size, unlike `file-size=`, which is rounded for display.
    pub size: Bytes,
    /// `mount-filesystem=`: whether RouterOS itself mounts what it finds inside.
    pub mount_filesystem: bool,
}

impl DiskItem {
    /// The item's file properties where it is a `type=file` item.
    #[must_use]
    pub fn file(&self) -> Option<&FileDisk> {
        match &self.kind {
            DiskKind::File(file) => Some(file),
            DiskKind::Other(_) => None,
        }
    }

    /// Its backing file, where its path can be that of one of our volumes.
    #[must_use]
    pub fn backing_file(&self) -> Option<BackingFile> {
        self.file()?.path.parse().ok()
    }

    /// Whose volume it is, where its comment is an ownership marker.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        Owner::from_comment(&self.comment)
    }

    /// Whether the item's backing file is this one, in either spelling of the device.
    #[must_use]
    pub fn is_on(&self, file: &BackingFile) -> bool {
        self.file()
            .is_some_and(|disk| disk.path.trim_start_matches('/') == file.file_name())
    }
}

/// One entry of `/file` that is not a directory. Its time is not read: the device's
/// clock and time zone are nothing to decide on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// `name=` without a leading slash.
    pub name: String,
}

/// A filesystem that holds backing files: a disk item with a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// `slot=` of the item.
    pub slot: String,
    /// `mount-point=`: the first part of every path on it.
    pub mount_point: String,
    /// `size=`.
    pub size: Bytes,
    /// `free=`.
    pub free: Bytes,
    /// `state=`, for RAID items.
    pub state: Option<String>,
}

impl Pool {
    /// Whether the pool's redundancy is whole: no state (not a RAID), `clean` or
    /// `active`, possibly followed by a running check.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state.as_deref().is_none_or(|state| {
            let first = state.split(',').next().unwrap_or_default().trim();
            matches!(first, "clean" | "active")
        })
    }
}

/// Everything on the device that volumes depend on, from one complete reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Every disk item.
    pub items: Vec<DiskItem>,
    /// Every mounted pool.
    pub pools: Vec<Pool>,
    /// Every file below the volume directory, whatever its name.
    pub files: Vec<FileEntry>,
}

impl Inventory {
    /// The item in a volume's slot.
    #[must_use]
    pub fn item(&self, id: &VolumeId) -> Option<&DiskItem> {
        self.items.iter().find(|item| item.slot == id.as_str())
    }

    /// The mounted pool that holds a directory.
    #[must_use]
    pub fn pool(&self, directory: &VolumeDirectory) -> Option<&Pool> {
        self.pools
            .iter()
            .find(|pool| pool.mount_point.trim_start_matches('/') == directory.pool())
    }

    /// Whether the file exists.
    #[must_use]
    pub fn has_file(&self, file: &BackingFile) -> bool {
        self.files
            .iter()
            .any(|entry| entry.name.trim_start_matches('/') == file.file_name())
    }

    /// What all file items on a pool have been promised, whoever made them: the pool's
    /// own free space cannot be trusted to know what sparse files may still take.
    #[must_use]
    pub fn promised(&self, pool: &Pool) -> Bytes {
        let root = pool.mount_point.trim_start_matches('/');
        self.items
            .iter()
            .filter_map(DiskItem::file)
            .filter(|disk| disk.path.trim_start_matches('/').split('/').next() == Some(root))
            .fold(Bytes::default(), |sum, disk| sum.saturating_add(disk.size))
    }
}

/// One volume, from one complete reading: its slot and its file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeState {
    /// The item in the volume's slot.
    pub item: Option<DiskItem>,
    /// Whether the backing file exists.
    pub file_exists: bool,
}

/// One change on the device. Each is safe to ask again: its effect is a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the disk item and its file, not exported, never mounted by RouterOS.
    Add {
        /// The exact size of the file.
        size: Bytes,
        /// The marker.
        owner: Owner,
    },
    /// Set how the volume will be offered: `mount-filesystem=no`, NQN, port, host.
    Offer {
        /// The subsystem's name.
        nqn: crate::nqn::Nqn,
        /// The TCP port.
        port: u16,
    },
    /// `nvme-tcp-server-allow-host-name=`: the hosts that may connect, with commas between;
    /// any, where none is named. Whether the device heeds it is for
    /// [`device_access`](crate::device_access).
    Allow {
        /// The hosts.
        hosts: Vec<crate::nqn::Nqn>,
    },
    /// `nvme-tcp-export=yes`.
    Export,
    /// `nvme-tcp-export=no`: every session ends.
    Unexport,
    /// End the export, set its name and port, and export again, if the volume has the name of
    /// before at that moment; nothing, if it has not: who planned this was overtaken.
    Renew {
        /// The name of before.
        from: crate::nqn::Nqn,
        /// The subsystem's name from then on.
        nqn: crate::nqn::Nqn,
        /// The TCP port.
        port: u16,
    },
    /// Grow the file to this size. Never smaller: the device may cut data off.
    Grow {
        /// The new exact size.
        size: Bytes,
    },
    /// Remove the disk item. The file stays.
    RemoveItem,
    /// Remove the backing file, if no disk item uses it.
    RemoveFile,
}
