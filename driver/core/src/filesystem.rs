//! Filesystems that volumes carry, and what may be found on a device.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::bytes::Bytes;
use crate::kind::{Failure, Kind};

/// A filesystem that this driver makes and mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FsType {
    /// ext4, the default.
    #[default]
    Ext4,
    /// XFS.
    Xfs,
}

/// A filesystem type that is not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filesystem {0:?} is not offered: ext4 or xfs")]
pub struct FsTypeError(String);

impl Failure for FsTypeError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for FsType {
    type Err = FsTypeError;

    /// The empty string is the default: CSI sends it where nobody chose.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "ext4" => Ok(Self::Ext4),
            "xfs" => Ok(Self::Xfs),
            other => Err(FsTypeError(other.chars().take(32).collect())),
        }
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FsType {
    /// The kernel's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The smallest device that its mkfs accepts: mkfs.xfs refuses less than 300 MiB.
    #[must_use]
    pub const fn smallest_volume(self) -> Bytes {
        match self {
            Self::Ext4 => Bytes::mib(16),
            Self::Xfs => Bytes::mib(300),
        }
    }
}

/// What lies on a device, from reads that all succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Every region where a signature could lie is zero and no prober knows anything.
    Blank,
    /// A filesystem of ours by its type.
    Filesystem {
        /// Which.
        fs: FsType,
        /// Its UUID.
        uuid: Uuid,
    },
    /// Anything else: another filesystem, a partition table, LUKS, LVM, or bytes that
    /// nobody recognises. The text says what and where.
    Foreign(String),
}
