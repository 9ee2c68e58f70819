//! [`BlockDevices`] of the model.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::{Content, FsType};
use rds_csi_core::nvme::{ControllerState, DeviceNumber};
use uuid::Uuid;

use crate::block::{
    BlockDevices, Device, DeviceError, FormatError, GrowError, Holder, Kept, Stats, StatsError,
    Superblock,
};
use crate::fake::array::Medium;
use crate::fake::faults::refused;
use crate::fake::{FakeHost, Kernel};
use crate::sys::Errno;

/// An open descriptor.
struct KeptNumber {
    shared: Arc<Mutex<Kernel>>,
    number: DeviceNumber,
}

impl Drop for KeptNumber {
    fn drop(&mut self) {
        let mut kernel = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = kernel.kept.get_mut(&self.number) {
            *count -= 1;
        }
    }
}

#[async_trait]
impl BlockDevices for FakeHost {
    async fn identify(&self, device: &Device) -> Result<Option<Superblock>, DeviceError> {
        self.call("identify", |kernel| {
            Ok(self.medium(kernel, device)?.superblock())
        })
        .await
    }

    async fn examine(&self, device: &Device) -> Result<Content, DeviceError> {
        self.call("examine", |kernel| self.content(kernel, device))
            .await
    }

    async fn format(&self, device: &Device, fs: FsType, uuid: Uuid) -> Result<(), FormatError> {
        self.call("format", |kernel| {
            let content = self
                .content(kernel, device)
                .map_err(|source| FormatError::Examine {
                    device: device.to_string(),
                    source: Box::new(source),
                })?;
            if content != Content::Blank || kernel.is_held(device.namespace.number) {
                return Err(FormatError::NotBlank {
                    device: device.to_string(),
                    content: format!("{content:?}"),
                });
            }
            let size = device.namespace.size;
            self.array
                .set_medium(&device.nqn, Medium::Filesystem { fs, uuid, size });
            Ok(())
        })
        .await
    }

    async fn grow(
        &self,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError> {
        self.call("grow", |kernel| {
            let superblock = self.mounted(kernel, device, fs, mounted_at)?;
            let size = device.namespace.size.max(superblock.size);
            let uuid = superblock.uuid;
            self.array
                .set_medium(&device.nqn, Medium::Filesystem { fs, uuid, size });
            Ok(size)
        })
        .await
    }

    async fn filesystem_size(
        &self,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Bytes, GrowError> {
        self.call("filesystem_size", |kernel| {
            self.mounted(kernel, device, fs, mounted_at)
                .map(|superblock| superblock.size)
        })
        .await
    }

    async fn stats(&self, path: &Path) -> Result<Stats, StatsError> {
        self.call("stats", |kernel| {
            let failed = |errno| StatsError::Statvfs {
                path: path.to_owned(),
                source: refused("statvfs", path, errno),
            };
            let mount = kernel.covering(path).ok_or_else(|| failed(Errno::ENOENT))?;
            if !kernel.is_alive(mount.device) {
                return Err(failed(Errno::EIO));
            }
            let total_bytes = kernel
                .by_number(mount.device)
                .map_or(0, |attached| attached.namespace.size.get());
            Ok(Stats {
                total_bytes,
                used_bytes: total_bytes / 4,
                available_bytes: total_bytes - total_bytes / 4,
                total_inodes: 1000,
                used_inodes: 11,
                available_inodes: 989,
            })
        })
        .await
    }

    async fn has_shut_down(&self, path: &Path) -> Result<bool, StatsError> {
        self.call("has_shut_down", |kernel| {
            let mount = kernel.covering(path);
            Ok(mount.is_some_and(|mount| kernel.shut_down.contains(&mount.device)))
        })
        .await
    }

    async fn exists(&self, number: DeviceNumber) -> Result<bool, DeviceError> {
        self.call("exists", |kernel| {
            Ok(number.major == 0 || kernel.by_number(number).is_some())
        })
        .await
    }

    async fn owner(&self, number: DeviceNumber) -> Result<Option<String>, DeviceError> {
        self.call("owner", |kernel| {
            let found = kernel.by_number(number);
            Ok(found.map(|attached| attached.nqn.clone()))
        })
        .await
    }

    async fn flush(&self, device: &Device) -> Result<(), DeviceError> {
        self.call("flush", |kernel| verify(kernel, device)).await
    }

    async fn keep(&self, device: &Device) -> Result<Kept, DeviceError> {
        let (shared, number) = (self.kernel.clone(), device.namespace.number);
        self.call("keep", |kernel| {
            verify(kernel, device)?;
            *kernel.kept.entry(number).or_default() += 1;
            Ok(Kept::by(KeptNumber { shared, number }))
        })
        .await
    }

    async fn holders(&self, device: &Device) -> Result<Vec<Holder>, DeviceError> {
        self.call("holders", |kernel| {
            verify(kernel, device)?;
            let number = device.namespace.number;
            let mut holders: Vec<_> = kernel
                .mounts
                .iter()
                .filter(|mount| mount.device == number)
                .map(|mount| Holder::Mount(mount.target.clone()))
                .collect();
            if holders.is_empty() && kernel.claimed.contains(&number) {
                holders.push(Holder::Claimed);
            }
            holders.sort();
            Ok(holders)
        })
        .await
    }

    async fn set_read_only(&self, device: &Device, read_only: bool) -> Result<(), DeviceError> {
        self.call("set_read_only", |kernel| {
            verify(kernel, device)?;
            for attached in &mut kernel.attached {
                if attached.namespace.number == device.namespace.number {
                    attached.namespace.read_only = read_only;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Whether the number still means that volume.
fn verify(kernel: &Kernel, device: &Device) -> Result<(), DeviceError> {
    let changed = |field, expected: String, found: String| DeviceError::Changed {
        device: device.to_string(),
        field,
        expected,
        found,
    };
    let Some(attached) = kernel.by_number(device.namespace.number) else {
        return Err(changed("NQN", device.nqn.to_string(), "gone".to_owned()));
    };
    if attached.nqn != device.nqn.as_str() {
        return Err(changed("NQN", device.nqn.to_string(), attached.nqn.clone()));
    }
    if attached.namespace.size != device.namespace.size {
        return Err(changed(
            "size",
            device.namespace.size.to_string(),
            attached.namespace.size.to_string(),
        ));
    }
    Ok(())
}

impl FakeHost {
    /// What is on a device that does I/O.
    pub(super) fn medium(&self, kernel: &Kernel, device: &Device) -> Result<Medium, DeviceError> {
        verify(kernel, device)?;
        let is_live = kernel
            .by_number(device.namespace.number)
            .is_some_and(|attached| attached.controller.state == ControllerState::Live);
        match self.array.medium(&device.nqn) {
            Some(medium) if is_live && medium != Medium::Unreadable => Ok(medium),
            _ => Err(DeviceError::Call {
                device: device.to_string(),
                source: refused("read", Path::new(&device.namespace.name), Errno::EIO),
            }),
        }
    }

    fn content(&self, kernel: &Kernel, device: &Device) -> Result<Content, DeviceError> {
        Ok(match self.medium(kernel, device)? {
            Medium::Blank => Content::Blank,
            Medium::Filesystem { fs, uuid, .. } => Content::Filesystem { fs, uuid },
            Medium::Foreign(text) => Content::Foreign(text),
            Medium::Unreadable => Content::Foreign("unreadable".to_owned()),
        })
    }

    fn mounted(
        &self,
        kernel: &Kernel,
        device: &Device,
        fs: FsType,
        mounted_at: &Path,
    ) -> Result<Superblock, GrowError> {
        let number = device.namespace.number;
        if kernel.top(mounted_at).map(|mount| mount.device) != Some(number) {
            return Err(GrowError::NotMounted {
                path: mounted_at.to_owned(),
                expected: number,
            });
        }
        match self.medium(kernel, device) {
            Ok(Medium::Filesystem {
                fs: found,
                uuid,
                size,
            }) if found == fs => Ok(Superblock { fs, uuid, size }),
            Ok(other) => Err(GrowError::Measure {
                device: device.to_string(),
                fs,
                reason: format!("{other:?}"),
            }),
            Err(source) => Err(GrowError::Device {
                device: device.to_string(),
                source: Box::new(source),
            }),
        }
    }
}
