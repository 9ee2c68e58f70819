//! The next step towards a staged or unstaged volume on a node.
//!
//! The node looks, asks here for one step, takes it and looks again, until there is
//! nothing left to do. A step is only ever named where the last look proved that it is
//! needed and safe, so a repetition after a crash, a time-out or a reboot goes on from
//! whatever is there, and a second call of a finished one finds nothing to do.
//!
//! The rules that keep data: a device is formatted only if a full examination found it
//! blank, its size is exactly what was attached, and no record says that it was used;
//! a filesystem is mounted only if it is the one that was made for this volume; a
//! session that somebody else opened is not used; and a session is ended only if it is
//! proved ours and nobody holds its device.

use std::fmt;
use std::net::IpAddr;

use uuid::Uuid;

use crate::access::VolumeMode;
use crate::bytes::Bytes;
use crate::filesystem::{Content, FsType};
use crate::mount::Mount;
use crate::nqn::Nqn;
use crate::nvme::{DeviceNumber, Namespace, Subsystem};

mod error;
mod unstage;

pub use error::StageError;
pub use unstage::{Staged, UnstageError, UnstageStep, next_unstage};

/// What a look at the node showed of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The volume's subsystem, where the kernel knows one of exactly its NQN.
    pub subsystem: Option<Subsystem>,
    /// The mounts at the staging path, lowest first.
    pub mounts: Vec<Mount>,
    /// What has been read from the device so far, in this call.
    pub knowledge: Knowledge,
}

/// What has been read from a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Knowledge {
    /// Nothing.
    #[default]
    Unread,
    /// Its beginning: a superblock of a known type, or none.
    Head {
        /// Which device it was.
        device: DeviceNumber,
        /// What its superblock says.
        superblock: Option<(FsType, Uuid)>,
    },
    /// Every region where a signature may lie.
    Examined {
        /// Which device it was.
        device: DeviceNumber,
        /// What lies there.
        content: Content,
    },
}

impl Knowledge {
    /// Which device was read.
    #[must_use]
    pub const fn device(&self) -> Option<DeviceNumber> {
        match self {
            Self::Unread => None,
            Self::Head { device, .. } | Self::Examined { device, .. } => Some(*device),
        }
    }
}

/// What NodeStageVolume wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The subsystem.
    pub nqn: Nqn,
    /// Under which host NQN this node opens sessions.
    pub host: Nqn,
    /// Where it is.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// The size that the namespace had when it was attached, where that is known.
    pub size: Option<Bytes>,
    /// Block or filesystem.
    pub volume: VolumeMode,
    /// The UUID that a filesystem made here gets.
    pub uuid: Uuid,
    /// Whether the filesystem may have any other UUID: volumes of the older driver carry
    /// whatever mkfs drew.
    pub any_uuid: bool,
    /// When the volume was first used as a filesystem, where a record says so.
    pub first_used: Option<String>,
    /// A person's reason to format it although it was used.
    pub format_override: Option<String>,
}

/// One step of staging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Open a session.
    Connect,
    /// Wait for a live controller and its namespace.
    Await,
    /// Read the beginning of a raw device.
    Identify,
    /// Examine the whole device for signatures.
    Examine,
    /// Make the filesystem.
    Format {
        /// Which.
        fs: FsType,
        /// Its UUID.
        uuid: Uuid,
    },
    /// Read the device's beginning and, if it is this filesystem, mount it at the staging
    /// path. What else was read becomes [`Knowledge::Head`].
    Mount {
        /// Which type.
        fs: FsType,
        /// Which one; any where `None`.
        uuid: Option<Uuid>,
    },
}

/// The next step of staging; `None` once the volume is staged.
pub fn next(observed: &Observed, desired: &Desired) -> Result<Option<Step>, StageError> {
    let namespace = match live_namespace(observed, desired)? {
        Session::Absent => return no_mount_without_device(observed).map(|()| Some(Step::Connect)),
        Session::Waiting => return Ok(Some(Step::Await)),
        Session::Ready(namespace) => namespace,
    };
    if let Some(wanted) = desired.size.filter(|wanted| namespace.size < *wanted) {
        return Err(StageError::WrongSize {
            device: name(namespace, desired),
            found: namespace.size,
            wanted,
        });
    }
    let VolumeMode::Filesystem { fs, .. } = &desired.volume else {
        // A block volume's content is its user's, but a session that is live and
        // cannot read is not staged.
        let read = observed.knowledge.device() == Some(namespace.number);
        return Ok((!read).then_some(Step::Identify));
    };
    if let Some(other) = observed
        .mounts
        .iter()
        .find(|mount| mount.device != namespace.number)
    {
        return Err(StageError::OtherMount {
            found: other.device,
            wanted: name(namespace, desired),
        });
    }
    if let Some(mount) = observed.mounts.last() {
        return staged_as(mount, *fs);
    }
    match &observed.knowledge {
        Knowledge::Head {
            device,
            superblock: Some(found),
        } if *device == namespace.number => mountable(*found, *fs, namespace, desired),
        Knowledge::Head {
            device,
            superblock: None,
        } if *device == namespace.number => Ok(Some(Step::Examine)),
        Knowledge::Examined { device, content } if *device == namespace.number => match content {
            Content::Filesystem { fs: found, uuid } => {
                mountable((*found, *uuid), *fs, namespace, desired)
            }
            Content::Foreign(found) => Err(StageError::ForeignContent {
                device: name(namespace, desired),
                found: found.clone(),
            }),
            Content::Blank => format(*fs, namespace, desired),
        },
        Knowledge::Unread | Knowledge::Head { .. } | Knowledge::Examined { .. } => {
            Ok(Some(mount(*fs, desired)))
        }
    }
}

enum Session<'a> {
    Absent,
    Waiting,
    Ready(&'a Namespace),
}

fn live_namespace<'a>(
    observed: &'a Observed,
    desired: &Desired,
) -> Result<Session<'a>, StageError> {
    // A subsystem without controllers lingers while its device is held: no session.
    let Some(subsystem) = observed
        .subsystem
        .as_ref()
        .filter(|subsystem| !subsystem.controllers.is_empty())
    else {
        return Ok(Session::Absent);
    };
    let wanted = (desired.address, desired.port);
    for controller in &subsystem.controllers {
        if let Some(found) = controller.address.filter(|found| *found != wanted) {
            return Err(StageError::OtherAddress {
                nqn: desired.nqn.clone(),
                found: format!("{}:{}", found.0, found.1),
                wanted: format!("{}:{}", wanted.0, wanted.1),
            });
        }
    }
    if let (Some(found), false) = (
        subsystem.stranger(&desired.host),
        is_taken_over(observed, desired),
    ) {
        return Err(StageError::OtherHost {
            nqn: desired.nqn.clone(),
            found: found.to_owned(),
            host: desired.host.clone(),
        });
    }
    match subsystem.namespaces.as_slice() {
        [namespace] if subsystem.is_live() && namespace.size > Bytes::default() => {
            Ok(Session::Ready(namespace))
        }
        [] | [_] => Ok(Session::Waiting),
        more => Err(StageError::Namespaces {
            nqn: desired.nqn.clone(),
            count: more.len(),
        }),
    }
}

/// Whether the older driver staged the volume: it opened its sessions under the machine's
/// own name, and pods are on its mount.
fn is_taken_over(observed: &Observed, desired: &Desired) -> bool {
    desired.any_uuid && !observed.mounts.is_empty()
}

/// A mount without a session is of a device that is gone: connecting would bring a new
/// device under another number, and the old mount would hide it.
fn no_mount_without_device(observed: &Observed) -> Result<(), StageError> {
    match observed.mounts.first() {
        Some(mount) => Err(StageError::OtherMount {
            found: mount.device,
            wanted: "not connected".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The volume is mounted; as the filesystem that is asked for, there is nothing to do.
fn staged_as(mount: &Mount, fs: FsType) -> Result<Option<Step>, StageError> {
    if mount.fs_type == fs.as_str() {
        return Ok(None);
    }
    Err(StageError::OtherType {
        found: mount.fs_type.clone(),
        wanted: fs,
    })
}

/// The filesystem that was made for this volume, if it is what lies there.
fn mount(fs: FsType, desired: &Desired) -> Step {
    Step::Mount {
        fs,
        uuid: (!desired.any_uuid).then_some(desired.uuid),
    }
}

fn mountable(
    found: (FsType, Uuid),
    fs: FsType,
    namespace: &Namespace,
    desired: &Desired,
) -> Result<Option<Step>, StageError> {
    let (found_fs, found_uuid) = found;
    if found_fs == fs && (desired.any_uuid || desired.uuid == found_uuid) {
        return Ok(Some(mount(fs, desired)));
    }
    let wanted = if desired.any_uuid {
        fs.to_string()
    } else {
        format!("{fs} {}", desired.uuid)
    };
    Err(StageError::ForeignFilesystem {
        device: name(namespace, desired),
        found: format!("{found_fs} {found_uuid}"),
        wanted,
    })
}

fn format(
    fs: FsType,
    namespace: &Namespace,
    desired: &Desired,
) -> Result<Option<Step>, StageError> {
    if let (Some(first_used), None) = (&desired.first_used, &desired.format_override) {
        return Err(StageError::LostContent {
            device: name(namespace, desired),
            first_used: first_used.clone(),
        });
    }
    if let Some(wanted) = desired.size.filter(|wanted| namespace.size != *wanted) {
        return Err(StageError::WrongSize {
            device: name(namespace, desired),
            found: namespace.size,
            wanted,
        });
    }
    Ok(Some(Step::Format {
        fs,
        uuid: desired.uuid,
    }))
}

fn name(namespace: &Namespace, desired: &Desired) -> String {
    format!("{} ({})", namespace.name, desired.nqn)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Await => f.write_str("await device"),
            Self::Identify => f.write_str("identify"),
            Self::Examine => f.write_str("examine"),
            Self::Format { fs, .. } => write!(f, "format {fs}"),
            Self::Mount { fs, .. } => write!(f, "mount {fs}"),
        }
    }
}

#[cfg(test)]
mod tests;
