//! The next step towards a published or unpublished volume on a node.
//!
//! The same habit as staging: look, one step, look again. A target is made by us or
//! left alone: nothing here removes a directory that is not empty or a file that has
//! content, because an unmount that silently failed once made a recursive removal
//! delete the volume's own files.

use std::path::PathBuf;

use crate::kind::{Failure, Kind};
use crate::mount::Mount;
use crate::nvme::{DeviceNumber, Namespace};

/// What lies at a path, without following a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A directory.
    Directory {
        /// Whether nothing is in it.
        empty: bool,
    },
    /// A block device node.
    Block(DeviceNumber),
    /// A regular file.
    File {
        /// Whether its length is 0.
        empty: bool,
    },
    /// Something that this driver never makes.
    Other,
}

/// What a look at the node showed of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The volume's device, if its session is live.
    pub namespace: Option<Namespace>,
    /// Whether it is staged, and its device is away for now.
    pub is_coming_back: bool,
    /// The mounts at the staging path, lowest first.
    pub staging: Vec<Mount>,
    /// The mounts at the target path, lowest first.
    pub target: Vec<Mount>,
    /// What lies at the target path.
    pub path: Found,
    /// Whether device nodes can be opened where the target lies.
    pub nodes_usable: bool,
    /// Other targets of the volume on this node that want another read-only setting.
    pub contrary_targets: Vec<PathBuf>,
    /// Where this target is recorded, as a raw device or as one that becomes read-only:
    /// whether it is read-only.
    pub recorded: Option<bool>,
}

/// What NodePublishVolume wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desired {
    /// A raw device instead of a directory.
    pub block: bool,
    /// The kernel refuses writes.
    pub read_only: bool,
}

impl Desired {
    /// Whether the target is recorded before it is made, because what is found there
    /// later does not say what it was made for.
    #[must_use]
    pub const fn is_recorded(self) -> bool {
        self.block || self.read_only
    }
}

/// One step of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the target directory.
    MakeDirectory,
    /// Bind the staging path to the target directory.
    Bind,
    /// Make the target an empty file, to bind a device node to.
    MakeFile,
    /// Have the kernel refuse or accept writes to the device.
    SetReadOnly(bool),
    /// Make the target a device node.
    MakeNode,
    /// Bind a device node to the target file.
    BindNode,
    /// Remove a device node that means another device, or an empty file.
    RemoveFile,
    /// Remove the topmost mount at the target.
    Unmount,
    /// Remove the empty target directory.
    RemoveDirectory,
}

/// Why a target is not published or unpublished. Nothing was changed by finding out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The volume is not staged here.
    #[error("the volume is not staged: {0}")]
    NotStaged(String),
    /// It is staged, and its device cannot be used at the moment.
    #[error("the volume's device is away from this node, and it is being brought back")]
    NotLive,
    /// Something else is mounted at the target.
    #[error("the target has device {found} mounted, but the volume is {wanted}")]
    OtherMount {
        /// What is mounted.
        found: DeviceNumber,
        /// The volume's device.
        wanted: DeviceNumber,
    },
    /// Published already, the other way.
    #[error("the target is published {found} already, {wanted} was asked")]
    OtherMode {
        /// How it is published.
        found: &'static str,
        /// How it should be.
        wanted: &'static str,
    },
    /// Something lies at the target that this driver did not make.
    #[error("the target path is {found}; it is left alone")]
    Occupied {
        /// What it is.
        found: &'static str,
    },
    /// A raw device is read-only for all its users on a node or for none.
    #[error("the device is in use {found} at {}, so it cannot be published {wanted} here", targets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    ContraryTargets {
        /// How.
        found: &'static str,
        /// How it should be.
        wanted: &'static str,
        /// Where.
        targets: Vec<PathBuf>,
    },
}

impl Failure for PublishError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotStaged(_)
            | Self::Occupied { .. }
            | Self::ContraryTargets { .. }
            | Self::OtherMount { .. } => Kind::Conflict,
            Self::NotLive => Kind::Unreachable,
            Self::OtherMode { .. } => Kind::Exists,
        }
    }
}

const fn word(read_only: bool) -> &'static str {
    if read_only { "read-only" } else { "read-write" }
}

/// The next step of publishing; `None` once the volume is published as wanted.
pub fn next(observed: &Observed, desired: Desired) -> Result<Option<Step>, PublishError> {
    let Some(namespace) = &observed.namespace else {
        if observed.is_coming_back {
            return Err(PublishError::NotLive);
        }
        return Err(PublishError::NotStaged(
            "it has no live session on this node".to_owned(),
        ));
    };
    if let Some(other) = observed
        .target
        .iter()
        .find(|mount| !is_volume(mount, namespace, desired.block))
    {
        return Err(PublishError::OtherMount {
            found: other.device,
            wanted: namespace.number,
        });
    }
    if desired.block {
        next_block(observed, namespace, desired.read_only)
    } else {
        next_filesystem(observed, namespace, desired.read_only)
    }
}

/// A bound device node shows the filesystem that the node lies on, so only what the
/// path then is can say whether it is the right one.
fn is_volume(mount: &Mount, namespace: &Namespace, block: bool) -> bool {
    block || mount.device == namespace.number
}

fn next_filesystem(
    observed: &Observed,
    namespace: &Namespace,
    read_only: bool,
) -> Result<Option<Step>, PublishError> {
    match observed.staging.last() {
        Some(mount) if mount.device == namespace.number => {}
        _ if observed.is_coming_back => return Err(PublishError::NotLive),
        None => {
            return Err(PublishError::NotStaged(
                "nothing is mounted at the staging path".to_owned(),
            ));
        }
        Some(mount) => {
            let text = format!(
                "the staging path has device {} mounted, the volume is {}",
                mount.device, namespace.number
            );
            return Err(PublishError::NotStaged(text));
        }
    }
    if let Some(mount) = observed.target.last() {
        // A bind of a read-only staging mount is read-only whatever was asked of it.
        let found = mount.is_read_only();
        if !found && read_only && observed.recorded == Some(true) {
            // A bind is made read-only by a second call, and a crash came between: it
            // was never published.
            return Ok(Some(Step::Unmount));
        }
        return if found == read_only || (found && observed.staging.iter().any(Mount::is_read_only))
        {
            Ok(None)
        } else {
            Err(PublishError::OtherMode {
                found: word(found),
                wanted: word(read_only),
            })
        };
    }
    match observed.path {
        Found::Absent => Ok(Some(Step::MakeDirectory)),
        Found::Directory { empty: true } => Ok(Some(Step::Bind)),
        other => Err(occupied(other)),
    }
}

fn next_block(
    observed: &Observed,
    namespace: &Namespace,
    read_only: bool,
) -> Result<Option<Step>, PublishError> {
    if !observed.contrary_targets.is_empty() {
        let (found, wanted) = (word(!read_only), word(read_only));
        return Err(PublishError::ContraryTargets {
            found,
            wanted,
            targets: observed.contrary_targets.clone(),
        });
    }
    if observed.recorded == Some(!read_only) && observed.path == Found::Block(namespace.number) {
        return Err(PublishError::OtherMode {
            found: word(!read_only),
            wanted: word(read_only),
        });
    }
    if namespace.read_only != read_only {
        return Ok(Some(Step::SetReadOnly(read_only)));
    }
    match (observed.path, observed.nodes_usable) {
        (Found::Block(number), true) if number == namespace.number => Ok(None),
        (Found::Block(number), false)
            if number == namespace.number && !observed.target.is_empty() =>
        {
            Ok(None)
        }
        // The number of a node outlives its device and may mean another volume by now.
        (Found::Block(_), _) if !observed.target.is_empty() => Ok(Some(Step::Unmount)),
        (Found::Block(_), _) => Ok(Some(Step::RemoveFile)),
        (Found::Absent, true) => Ok(Some(Step::MakeNode)),
        (Found::Absent, false) => Ok(Some(Step::MakeFile)),
        (Found::File { empty: true }, true) if observed.target.is_empty() => {
            Ok(Some(Step::RemoveFile))
        }
        (Found::File { empty: true }, false) if observed.target.is_empty() => {
            Ok(Some(Step::BindNode))
        }
        (other, _) => Err(occupied(other)),
    }
}

fn occupied(found: Found) -> PublishError {
    PublishError::Occupied {
        found: match found {
            Found::Absent => "absent",
            Found::Directory { empty: true } => "a directory",
            Found::Directory { empty: false } => "a directory that is not empty",
            Found::Block(_) => "a block device node",
            Found::File { empty: true } => "a file",
            Found::File { empty: false } => "a file with content",
            Found::Other => "neither a file, a directory nor a block device node",
        },
    }
}

/// The next step of unpublishing a target; `None` once nothing is left there.
///
/// `path` is what lies at the target below its mounts, and is asked only where there
/// are none left, because looking at a dead mount fails.
pub fn next_unpublish(mounts: usize, path: Found) -> Result<Option<Step>, PublishError> {
    if mounts > 0 {
        return Ok(Some(Step::Unmount));
    }
    match path {
        Found::Absent => Ok(None),
        Found::Directory { empty: true } => Ok(Some(Step::RemoveDirectory)),
        Found::Block(_) | Found::File { empty: true } => Ok(Some(Step::RemoveFile)),
        other => Err(occupied(other)),
    }
}

#[cfg(test)]
mod tests;
