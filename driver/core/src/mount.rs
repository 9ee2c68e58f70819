//! What a node's kernel shows of its mounts.

use std::path::{Path, PathBuf};

use crate::nvme::DeviceNumber;

/// One line of `/proc/self/mountinfo` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Unique among mounts at one moment.
    pub id: u32,
    /// The mount that this one lies on.
    pub parent: u32,
    /// The device of the filesystem.
    pub device: DeviceNumber,
    /// The directory inside the filesystem that is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Per-mount options: `ro`, `nodev`, …
    pub options: Vec<String>,
    /// The filesystem's type.
    pub fs_type: String,
    /// What was mounted, as it was named then. Never an identity.
    pub source: String,
    /// Options of the filesystem itself.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether writes through this mount are refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.options
            .iter()
            .chain(&self.super_options)
            .any(|option| option == "ro")
    }

    /// Whether device nodes on this mount cannot be opened.
    #[must_use]
    pub fn is_nodev(&self) -> bool {
        self.options.iter().any(|option| option == "nodev")
    }
}

/// The mounts at exactly this path, lowest first.
#[must_use]
pub fn mounts_at(mounts: &[Mount], path: &Path) -> Vec<Mount> {
    mounts
        .iter()
        .filter(|mount| mount.target == path)
        .cloned()
        .collect()
}
