//! Which exports the items ask for, and filesystems that the device mounts itself.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use super::{Kind, Model};
use crate::nvmet::{Access, Export};
use crate::variants::{AccessRule, UnmountedExport};

/// Port when none is set (doc).
pub(super) const DEFAULT_PORT: u16 = 4420;

impl Model {
    /// What a target should serve now: exported items that are not disabled, on mounted pools.
    #[must_use]
    pub fn exports(&self) -> Vec<Export> {
        let mut exports = Vec::new();
        if self.off {
            return exports;
        }
        for item in self.device.items.iter().filter(|item| !item.disabled) {
            let (Some(file), Some(nqn)) = (item.file(), item.nqn()) else {
                continue;
            };
            let mounted = self.on_mounted_pool(&file.file_path);
            let empty = !mounted && self.variants.unmounted_export == UnmountedExport::Empty;
            if !file.export || !(mounted || empty) {
                continue;
            }
            let Ok(path) = self.host_path(&file.file_path) else {
                continue;
            };
            exports.push(Export {
                nqn,
                port: file.port.unwrap_or(DEFAULT_PORT),
                access: self.access(item.id, file.allow_host.as_deref().unwrap_or("")),
                file: mounted.then_some(path),
                uuid: file.uuid.clone(),
                size: file.size,
            });
        }
        exports
    }

    fn access(&self, id: u32, allow: &str) -> Access {
        let rule = self.variants.access_rule;
        let heeded = self
            .heeded
            .get(&id)
            .filter(|_| rule == AccessRule::AtExport);
        let allow = heeded.map_or(allow, String::as_str);
        match rule {
            _ if allow.is_empty() => Access::Anybody,
            AccessRule::Ignored => Access::Anybody,
            AccessRule::Exact | AccessRule::AtExport => Access::Hosts(vec![allow.to_owned()]),
            AccessRule::List => Access::Hosts(allow.split(',').map(str::to_owned).collect()),
            AccessRule::OtherName => Access::Hosts(Vec::new()),
        }
    }

    /// Notes which host each export began with.
    pub(super) fn heed(&mut self) {
        let items = self.device.items.iter().filter(|item| !item.disabled);
        let exported = items.filter_map(|item| {
            let file = item.file().filter(|file| file.export && !self.off)?;
            let began = self.heeded.get(&item.id).cloned();
            let now = || file.allow_host.clone().unwrap_or_default();
            Some((item.id, began.unwrap_or_else(now)))
        });
        self.heeded = exported.collect();
    }

    /// The filesystem that the device recognises at the start of the file of `path`.
    pub(super) fn recognised(&self, path: &str) -> Option<&'static str> {
        let path = self.host_path(path).ok()?;
        let file = File::open(path).ok()?;
        let at = |offset: u64, magic: &[u8]| {
            let mut read = vec![0; magic.len()];
            file.read_exact_at(&mut read, offset).is_ok() && read == magic
        };
        if at(0x438, &[0x53, 0xEF]) {
            Some("ext4")
        } else if at(0, b"XFSB") {
            Some("xfs")
        } else if at(0x10040, b"_BHRfS_M") {
            Some("btrfs")
        } else {
            None
        }
    }

    /// What the device does with a file item it may mount (doc: the default; inf: the harm):
    /// it mounts the filesystem inside, and the mount writes. Here the mount count of an
    /// ext filesystem goes up, so that a test can see the foreign hand.
    pub(super) fn mount_inside(&self, slot: &str) {
        let Some(Kind::File(file)) = self.device.item(slot).map(|item| &item.kind) else {
            return;
        };
        let writes = file.mount_filesystem && !file.mount_read_only;
        if !writes || self.recognised(&file.file_path) != Some("ext4") {
            return;
        }
        let Ok(path) = self.host_path(&file.file_path) else {
            return;
        };
        if let Ok(image) = OpenOptions::new().read(true).write(true).open(path) {
            let mut count = [0; 2];
            if image.read_exact_at(&mut count, 0x434).is_ok() {
                let more = u16::from_le_bytes(count).wrapping_add(1).to_le_bytes();
                if let Err(error) = image.write_all_at(&more, 0x434) {
                    tracing::warn!(%error, "the mount inside an image left no trace");
                }
            }
        }
    }
}
