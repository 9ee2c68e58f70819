//! NodeExpandVolume: the kernel's and the filesystem's view of a volume that has grown.
//!
//! What is returned was measured, and less than was asked is an error to ask again:
//! the device may still be on its way to the new size.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::Device;
use rds_csi_host::mounter::PathState;
use tokio::time::Instant;
use tracing::info;

use super::session::live;
use super::{Node, NodeError};

/// What NodeExpandVolume asks for.
#[derive(Debug, Clone)]
pub(crate) struct ExpandRequest {
    /// The volume.
    pub(crate) id: VolumeId,
    /// Where it is published or staged.
    pub(crate) path: PathBuf,
    /// Where it is staged, if that was sent.
    pub(crate) staging: Option<PathBuf>,
    /// Whether it is a raw device, where a capability says it.
    pub(crate) block: Option<bool>,
    /// The least size.
    pub(crate) required: Option<Bytes>,
}

/// How long a rescan may take to show.
const RESCAN_WITHIN: Duration = Duration::from_secs(20);

/// An ext4 leaves out a last block group that is too small for its own metadata, at most
/// one of 128 MiB; XFS leaves out less.
const FILESYSTEM_SLACK: Bytes = Bytes::mib(128);

impl Node {
    /// Grows what this node has of the volume and returns its measured size.
    pub(crate) async fn expand(&self, request: &ExpandRequest) -> Result<Bytes, NodeError> {
        let filesystem = self.filesystem_at(request).await?;
        if filesystem.is_none() {
            self.require_device_at(request).await?;
        }
        let nqn = self.nqn(&request.id).await?;
        let device = self.rescanned(request, &nqn).await?;
        self.record_size(&request.id, device.namespace.size).await?;
        let Some(mounted) = filesystem else {
            return Ok(device.namespace.size);
        };
        if mounted.device != device.namespace.number {
            return Err(NodeError::OtherDevice {
                id: request.id.clone(),
                path: mounted.target,
                found: mounted.device.to_string(),
                wanted: device.to_string(),
            });
        }
        let begun = Instant::now();
        let size = self.host.grow(&device, mounted.fs, &mounted.target).await?;
        let wanted = device.namespace.size;
        if size.saturating_add(FILESYSTEM_SLACK) < wanted {
            return Err(NodeError::Short {
                id: request.id.clone(),
                what: "the filesystem",
                found: size,
                wanted,
            });
        }
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(volume_id = %request.id, %device, size = size.get(), elapsed_ms, "filesystem grown");
        Ok(size)
    }

    /// From now on a device of the smaller size is not the volume any more.
    async fn record_size(&self, id: &VolumeId, size: Bytes) -> Result<(), NodeError> {
        let Some(mut session) = self.registry.get(id).await? else {
            return Ok(());
        };
        if let Some(staging) = &mut session.staging
            && staging.size < size
        {
            staging.size = size;
            self.registry.record(&session).await?;
        }
        Ok(())
    }

    /// The volume's filesystem at the published path, else at the staging path.
    async fn filesystem_at(&self, request: &ExpandRequest) -> Result<Option<Mounted>, NodeError> {
        if request.block == Some(true) {
            return Ok(None);
        }
        let paths = [Some(&request.path), request.staging.as_ref()];
        for path in paths.into_iter().flatten() {
            if let Some(mount) = self.mounts_at(path).await?.pop()
                && let Ok(fs) = mount.fs_type.parse::<FsType>()
            {
                return Ok(Some(Mounted {
                    device: mount.device,
                    fs,
                    target: path.clone(),
                }));
            }
        }
        if request.block == Some(false) {
            return Err(not_published(request, &request.path));
        }
        Ok(None)
    }

    /// A raw device's path may be its target or its staging directory.
    async fn require_device_at(&self, request: &ExpandRequest) -> Result<(), NodeError> {
        match self.host.path(&request.path).await? {
            PathState::Block(_) => Ok(()),
            PathState::Directory { .. } if request.block == Some(true) => Ok(()),
            PathState::Absent
            | PathState::Directory { .. }
            | PathState::File { .. }
            | PathState::Other => Err(not_published(request, &request.path)),
        }
    }

    /// The volume's live device with at least the required size, after a rescan where
    /// the kernel has not noticed the growth by itself.
    async fn rescanned(&self, request: &ExpandRequest, nqn: &Nqn) -> Result<Device, NodeError> {
        let required = request.required.unwrap_or_default();
        let device = live(self.seen(nqn).await?, nqn)?;
        if device.namespace.size >= required {
            return Ok(device);
        }
        let (begun, before) = (Instant::now(), device.namespace.size);
        self.host.rescan(nqn).await?;
        let mut pause = Duration::from_millis(5);
        loop {
            let device = live(self.seen(nqn).await?, nqn)?;
            let found = device.namespace.size;
            if found >= required {
                let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(volume_id = %request.id, %device, before = before.get(), size = found.get(), elapsed_ms, "device grown");
                return Ok(device);
            }
            if begun.elapsed() + pause >= RESCAN_WITHIN {
                return Err(NodeError::Short {
                    id: request.id.clone(),
                    what: "the device",
                    found,
                    wanted: required,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }
}

/// A mounted filesystem.
struct Mounted {
    device: DeviceNumber,
    fs: FsType,
    target: PathBuf,
}

fn not_published(request: &ExpandRequest, path: &Path) -> NodeError {
    NodeError::NotPublished {
        id: request.id.clone(),
        path: path.to_owned(),
    }
}
