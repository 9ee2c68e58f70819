//! Mounts the filesystem of a device: everything from the proof to the look afterwards
//! happens under one descriptor, in one piece of blocking work.

use std::path::PathBuf;

use crate::block::{Device, examine};
use crate::mounter::{Meant, MountError, Mounting, Unmount, unexpected};
use crate::mountinfo;
use crate::sys::device::{self, Access};
use crate::sys::{CallError, Root, mounting, paths};

/// A mount of a filesystem: everything that must happen in one go, even where the caller
/// has stopped waiting.
#[derive(Debug, Clone)]
pub(super) struct FilesystemMount {
    pub(super) device: Device,
    pub(super) target: PathBuf,
    pub(super) meant: Meant,
    pub(super) options: Vec<String>,
}

impl FilesystemMount {
    pub(super) fn failed(&self, source: CallError) -> MountError {
        MountError::Mount {
            device: self.device.to_string(),
            fs: self.meant.fs,
            target: self.target.clone(),
            options: self.options.clone(),
            source: Box::new(source),
        }
    }

    fn require_target(&self) -> Result<(), MountError> {
        paths::require_directory(&self.target)
            .map_err(|source| MountError::Path {
                path: self.target.clone(),
                source: CallError::failed("mkdir", &self.target, source),
            })?
            .map_err(|found| unexpected(&self.target, found, "a directory"))
    }

    pub(super) fn run(&self, root: &Root) -> Result<Mounting, MountError> {
        let unchecked = |source| MountError::Device {
            target: self.target.clone(),
            source: Box::new(source),
        };
        let held = device::open(root, &self.device, Access::Direct).map_err(unchecked)?;
        let (name, size) = (self.device.to_string(), self.device.namespace.size);
        let found = examine::head(&held, &name, size).map_err(unchecked)?;
        if !found.is_some_and(|found| self.meant.is(found)) {
            return Ok(Mounting::Other(found));
        }
        self.require_target()?;
        self.mount(root)?;
        drop(held);
        mountinfo::read(root).map(Mounting::Made)
    }

    /// The caller holds a descriptor, which pins the device number. The name in `/dev`
    /// could still be given to another device between the check and the mount, so what
    /// got mounted is checked too.
    fn mount(&self, root: &Root) -> Result<(), MountError> {
        let node = root.dev.join(&self.device.namespace.name);
        mounting::filesystem(&node, &self.target, self.meant.fs.as_str(), &self.options)
            .map_err(|source| self.failed(CallError::failed("mount", &self.target, source)))?;
        let expected = self.device.namespace.number;
        match mounting::device_at(&self.target) {
            Ok(found) if found == expected => Ok(()),
            found => {
                let undone = mounting::unmount(&self.target, Unmount::Plain);
                let found = match found {
                    Ok(number) => number.to_string(),
                    Err(error) => error.to_string(),
                };
                Err(MountError::WrongDevice {
                    target: self.target.clone(),
                    expected,
                    found: match undone {
                        Ok(()) => found,
                        Err(error) => format!("{found} (and unmounting it failed: {error})"),
                    },
                })
            }
        }
    }
}
