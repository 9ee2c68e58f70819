//! NodeStageVolume: a session, a device that answers, and for a filesystem its mount.
//!
//! A session is recorded before it is opened, as not yet staged, and marked as staged at
//! the end. Only that mark tells, after a refusal that is final, whether the session was
//! opened by staging that never succeeded: then nobody can have come to use it, and it
//! is ended, because kubelet does not ask to unstage what was refused. A session that
//! was ever staged is left alone by every failure: a running pod may be on it. After an
//! error that may pass, all is left as it is for the next attempt.

use std::path::{Path, PathBuf};

use rds_csi_core::access::{Access, AccessMode, VolumeMode};
use rds_csi_core::context::{PublishContext, VolumeContext};
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::Failure;
use rds_csi_core::mount::mounts_at;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::stage::{self, Desired, Knowledge, Observed, Step};
use rds_csi_core::volume_id::{Form, VolumeId};
use rds_csi_host::block::{Device, DeviceError, Superblock};
use rds_csi_host::mounter::{Meant, Mounting, Unmount};
use rds_csi_host::nvme::Seen;
use tokio::time::Instant;
use tracing::{debug, info};

use super::budget::Budget;
use super::session::live;
use super::{Node, NodeError};

mod connect;
mod earlier;
mod outcome;

/// What NodeStageVolume asks for.
#[derive(Debug, Clone)]
pub(crate) struct StageRequest {
    /// The volume.
    pub(crate) id: VolumeId,
    /// Where a filesystem is mounted; untouched for a block volume.
    pub(crate) staging: PathBuf,
    /// Who uses it, and how.
    pub(crate) access: Access,
    /// What the PersistentVolume says.
    pub(crate) context: VolumeContext,
    /// What the attachment says.
    pub(crate) publish: PublishContext,
    /// Whether it was staged before and its device was lost: its old filesystem may be
    /// mounted still, dead, where only a container sees it.
    pub(crate) again: bool,
}

impl StageRequest {
    fn desired(&self, host: &Nqn) -> Result<Desired, NodeError> {
        let is_older = self.id.form() == Form::Long;
        if self.publish.size.is_none() && !is_older {
            return Err(NodeError::NoSize(self.id.clone()));
        }
        Ok(Desired {
            nqn: self.context.nqn.clone(),
            host: host.clone(),
            address: self.context.nvme_address,
            port: self.context.nvme_port,
            size: self.publish.size,
            volume: self.access.volume.clone(),
            uuid: self.id.filesystem_uuid(),
            any_uuid: is_older,
            first_used: self.publish.first_used.clone(),
            format_override: self.publish.format_override.clone(),
        })
    }

    fn mount_options(&self) -> Vec<String> {
        let VolumeMode::Filesystem { fs, options } = &self.access.volume else {
            return Vec::new();
        };
        let mut options = options.clone();
        if self.again && *fs == FsType::Xfs {
            options.retain(|option| option != "nouuid");
            options.push("nouuid".to_owned());
        }
        if self.access.mode == AccessMode::SingleNodeReaderOnly {
            options.retain(|option| option != "rw" && option != "ro");
            options.push("ro".to_owned());
        }
        options
    }
}

impl Node {
    /// Stages the volume, or finds it staged.
    pub(crate) async fn stage(&self, request: &StageRequest) -> Result<(), NodeError> {
        self.verify_nqn(&request.id, &request.context.nqn)?;
        let desired = request.desired(&self.settings.identity.nqn)?;
        self.leave_earlier(request).await?;
        let mut budget = Budget::new();
        let outcome = match self.settle(request, &desired, &mut budget).await {
            Ok(device) => self.mark_staged(request, &device).await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(refusal) if !refusal.kind().is_retryable() => {
                Err(self.abandon(request, refusal).await)
            }
            outcome => outcome,
        }
    }

    /// Takes steps until none is left. Returns the volume's device.
    ///
    /// After a step everything is looked at anew that the step can have changed: opening
    /// a session mounts nothing, and while it mounts the host verifies the device again.
    async fn settle(
        &self,
        request: &StageRequest,
        desired: &Desired,
        budget: &mut Budget,
    ) -> Result<Device, NodeError> {
        let (mut record, subsystem, mounts) = tokio::try_join!(
            async { Ok(self.registry.get(&request.id).await?) },
            async { Ok(self.host.subsystem(&desired.nqn).await?) },
            self.mounts_at(&request.staging)
        )?;
        let mut observed = Observed {
            subsystem,
            mounts,
            knowledge: Knowledge::Unread,
        };
        let mut mounted = false;
        loop {
            self.verify_staged(record.as_ref(), observed.subsystem.as_ref())?;
            let Some(step) = stage::next(&observed, desired)? else {
                return device(&observed, desired);
            };
            budget.spend(&step)?;
            debug!(volume_id = %request.id, %step, "staging");
            match step {
                Step::Connect => {
                    let (session, subsystem) = self.connect(request, budget).await?;
                    (record, observed.subsystem) = (Some(session), Some(subsystem));
                }
                Step::Await => {
                    observed.subsystem = Some(
                        self.await_live(&desired.nqn, Some(budget.deadline()))
                            .await?,
                    );
                }
                Step::Mount { .. } if mounted => {
                    return Err(self.not_seen(&request.staging).await?);
                }
                Step::Mount { fs, uuid } => {
                    let device = device(&observed, desired)?;
                    let meant = Meant { fs, uuid };
                    match self.mount(&device, request, meant).await? {
                        Mounting::Made(mounts) => {
                            observed.mounts = mounts_at(&mounts, &request.staging);
                            mounted = true;
                        }
                        Mounting::Other(found) => observed.knowledge = head(&device, found),
                    }
                }
                Step::Identify | Step::Examine | Step::Format { .. } => {
                    let device = device(&observed, desired)?;
                    observed.knowledge = self.take_on(&device, &step, request).await?;
                }
            }
        }
    }

    /// Takes a step on the device and returns what is known of its content after it.
    async fn take_on(
        &self,
        device: &Device,
        step: &Step,
        request: &StageRequest,
    ) -> Result<Knowledge, NodeError> {
        let (begun, id) = (Instant::now(), &request.id);
        match step {
            Step::Examine => Ok(Knowledge::Examined {
                device: device.namespace.number,
                content: self.host.examine(device).await?,
            }),
            Step::Format { fs, uuid } => {
                self.host.format(device, *fs, *uuid).await?;
                self.metrics.formatted(*fs);
                info!(volume_id = %id, %device, %fs, %uuid, elapsed_ms = millis(begun), "filesystem made");
                Ok(Knowledge::Unread)
            }
            Step::Identify => self.identify(device).await,
            Step::Connect | Step::Await | Step::Mount { .. } => Err(NodeError::Unplanned {
                step: step.to_string(),
            }),
        }
    }

    async fn mount(
        &self,
        device: &Device,
        request: &StageRequest,
        meant: Meant,
    ) -> Result<Mounting, NodeError> {
        let (begun, options) = (Instant::now(), request.mount_options());
        let (staging, fs) = (&request.staging, meant.fs);
        let mounting = self.host.mount(device, staging, meant, &options).await?;
        if matches!(mounting, Mounting::Made(_)) {
            info!(volume_id = %request.id, %device, %fs, ?options, staging = %staging.display(), elapsed_ms = millis(begun), "filesystem mounted");
        }
        Ok(mounting)
    }

    /// Reads the beginning of a raw device, which proves that it answers. What it holds
    /// is its user's.
    async fn identify(&self, device: &Device) -> Result<Knowledge, NodeError> {
        match self.host.identify(device).await {
            Ok(found) => Ok(head(device, found)),
            Err(DeviceError::Damaged { .. }) => Ok(head(device, None)),
            Err(error) => Err(error.into()),
        }
    }

    /// A second mount is asked for although one was just made.
    pub(super) async fn not_seen(&self, path: &Path) -> Result<NodeError, NodeError> {
        self.host.unmount(path, Unmount::Plain).await?;
        Ok(NodeError::NotSeen {
            path: path.to_owned(),
        })
    }
}

/// The very device that the plan was made for: the host refuses it where it has become
/// another since.
fn device(observed: &Observed, desired: &Desired) -> Result<Device, NodeError> {
    let seen = Seen::of(&desired.nqn, observed.subsystem.as_ref())?;
    live(seen, &desired.nqn)
}

fn head(device: &Device, found: Option<Superblock>) -> Knowledge {
    Knowledge::Head {
        device: device.namespace.number,
        superblock: found.map(|found| (found.fs, found.uuid)),
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
