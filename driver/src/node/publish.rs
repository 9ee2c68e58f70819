//! NodePublishVolume: the staged volume at a target path, as a bind of its filesystem
//! or as a raw device.
//!
//! A raw device is a device node at the target, or, where the target lies on a
//! filesystem on which nodes cannot be opened, a node of ours bound there. A node's
//! number outlives its device, so an old one is accepted only if it is the number that
//! the kernel has for the volume just now.

use std::path::{Path, PathBuf};

use rds_csi_core::access::{Access, AccessMode};
use rds_csi_core::kind::Failure as _;
use rds_csi_core::mount::{Mount, mount_covering, mounts_at};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::publish::{self, Desired, Found, Observed, Step};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::Device;
use rds_csi_host::mounter::Unmount;
use rds_csi_host::nvme::Seen;
use rds_csi_host::registry::Session;
use tracing::{debug, info};

use super::budget::Budget;
use super::{Node, NodeError};

/// What NodePublishVolume asks for.
#[derive(Debug, Clone)]
pub(crate) struct PublishRequest {
    /// The volume.
    pub(crate) id: VolumeId,
    /// Where it is staged.
    pub(crate) staging: PathBuf,
    /// Where it shall be.
    pub(crate) target: PathBuf,
    /// Who uses it, and how.
    pub(crate) access: Access,
    /// Whether this target is read-only, though the access is not.
    pub(crate) read_only: bool,
    /// The volume's NQN, where a context says it.
    pub(crate) nqn: Option<Nqn>,
}

impl PublishRequest {
    fn desired(&self) -> Desired {
        Desired {
            block: self.access.is_block(),
            read_only: self.read_only || self.access.mode == AccessMode::SingleNodeReaderOnly,
        }
    }
}

impl Node {
    /// Publishes the volume at the target, or finds it published there.
    pub(crate) async fn publish(&self, request: &PublishRequest) -> Result<(), NodeError> {
        let nqn = match &request.nqn {
            Some(nqn) => {
                self.verify_nqn(&request.id, nqn)?;
                nqn.clone()
            }
            None => self.nqn(&request.id).await?,
        };
        let mut changed = false;
        let outcome = self.settle_target(request, &nqn, &mut changed).await;
        outcome.map_err(|error| match error {
            // kubelet takes a final answer for "nothing is there" and unpublishes nothing.
            error if changed && !error.kind().is_retryable() => NodeError::HalfPublished {
                path: request.target.clone(),
                source: Box::new(error),
            },
            error => error,
        })
    }

    /// Takes steps until none is left. `changed` tells, after a failure too, whether any
    /// was begun.
    async fn settle_target(
        &self,
        request: &PublishRequest,
        nqn: &Nqn,
        changed: &mut bool,
    ) -> Result<(), NodeError> {
        let desired = request.desired();
        let mut budget = Budget::new();
        let (mut recorded, mut bound) = (false, false);
        loop {
            let (observed, device) = self.observe(request, nqn, desired).await?;
            let step = publish::next(&observed, desired)?;
            if let (true, Some(device)) = (desired.block, &device) {
                self.keep(&request.id, device).await?;
            }
            let Some(step) = step else {
                if *changed {
                    info!(volume_id = %request.id, target = %request.target.display(), block = desired.block, read_only = desired.read_only, elapsed_ms = %budget.elapsed().as_millis(), "volume published");
                }
                return Ok(());
            };
            budget.spend(&format_args!("{step:?}"))?;
            if matches!(step, Step::Bind | Step::BindNode) && std::mem::replace(&mut bound, true) {
                return Err(self.not_seen(&request.target).await?);
            }
            if desired.is_recorded() && !std::mem::replace(&mut recorded, true) {
                self.record_target(&request.id, nqn, &request.target, desired)
                    .await?;
            }
            debug!(volume_id = %request.id, ?step, "publishing");
            *changed = true;
            self.take(step, request, desired, device.as_ref()).await?;
        }
    }

    /// The target path itself is only touched where no filesystem lies on it: its
    /// device may be dead.
    async fn observe(
        &self,
        request: &PublishRequest,
        nqn: &Nqn,
        desired: Desired,
    ) -> Result<(Observed, Option<Device>), NodeError> {
        let record = self.registry.get(&request.id).await?;
        let subsystem = self.host.subsystem(nqn).await?;
        self.verify_staged(record.as_ref(), subsystem.as_ref())?;
        let seen = Seen::of(nqn, subsystem.as_ref())?;
        let mounts = self.host.mounts().await?;
        let staging = mounts_at(&mounts, &request.staging);
        let target = mounts_at(&mounts, &request.target);
        let path = if desired.block || target.is_empty() {
            self.host.path(&request.target).await?
        } else {
            Found::Directory { empty: false }
        };
        let is_coming_back = self.is_coming_back(request, record.as_ref(), &seen, &staging);
        let device = match seen {
            Seen::Live(device) => Some(device),
            Seen::Absent | Seen::Waiting(_) => None,
        };
        let mut contrary_targets = Vec::new();
        let recorded = record
            .as_ref()
            .and_then(|session| session.targets.get(&request.target).copied());
        if let (true, Some(device)) = (desired.block, &device) {
            let number = device.namespace.number;
            contrary_targets = self
                .published_at(record.as_ref(), number)
                .await?
                .into_iter()
                .filter(|(path, read_only)| {
                    *path != request.target && *read_only != desired.read_only
                })
                .map(|(path, _)| path)
                .collect();
        }
        let observed = Observed {
            namespace: device.as_ref().map(|device| device.namespace.clone()),
            is_coming_back,
            staging,
            nodes_usable: nodes_usable(&mounts, &request.target),
            target,
            path,
            contrary_targets,
            recorded,
        };
        Ok((observed, device))
    }

    /// Whether the volume is staged and without its device for now: the kernel or the
    /// engine is at work on it.
    fn is_coming_back(
        &self,
        request: &PublishRequest,
        record: Option<&Session>,
        seen: &Seen,
        staging: &[Mount],
    ) -> bool {
        let staged = record.filter(|session| {
            session.staged_at.as_ref() == Some(&request.staging) && self.is_of_this_boot(session)
        });
        match (seen, staged) {
            (Seen::Waiting(_), _) | (Seen::Absent, Some(_)) => true,
            (Seen::Live(device), Some(session)) => {
                let is_another = |mount: &Mount| mount.device != device.namespace.number;
                session.recovery.is_some() || staging.iter().any(is_another)
            }
            (Seen::Absent | Seen::Live(_), None) => false,
        }
    }

    async fn take(
        &self,
        step: Step,
        request: &PublishRequest,
        desired: Desired,
        device: Option<&Device>,
    ) -> Result<(), NodeError> {
        let (host, target) = (&self.host, &request.target);
        match (step, device) {
            (Step::MakeDirectory, _) => host.make_directory(target).await?,
            (Step::Bind, _) => {
                host.bind(&request.staging, target, desired.read_only)
                    .await?;
            }
            (Step::MakeFile, _) => host.make_file(target).await?,
            (Step::RemoveFile, _) => host.remove_file(target).await?,
            (Step::Unmount, _) => host.unmount(target, Unmount::Plain).await?,
            (Step::SetReadOnly(value), Some(device)) => host.set_read_only(device, value).await?,
            (Step::MakeNode, Some(device)) => {
                let number = device.namespace.number;
                host.make_block_node(target, number).await?;
            }
            (Step::BindNode, Some(device)) => {
                self.bind_node(request, device.namespace.number).await?;
            }
            (Step::RemoveDirectory, _)
            | (Step::SetReadOnly(_) | Step::MakeNode | Step::BindNode, None) => {
                return Err(NodeError::Unplanned {
                    step: format!("{step:?}"),
                });
            }
        }
        Ok(())
    }

    /// Binds a node of our own, made for this and unlinked again: the kernel's name in
    /// `/dev` may be another volume's by the time of the bind, a number that changes
    /// its meaning is found by the next look. The bind keeps what was unlinked.
    async fn bind_node(
        &self,
        request: &PublishRequest,
        number: DeviceNumber,
    ) -> Result<(), NodeError> {
        let node = self.settings.nodes.join(request.id.as_str());
        self.host.remove_file(&node).await?;
        self.host.make_block_node(&node, number).await?;
        let bound = self.host.bind(&node, &request.target, false).await;
        self.host.remove_file(&node).await?;
        Ok(bound?)
    }
}

/// Whether a device node made at the path could be opened.
fn nodes_usable(mounts: &[Mount], target: &Path) -> bool {
    let parent = target.parent().unwrap_or(target);
    mount_covering(mounts, parent).is_none_or(|mount| !mount.is_nodev())
}
