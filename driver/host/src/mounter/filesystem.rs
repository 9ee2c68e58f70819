//! Mounts the filesystem of a device: everything from the proof to the look afterwards
//! happens under one descriptor, in one piece of blocking work.

use std::io;
use std::path::PathBuf;

use tokio::time::Instant;

use crate::block::{Device, Superblock, examine};
use crate::mounter::{Meant, MountError, Mounting, Unmount, unexpected};
use crate::mountinfo;
use crate::sys::device::{self, Access};
use crate::sys::{CallError, Root, mounting, paths};

/// A mount of a filesystem: everything that must happen in one go, once it has begun even
/// where the caller has stopped waiting.
#[derive(Debug, Clone)]
pub(super) struct FilesystemMount {
    pub(super) device: Device,
    pub(super) target: PathBuf,
    pub(super) meant: Meant,
    pub(super) options: Vec<String>,
    /// When the caller stops waiting. A device that answers later may have been given up
    /// on this node and be another's by then, and a mount already writes to it.
    pub(super) until: Instant,
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
        self.go_on(root, found)
    }

    /// The caller holds the device from which `found` was read.
    fn go_on(&self, root: &Root, found: Option<Superblock>) -> Result<Mounting, MountError> {
        if !found.is_some_and(|found| self.meant.is(found)) {
            return Ok(Mounting::Other(found));
        }
        if Instant::now() >= self.until {
            let late = io::Error::from(io::ErrorKind::TimedOut);
            return Err(self.failed(CallError::failed("mount", &self.target, late)));
        }
        self.require_target()?;
        self.mount(root)?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rds_csi_core::bytes::Bytes;
    use rds_csi_core::filesystem::FsType;
    use rds_csi_core::nvme::{DeviceNumber, Namespace};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_device_that_answers_after_its_caller_has_left_is_not_mounted() {
        let base = tempfile::tempdir().unwrap();
        let found = Superblock {
            fs: FsType::Ext4,
            uuid: Uuid::nil(),
            size: Bytes::gib(1),
        };
        let job = FilesystemMount {
            device: Device {
                nqn: "nqn.2000-02.com.mikrotik:pvc-1".parse().unwrap(),
                namespace: Namespace {
                    name: "nvme0n1".to_owned(),
                    nsid: 1,
                    number: DeviceNumber {
                        major: 259,
                        minor: 0,
                    },
                    size: Bytes::gib(1),
                    wwid: None,
                    read_only: false,
                },
            },
            target: base.path().join("staging"),
            meant: Meant {
                fs: found.fs,
                uuid: Some(found.uuid),
            },
            options: Vec::new(),
            until: Instant::now(),
        };
        let root = Root::below(base.path());
        job.go_on(&root, Some(found)).unwrap_err();
        assert!(!job.target.exists());

        // In time it is begun, and here fails for want of a device.
        let in_time = FilesystemMount {
            until: Instant::now() + Duration::from_secs(60),
            ..job
        };
        in_time.go_on(&root, Some(found)).unwrap_err();
        assert!(in_time.target.exists());
    }
}
