//! Work on a device that is held open, and the measuring of its filesystem.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::{Content, FsType};

use crate::block::examine::Scan;
use crate::block::linux::SHORT;
use crate::block::{Device, DeviceError, GrowError, Superblock, blkid, examine, grow, holders};
use crate::linux::Linux;
use crate::sys::device::{self, Access, Held, Node};
use crate::sys::{CallError, mounting};

/// For the reads of an examination: some 50 MiB.
const SCAN: Duration = Duration::from_secs(90);

pub(super) fn unchecked(device: &Device, source: DeviceError) -> GrowError {
    GrowError::Device {
        device: device.to_string(),
        source: Box::new(source),
    }
}

impl Linux {
    /// One blocking piece of work on a device.
    pub(super) async fn on<T: Send + 'static>(
        &self,
        device: &Device,
        call: &'static str,
        within: Duration,
        work: impl FnOnce() -> Result<T, DeviceError> + Send + 'static,
    ) -> Result<T, DeviceError> {
        let path = self.root.dev.join(&device.namespace.name);
        self.calls
            .run(call, &path, within, work)
            .await
            .map_err(|source| DeviceError::Call {
                device: device.to_string(),
                source,
            })?
    }

    pub(super) async fn io<T: Send + 'static>(
        &self,
        device: &Device,
        call: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, DeviceError> {
        let path = self.root.dev.join(&device.namespace.name);
        self.calls
            .io(call, &path, SHORT, work)
            .await
            .map_err(|source| DeviceError::Call {
                device: device.to_string(),
                source,
            })
    }

    pub(super) async fn hold(&self, device: &Device, access: Access) -> Result<Held, DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        self.on(device, "open", SHORT, move || {
            device::open(&root, &owned, access).map(Held::new)
        })
        .await
    }

    pub(super) async fn node(&self, device: &Device) -> Result<Node, DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        self.io(device, "mknod", move || Node::make(&root, &owned))
            .await
    }

    /// A descriptor of a held device for one blocking piece of work.
    pub(super) fn file(&self, held: &Held, device: &Device) -> Result<File, DeviceError> {
        held.file().map_err(|source| DeviceError::Call {
            device: device.to_string(),
            source: CallError::failed("dup", &self.root.dev.join(&device.namespace.name), source),
        })
    }

    pub(super) async fn head(
        &self,
        held: &Held,
        device: &Device,
    ) -> Result<Option<Superblock>, DeviceError> {
        self.read(held, device, SHORT, examine::head).await
    }

    async fn scan(&self, held: &Held, device: &Device) -> Result<Scan, DeviceError> {
        self.read(held, device, SCAN, examine::scan).await
    }

    async fn read<T: Send + 'static>(
        &self,
        held: &Held,
        device: &Device,
        within: Duration,
        read: fn(&File, &str, Bytes) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let file = self.file(held, device)?;
        let (name, size) = (device.to_string(), device.namespace.size);
        self.on(device, "read", within, move || read(&file, &name, size))
            .await
    }

    pub(super) async fn examine_held(
        &self,
        held: &Held,
        device: &Device,
    ) -> Result<Content, DeviceError> {
        let scan = self.scan(held, device).await?;
        let node = self.node(device).await?;
        let signature = blkid::probe(&self.runner, node.path())
            .await
            .map_err(|source| DeviceError::Command {
                device: device.to_string(),
                source,
            })?;
        let content = examine::content(scan.clone(), signature);
        if matches!(content, Content::Foreign(_)) {
            self.settled(held, device, &scan).await?;
        }
        Ok(content)
    }

    /// Whether what was found stays: a mkfs that outlived the plugin which began it leaves half
    /// a filesystem to whoever looks meanwhile, and claims the device. Asked in this order, as
    /// it may have ended in between.
    async fn settled(
        &self,
        held: &Held,
        device: &Device,
        before: &Scan,
    ) -> Result<(), DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        let is_claimed = self.on(device, "open", SHORT, move || {
            holders::is_claimed(&root, &owned)
        });
        if is_claimed.await? || self.scan(held, device).await? != *before {
            return Err(DeviceError::Unsettled {
                device: device.to_string(),
            });
        }
        Ok(())
    }

    /// Holds a device that is mounted at the path.
    pub(super) async fn mounted(
        &self,
        device: &Device,
        mounted_at: &Path,
    ) -> Result<Held, GrowError> {
        let held = self
            .hold(device, Access::Buffered)
            .await
            .map_err(|source| unchecked(device, source))?;
        let path = mounted_at.to_owned();
        let found = self
            .calls
            .io("lstat", mounted_at, SHORT, move || {
                mounting::device_at(&path)
            })
            .await
            .map_err(|source| GrowError::Mount {
                path: mounted_at.to_owned(),
                source,
            })?;
        if found == device.namespace.number {
            Ok(held)
        } else {
            Err(GrowError::NotMounted {
                path: mounted_at.to_owned(),
                expected: device.namespace.number,
            })
        }
    }

    /// ext4's superblock is current in the page cache of its device; XFS is asked.
    pub(super) async fn measure(
        &self,
        held: &Held,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError> {
        let failed = |reason: String| GrowError::Measure {
            device: device.to_string(),
            fs,
            reason,
        };
        if fs == FsType::Xfs {
            let geometry =
                grow::xfs_geometry(&self.runner, mounted_at)
                    .await
                    .map_err(|source| GrowError::Grow {
                        device: device.to_string(),
                        fs,
                        source: Box::new(source),
                    })?;
            return grow::xfs_size(&geometry)
                .ok_or_else(|| failed("xfs_growfs -n shows no data section".to_owned()));
        }
        let found = self
            .head(held, device)
            .await
            .map_err(|source| unchecked(device, source))?;
        match found {
            Some(found) if found.fs == fs => Ok(found.size),
            Some(found) => Err(failed(format!("the superblock is of {}", found.fs))),
            None => Err(failed("no superblock is there".to_owned())),
        }
    }
}
