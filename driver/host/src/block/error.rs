//! Why something about a block device failed. Never final: see each `kind`.

use std::path::PathBuf;

use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nvme::DeviceNumber;
use uuid::Uuid;

use crate::command::CommandError;
use crate::mounter::MountError;
use crate::sys::CallError;

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
    /// Somebody writes to it: what was read is no statement about what will lie there.
    #[error(
        "{device} is being written to, as by a mkfs that outlived the plugin which began it; its content is judged once that has ended"
    )]
    Unsettled {
        /// Which.
        device: String,
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
            | Self::Unsettled { .. }
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
    /// lgetxattr(2).
    #[error("asking whether the filesystem at {path:?} has shut down")]
    Attribute {
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
            Self::Statvfs { source, .. } | Self::Attribute { source, .. } => source.kind(),
        }
    }
}
