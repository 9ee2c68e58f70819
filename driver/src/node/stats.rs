//! NodeGetVolumeStats: the space of a volume and whether it works.
//!
//! A volume that does not work is a state to report and no failure. Whether its device
//! lives is read from the kernel's tables first, and only a filesystem on a device that
//! does I/O is asked anything: the question would hang on a dead one.

use std::path::{Path, PathBuf};

use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::Chain;
use rds_csi_core::mount::Mount;
use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::{Device, Stats};
use rds_csi_host::mounter::PathState;
use rds_csi_host::nvme::Seen;

use super::{Node, NodeError};

/// What people are told of a filesystem that is dead on a living device.
pub(super) const SHUT_DOWN: &str = "the filesystem has shut down after an I/O error, though its device works by now: it answers with errors and writes nothing until it is unmounted. Delete all pods that use it on this node, so that it is unmounted and mounted anew; to restart their containers is not enough";

/// What is known of a volume at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its space, where it could be asked for.
    pub(crate) usage: Option<Usage>,
    /// Whether it works.
    pub(crate) condition: Condition,
}

/// The space of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Of a filesystem.
    Filesystem(Stats),
    /// The bytes of a raw device; what its user put there is unknown.
    Block(u64),
}

/// Whether a volume works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// As far as can be seen.
    Normal,
    /// No, and why.
    Abnormal(String),
}

impl Report {
    const fn abnormal(message: String) -> Self {
        Self {
            usage: None,
            condition: Condition::Abnormal(message),
        }
    }
}

impl Node {
    /// Space and condition of the volume at a path where it was staged or published.
    /// Not found where nothing of the kind is at the path.
    pub(crate) async fn stats(&self, id: &VolumeId, path: &Path) -> Result<Report, NodeError> {
        let mount = self.mounts_at(path).await?.pop();
        let filesystem = mount.filter(|mount| mount.fs_type.parse::<FsType>().is_ok());
        let number = match &filesystem {
            Some(mount) => mount.device,
            None => match self.host.path(path).await? {
                PathState::Block(number) => number,
                PathState::Absent
                | PathState::Directory { .. }
                | PathState::File { .. }
                | PathState::Other => {
                    return Err(NodeError::NotPublished {
                        id: id.clone(),
                        path: path.to_owned(),
                    });
                }
            },
        };
        let device = match self.device_for(id, number).await? {
            Ok(device) => device,
            Err(message) => return Ok(Report::abnormal(message)),
        };
        match filesystem {
            Some(mount) => Ok(self.filesystem_report(path.to_owned(), &mount).await),
            None => Ok(Report {
                usage: Some(Usage::Block(device.namespace.size.get())),
                condition: Condition::Normal,
            }),
        }
    }

    /// The volume's live device, if it is the one of this number, else why not.
    async fn device_for(
        &self,
        id: &VolumeId,
        number: DeviceNumber,
    ) -> Result<Result<Device, String>, NodeError> {
        let nqn = self.nqn(id).await?;
        Ok(match self.seen(&nqn).await? {
            Seen::Live(device) if device.namespace.number == number => Ok(device),
            Seen::Live(device) => Err(format!(
                "the path has device {number}, but the volume is {device}: its device was lost and came back as another; where the driver does not hand it over within seconds, events of the claim say why"
            )),
            Seen::Waiting(seen) => Err(format!("{nqn} is not live: {seen}")),
            Seen::Absent => Err(format!("{nqn} has no session on this node")),
        })
    }

    async fn filesystem_report(&self, path: PathBuf, mount: &Mount) -> Report {
        let usage = match self.host.stats(&path).await {
            Ok(stats) => stats,
            Err(error) => return Report::abnormal(Chain(&error).to_string()),
        };
        let has = |options: &[String], word: &str| options.iter().any(|option| option == word);
        let has_shut_down = match self.host.has_shut_down(&path).await {
            Ok(has_shut_down) => has_shut_down || has(&mount.super_options, "shutdown"),
            Err(error) => return Report::abnormal(Chain(&error).to_string()),
        };
        // Asked read-only, the mount itself says so; only the filesystem says it where
        // the kernel stopped writing after an error.
        let is_stopped = has(&mount.super_options, "emergency_ro")
            || (has(&mount.super_options, "ro") && !has(&mount.options, "ro"));
        let condition = if has_shut_down {
            Condition::Abnormal(format!("{} ({})", SHUT_DOWN, path.display()))
        } else if is_stopped {
            Condition::Abnormal(format!(
                "the {} at {} went read-only after an error; see the kernel log",
                mount.fs_type,
                path.display()
            ))
        } else {
            Condition::Normal
        };
        Report {
            usage: Some(Usage::Filesystem(usage)),
            condition,
        }
    }
}
