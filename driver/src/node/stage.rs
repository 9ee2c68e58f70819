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
use rds_csi_core::kind::{Chain, Failure};
use rds_csi_core::nvme::Target;
use rds_csi_core::stage::{self, Desired, Knowledge, Observed, Step};
use rds_csi_core::volume_id::{Form, VolumeId};
use rds_csi_host::block::{Device, DeviceError};
use rds_csi_host::mounter::Unmount;
use rds_csi_host::nvme::await_device;
use rds_csi_host::registry::Session;
use tokio::time::Instant;
use tracing::{debug, info};

use super::budget::Budget;
use super::session::{Seen, now};
use super::{Node, NodeError};

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
}

impl StageRequest {
    fn desired(&self) -> Result<Desired, NodeError> {
        let is_older = self.id.form() == Form::Long;
        if self.publish.size.is_none() && !is_older {
            return Err(NodeError::NoSize(self.id.clone()));
        }
        Ok(Desired {
            nqn: self.context.nqn.clone(),
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
        let VolumeMode::Filesystem { options, .. } = &self.access.volume else {
            return Vec::new();
        };
        let mut options = options.clone();
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
        let desired = request.desired()?;
        let mut budget = Budget::new();
        let outcome = match self.settle(request, &desired, &mut budget).await {
            Ok(()) => self.mark_staged(request).await,
            failed => failed,
        };
        match outcome {
            Err(refusal) if !refusal.kind().is_retryable() => {
                Err(self.abandon(request, refusal).await)
            }
            outcome => outcome,
        }
    }

    async fn settle(
        &self,
        request: &StageRequest,
        desired: &Desired,
        budget: &mut Budget,
    ) -> Result<(), NodeError> {
        let mut observed = self.look(request, desired).await?;
        let mut mounted = false;
        while let Some(step) = stage::next(&observed, desired)? {
            budget.spend(&step)?;
            debug!(volume_id = %request.id, %step, "staging");
            match step {
                Step::Connect => self.connect(request, budget).await?,
                Step::Await => self.await_session(request, budget).await?,
                Step::Mount { .. } if mounted => {
                    return Err(self.not_seen(&request.staging).await?);
                }
                Step::Identify | Step::Examine | Step::Format { .. } | Step::Mount { .. } => {
                    // The very device that the plan was made for: the host refuses it
                    // where it has become another since.
                    let seen = Seen::of(&desired.nqn, observed.subsystem.as_ref())?;
                    let device = seen.live(&desired.nqn)?;
                    mounted |= matches!(step, Step::Mount { .. });
                    observed.knowledge = self.take_on(&device, &step, request).await?;
                }
            }
            // Reading a device changes nothing on the host that would have to be seen.
            if !matches!(step, Step::Identify | Step::Examine) {
                observed = self.look(request, desired).await?;
            }
        }
        Ok(())
    }

    /// What the host shows of the volume, before anything is read from its device.
    async fn look(&self, request: &StageRequest, desired: &Desired) -> Result<Observed, NodeError> {
        Ok(Observed {
            subsystem: self.host.subsystem(&desired.nqn).await?,
            mounts: self.mounts_at(&request.staging).await?,
            knowledge: Knowledge::Unread,
        })
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
            Step::Mount { fs } => {
                let (staging, options) = (&request.staging, request.mount_options());
                self.host.make_directory(staging).await?;
                self.host.mount(device, staging, *fs, &options).await?;
                info!(volume_id = %id, %device, %fs, ?options, staging = %staging.display(), elapsed_ms = millis(begun), "filesystem mounted");
                Ok(Knowledge::Unread)
            }
            Step::Identify => self.identify(device, request.access.is_block()).await,
            Step::Connect | Step::Await => Err(NodeError::Unplanned {
                step: step.to_string(),
            }),
        }
    }

    /// The record says "opened, not staged" before the session exists, so that a crash
    /// leaves a record too many and never one too few.
    async fn connect(&self, request: &StageRequest, budget: &Budget) -> Result<(), NodeError> {
        let begun = Instant::now();
        let context = &request.context;
        let earlier = self.registry.get(&request.id).await?;
        self.registry
            .record(&Session {
                volume: request.id.clone(),
                nqn: context.nqn.clone(),
                address: context.nvme_address,
                port: context.nvme_port,
                staged_at: None,
                opened: now(),
                targets: earlier.map(|session| session.targets).unwrap_or_default(),
            })
            .await?;
        let target = Target {
            nqn: context.nqn.clone(),
            address: context.nvme_address,
            port: context.nvme_port,
            host: self.settings.identity.clone(),
            tuning: context.tuning,
        };
        let connected = self.host.connect(&target).await;
        self.metrics.nvme_connect(connected.is_ok());
        let controller = connected?;
        self.await_session(request, budget).await?;
        info!(volume_id = %request.id, nqn = %context.nqn, controller, elapsed_ms = millis(begun), "session opened");
        Ok(())
    }

    /// Waits for a live device of any size: whether the size is right is judged by the
    /// plan, and a volume that was grown since its attachment is right too.
    async fn await_session(
        &self,
        request: &StageRequest,
        budget: &Budget,
    ) -> Result<(), NodeError> {
        let deadline = budget
            .deadline()
            .min(Instant::now() + self.settings.connect_timeout);
        await_device(&*self.host, &request.context.nqn, None, deadline).await?;
        Ok(())
    }

    /// Reads the device's beginning, which also proves that it answers.
    async fn identify(&self, device: &Device, is_block: bool) -> Result<Knowledge, NodeError> {
        let superblock = match self.host.identify(device).await {
            Ok(found) => found.map(|found| (found.fs, found.uuid)),
            // It was read, and what a block volume holds is its user's.
            Err(DeviceError::Damaged { .. }) if is_block => None,
            Err(error) => return Err(error.into()),
        };
        let device = device.namespace.number;
        Ok(Knowledge::Head { device, superblock })
    }

    /// A second mount is asked for although one was just made.
    pub(super) async fn not_seen(&self, path: &Path) -> Result<NodeError, NodeError> {
        self.host.unmount(path, Unmount::Plain).await?;
        Ok(NodeError::NotSeen {
            path: path.to_owned(),
        })
    }

    async fn mark_staged(&self, request: &StageRequest) -> Result<(), NodeError> {
        let recorded = match self.registry.get(&request.id).await? {
            None => {
                self.rebuild_record(&request.id, &request.context.nqn)
                    .await?
            }
            recorded => recorded,
        };
        match recorded {
            Some(session) if session.staged_at.as_deref() != Some(&*request.staging) => {
                let staged = Session {
                    staged_at: Some(request.staging.clone()),
                    ..session
                };
                Ok(self.registry.record(&staged).await?)
            }
            _ => Ok(()),
        }
    }

    /// Ends the session that staging opened and that never was staged; see the head of
    /// this module. Returns the refusal, or, where something is left, an error that
    /// makes kubelet ask again.
    async fn abandon(&self, request: &StageRequest, refusal: NodeError) -> NodeError {
        match self.undo(request).await {
            Ok(()) => refusal,
            Err(source) => NodeError::NotUndone {
                id: request.id.clone(),
                refusal: Chain(&refusal).to_string(),
                source: Box::new(source),
            },
        }
    }

    async fn undo(&self, request: &StageRequest) -> Result<(), NodeError> {
        let record = self.registry.get(&request.id).await?;
        let never_staged = record.is_some_and(|session| session.staged_at.is_none());
        if never_staged && self.mounts_at(&request.staging).await?.is_empty() {
            self.unstage(&request.id, &request.staging).await?;
        }
        Ok(())
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
