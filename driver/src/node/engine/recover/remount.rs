//! Filesystems: dead mounts are taken away, and the volume is mounted again in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rds_csi_core::mount::{Mount, mounts_at};
use rds_csi_core::nvme::DeviceNumber;
use rds_csi_host::block::Device;
use rds_csi_host::mounter::Unmount;

use super::Volume;
use crate::node::NodeError;

impl Volume<'_> {
    /// Takes the dead mounts at the staging path away and mounts the volume there again: the
    /// targets that are to get it, written down.
    pub(super) async fn remount(
        &self,
        device: &Device,
    ) -> Result<BTreeMap<PathBuf, bool>, NodeError> {
        let mounts = self.node.host.mounts().await?;
        let dead = self.dead_below(&mounts, device).await?;
        let is_dead = |mount: &&Mount| dead.contains(&mount.device);
        let mut targets = self.session.recovery.clone().unwrap_or_default();
        for mount in mounts.iter().filter(is_dead) {
            if mount.target != self.at && mount.root == Path::new("/") {
                // By its own flag: a filesystem that met errors is read-only as a whole.
                let read_only = mount.options.iter().any(|option| option == "ro");
                targets.insert(mount.target.clone(), read_only);
            }
        }
        self.note(Some(targets.clone())).await?;
        // Directories of the volume, bound by kubelet for a subPath: it binds them anew
        // when it starts the container, following no symlink; a name is no safe way there.
        for mount in mounts.iter().filter(is_dead) {
            if mount.root != Path::new("/") {
                self.node.host.unmount(&mount.target, Unmount::Lazy).await?;
            }
        }
        self.clear(&self.at, device).await?;
        self.stage().await?;
        Ok(targets)
    }

    /// The numbers of dead devices that are mounted at the staging path.
    async fn dead_below(
        &self,
        mounts: &[Mount],
        device: &Device,
    ) -> Result<BTreeSet<DeviceNumber>, NodeError> {
        let mut dead = BTreeSet::new();
        for mount in mounts_at(mounts, &self.at) {
            if self.is_dead(&mount, device).await? {
                dead.insert(mount.device);
            }
        }
        Ok(dead)
    }

    /// Whether a mount is of a device that is gone. One of a living device that is not the
    /// volume's is somebody else's business, and an error.
    async fn is_dead(&self, mount: &Mount, device: &Device) -> Result<bool, NodeError> {
        if mount.device == device.namespace.number {
            return Ok(false);
        }
        if self.node.host.exists(mount.device).await? {
            return Err(NodeError::OtherDevice {
                id: self.session.volume.clone(),
                path: mount.target.clone(),
                found: mount.device.to_string(),
                wanted: device.to_string(),
            });
        }
        Ok(true)
    }

    /// Takes the dead mounts at a path away, topmost first.
    pub(super) async fn clear(&self, path: &Path, device: &Device) -> Result<(), NodeError> {
        while let Some(mount) = self.node.mounts_at(path).await?.pop() {
            if !self.is_dead(&mount, device).await? {
                break;
            }
            self.node.host.unmount(path, Unmount::Lazy).await?;
        }
        Ok(())
    }
}
