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

/// The mount that a path lies on: the deepest one at the path or above it, and of
/// several at one place the topmost. `None` only where the list has no root.
#[must_use]
pub fn mount_covering<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.target))
        // The last of equals, as the kernel lists what lies on top later.
        .max_by_key(|mount| mount.target.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u32, target: &str) -> Mount {
        Mount {
            id,
            parent: 1,
            device: DeviceNumber { major: 8, minor: 1 },
            root: "/".into(),
            target: target.into(),
            options: vec![],
            fs_type: "ext4".into(),
            source: "/dev/sda1".into(),
            super_options: vec![],
        }
    }

    #[test]
    fn a_path_lies_on_the_deepest_and_topmost_mount_above_it() {
        let mounts = [
            mount(1, "/"),
            mount(2, "/var/lib/kubelet"),
            mount(3, "/var/lib"),
            mount(4, "/var/lib/kubelet"),
            mount(5, "/var/lib/kubelet-2"),
        ];
        let covering = |path: &str| mount_covering(&mounts, Path::new(path)).map(|mount| mount.id);
        assert_eq!(covering("/var/lib/kubelet/pods/1"), Some(4));
        assert_eq!(covering("/var/lib/kubelet"), Some(4));
        assert_eq!(covering("/var/lib/other"), Some(3));
        assert_eq!(covering("/etc"), Some(1));
        assert_eq!(mount_covering(&mounts[1..2], Path::new("/etc")), None);
    }
}
