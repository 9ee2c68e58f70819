//! [`BlockDevices`] by direct reads and the programs of the image.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::{Content, FsType};
use rds_csi_core::nvme::DeviceNumber;
use uuid::Uuid;

use crate::block::{
    BlockDevices, Device, DeviceError, FormatError, GrowError, Holder, Kept, Stats, StatsError,
    Superblock, examine, grow, held::unchecked, holders, mkfs,
};
use crate::command::BLOCKDEV;
use crate::linux::Linux;
use crate::nvme::{NvmeError, read_attribute};
use crate::sys::device::{self, Access, Held};
use crate::sys::{CallError, mounting};

/// For what normally takes milliseconds.
pub(super) const SHORT: Duration = Duration::from_secs(20);
/// For writing back what is cached. Under kubelet's two minutes for one call.
const FLUSH: Duration = Duration::from_secs(100);

#[async_trait]
impl BlockDevices for Linux {
    async fn identify(&self, device: &Device) -> Result<Option<Superblock>, DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        self.on(device, "read", SHORT, move || {
            let file = device::open(&root, &owned, Access::Direct)?;
            examine::head(&file, &owned.to_string(), owned.namespace.size)
        })
        .await
    }

    async fn examine(&self, device: &Device) -> Result<Content, DeviceError> {
        let held = self.hold(device, Access::Direct).await?;
        self.examine_held(&held, device).await
    }

    async fn format(&self, device: &Device, fs: FsType, uuid: Uuid) -> Result<(), FormatError> {
        let name = device.to_string();
        let unexamined = |source| FormatError::Examine {
            device: name.clone(),
            source: Box::new(source),
        };
        let held = self
            .hold(device, Access::Direct)
            .await
            .map_err(unexamined)?;
        let content = self.examine_held(&held, device).await.map_err(unexamined)?;
        if content != Content::Blank {
            return Err(FormatError::NotBlank {
                device: name,
                content: format!("{content:?}"),
            });
        }
        let node = self.node(device).await.map_err(unexamined)?;
        let made = mkfs::make(&self.runner, fs, uuid, node.path()).await;
        drop(node);
        made.map_err(|source| FormatError::Make {
            device: name.clone(),
            fs,
            source: Box::new(source),
        })?;
        match self.head(&held, device).await {
            Ok(Some(found)) if found.fs == fs && found.uuid == uuid => Ok(()),
            Ok(found) => Err(FormatError::Mismatch {
                device: name,
                fs,
                uuid,
                found: found.map_or_else(
                    || "no superblock".to_owned(),
                    |found| format!("{} with UUID {}", found.fs, found.uuid),
                ),
            }),
            Err(source) => Err(FormatError::Verify {
                device: name,
                fs,
                source: Box::new(source),
            }),
        }
    }

    async fn grow(
        &self,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError> {
        let held = self.mounted(device, mounted_at).await?;
        let node = self
            .node(device)
            .await
            .map_err(|source| unchecked(device, source))?;
        let grown = grow::grow(&self.runner, fs, node.path(), mounted_at).await;
        drop(node);
        grown.map_err(|source| GrowError::Grow {
            device: device.to_string(),
            fs,
            source: Box::new(source),
        })?;
        self.measure(&held, device, fs, mounted_at).await
    }

    async fn filesystem_size(
        &self,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError> {
        let held = self.mounted(device, mounted_at).await?;
        self.measure(&held, device, fs, mounted_at).await
    }

    async fn stats(&self, path: &Path) -> Result<Stats, StatsError> {
        let owned = path.to_owned();
        self.calls
            .io("statvfs", path, SHORT, move || mounting::stats(&owned))
            .await
            .map_err(|source| StatsError::Statvfs {
                path: path.to_owned(),
                source,
            })
    }

    async fn has_shut_down(&self, path: &Path) -> Result<bool, StatsError> {
        let owned = path.to_owned();
        self.calls
            .io("lgetxattr", path, SHORT, move || {
                mounting::has_shut_down(&owned)
            })
            .await
            .map_err(|source| StatsError::Attribute {
                path: path.to_owned(),
                source,
            })
    }

    async fn exists(&self, number: DeviceNumber) -> Result<bool, DeviceError> {
        if number.major == 0 {
            return Ok(true);
        }
        let path = self.root.sys.join("dev/block").join(number.to_string());
        let read = path.clone();
        self.looks
            .io("stat", &path, SHORT, move || read.try_exists())
            .await
            .map_err(|source| DeviceError::Call {
                device: number.to_string(),
                source,
            })
    }

    async fn owner(&self, number: DeviceNumber) -> Result<Option<String>, DeviceError> {
        let device = self.root.sys.join("dev/block").join(number.to_string());
        // Of a multipath head its subsystem, of a path its controller: both say it.
        let path = device.join("device/subsysnqn");
        let read = path.clone();
        let unread = |source| DeviceError::Call {
            device: number.to_string(),
            source,
        };
        let owner = self
            .looks
            .run("read", &path, SHORT, move || read_attribute(&read))
            .await
            .map_err(unread)?;
        owner.map_err(|error| match error {
            NvmeError::Read(source) => unread(source),
            other => unread(CallError::failed("read", &path, io::Error::other(other))),
        })
    }

    async fn flush(&self, device: &Device) -> Result<(), DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        self.on(device, "fsync", FLUSH, move || {
            let file = device::open(&root, &owned, Access::Buffered)?;
            file.sync_all().map_err(|source| DeviceError::Call {
                device: owned.to_string(),
                source: CallError::failed("fsync", &root.dev.join(&owned.namespace.name), source),
            })
        })
        .await
    }

    async fn keep(&self, device: &Device) -> Result<Kept, DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        let held = self.on(device, "open", SHORT, move || {
            device::keep(&root, &owned).map(Held::new)
        });
        held.await.map(Kept::by)
    }

    async fn holders(&self, device: &Device) -> Result<Vec<Holder>, DeviceError> {
        let (root, owned) = (self.root.clone(), device.clone());
        self.on(device, "open", SHORT, move || {
            holders::holders(&root, &owned)
        })
        .await
    }

    async fn set_read_only(&self, device: &Device, read_only: bool) -> Result<(), DeviceError> {
        let _held = self.hold(device, Access::Buffered).await?;
        let node = self.node(device).await?;
        let flag = if read_only { "--setro" } else { "--setrw" };
        self.runner
            .succeed(BLOCKDEV, &[flag, &node.path().to_string_lossy()], SHORT)
            .await
            .map_err(|source| DeviceError::Command {
                device: device.to_string(),
                source,
            })?;
        let path = device::directory(&self.root, device).join("ro");
        let text = self
            .io(device, "read", move || std::fs::read_to_string(path))
            .await?;
        if (text.trim() == "1") == read_only {
            Ok(())
        } else {
            Err(DeviceError::Changed {
                device: device.to_string(),
                field: "read-only flag",
                expected: u8::from(read_only).to_string(),
                found: text.trim().to_owned(),
            })
        }
    }
}
