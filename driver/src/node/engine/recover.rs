//! Handing a volume's device back to its consumers, after it was lost.
//!
//! Where the kernel kept the device, nothing is to be done. Where it came back as another
//! one, every mount of the old one is dead for good, and every device node has a number
//! that means nothing or, worse, another volume. So dead mounts are taken away, the volume
//! is staged again by the very steps that staged it, and each target gets it anew.
//!
//! A mount is dead if the kernel has no device of its number: the mount itself keeps the
//! number from being given away. Nothing else is ever unmounted here. Which targets there
//! were is written down before the first mount goes, so that a process that dies in the
//! middle is followed by one that ends what it began.
//!
//! A filesystem may also be dead on a device that lives, after errors that it met while the
//! device was away. That one is told of and left: the kernel hands the same dead one to
//! whoever mounts the device again, for as long as any container has it.
//!
//! What a running container has open it keeps: its own mount namespace and its open files
//! are out of reach, and it has to be restarted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rds_csi_cluster::NodeCluster;
use rds_csi_core::access::VolumeMode;
use rds_csi_core::context::PublishContext;
use rds_csi_core::kind::Chain;
use rds_csi_core::mount::mounts_at;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::Device;
use rds_csi_host::mounter::PathState;
use rds_csi_host::nvme::Seen;
use rds_csi_host::registry::{Session, Staging};
use tracing::info;

use super::reconnect::entitled;
use crate::node::session::live;
use crate::node::{Node, NodeError, PublishRequest, StageRequest};

mod remount;

/// What consumers got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Recovery {
    /// Whether the volume came back as another device.
    pub(crate) replaced: bool,
    /// How many targets were published anew.
    pub(crate) targets: usize,
}

/// Proves that the consumers of a live volume have its device, or gives it to them. `None`
/// where a CSI call on the volume is under way. An error says in words why not; asking
/// again goes on from there.
pub(super) async fn recover(
    node: &Node,
    cluster: Option<&dyn NodeCluster>,
    id: &VolumeId,
) -> Result<Option<Recovery>, String> {
    let words = |error: NodeError| Chain(&error).to_string();
    let done = Ok(Some(Recovery::default()));
    let Some((volume, device)) = Volume::live(node, id).await.map_err(words)? else {
        return done;
    };
    if volume.is_settled(&device).await.map_err(words)? {
        return done;
    }
    let Ok(_guard) = node.locks.try_lock_unasked(id.as_str()) else {
        return Ok(None);
    };
    // Once more: what was seen without the guard may be over.
    let Some((volume, device)) = Volume::live(node, id).await.map_err(words)? else {
        return done;
    };
    if volume.is_published_raw() {
        node.keep(id, &device).await.map_err(words)?;
    }
    if !volume.is_to_be_recovered(&device).await.map_err(words)? {
        node.keep_only(id, device.namespace.number);
        return done;
    }
    entitled(cluster, &volume.session).await?;
    let targets = match volume.staging.access.volume {
        VolumeMode::Block => volume.nodes_to_renew(&device).await,
        VolumeMode::Filesystem { .. } => volume.remount(&device).await,
    };
    let targets = targets.map_err(words)?;
    volume.hand_on(&targets, &device).await.map(Some)
}

/// A staged volume whose session is live.
struct Volume<'a> {
    node: &'a Node,
    session: Session,
    /// The staging path.
    at: PathBuf,
    staging: Staging,
}

impl<'a> Volume<'a> {
    /// The volume and its device; `None` where it is not staged any more.
    async fn live(node: &'a Node, id: &VolumeId) -> Result<Option<(Self, Device)>, NodeError> {
        let session = node.registry.get(id).await?;
        let staged = session.and_then(|session| {
            let (at, staging) = (session.staged_at.clone()?, session.staging.clone()?);
            Some(Self {
                node,
                session,
                at,
                staging,
            })
        });
        // Unstaged since: there is nobody left.
        let Some(volume) = staged else {
            return Ok(None);
        };
        let nqn = &volume.session.nqn;
        let subsystem = node.host.subsystem(nqn).await?;
        let device = live(Seen::of(nqn, subsystem.as_ref())?, nqn)?;
        // What was judged a moment ago may be another device by now.
        node.verify_staged(Some(&volume.session), subsystem.as_ref())?;
        Ok(Some((volume, device)))
    }

    fn is_published_raw(&self) -> bool {
        self.session.raw_targets().is_some()
    }

    /// Whether nothing is to be done, so that no CSI call need be kept waiting for it.
    async fn is_settled(&self, device: &Device) -> Result<bool, NodeError> {
        let (id, number) = (&self.session.volume, device.namespace.number);
        let is_kept = !self.is_published_raw() || self.node.keeps_number(id, number);
        Ok(is_kept && !self.is_to_be_recovered(device).await?)
    }

    async fn is_to_be_recovered(&self, device: &Device) -> Result<bool, NodeError> {
        if self.session.recovery.is_some() {
            return Ok(true);
        }
        if self.staging.access.is_block() {
            return Ok(!self.stale_nodes(device).await.is_empty());
        }
        let mounts = mounts_at(&self.node.host.mounts().await?, &self.at);
        let own = device.namespace.number;
        Ok(mounts.iter().any(|mount| mount.device != own))
    }

    /// Raw targets whose device node means another device than the volume's, or of which
    /// nobody can tell. A target that is not there was never made, or is gone with its pod.
    async fn stale_nodes(&self, device: &Device) -> Vec<(PathBuf, bool)> {
        let mut stale = Vec::new();
        for (target, read_only) in &self.session.targets {
            match self.node.host.path(target).await {
                Ok(PathState::Block(number)) if number == device.namespace.number => {}
                // What is wrong with it is found out, and said, where it is made anew.
                Ok(PathState::Block(_)) | Err(_) => stale.push((target.clone(), *read_only)),
                Ok(
                    PathState::Absent
                    | PathState::Directory { .. }
                    | PathState::File { .. }
                    | PathState::Other,
                ) => {}
            }
        }
        stale
    }

    /// The device nodes that are to be made anew, written down: each is removed before it is
    /// made, and a crash may come between. Whoever has an old one open keeps it: only the
    /// name is another's from now on.
    async fn nodes_to_renew(&self, device: &Device) -> Result<BTreeMap<PathBuf, bool>, NodeError> {
        let mut targets = self.session.recovery.clone().unwrap_or_default();
        targets.extend(self.stale_nodes(device).await);
        self.note(Some(targets.clone())).await?;
        Ok(targets)
    }

    /// Gives every target the device. One that cannot have it keeps none of the others from
    /// theirs, and alone is left for the next attempt.
    async fn hand_on(
        &self,
        targets: &BTreeMap<PathBuf, bool>,
        device: &Device,
    ) -> Result<Recovery, String> {
        let (mut given, mut failed, mut why) = (0, BTreeMap::new(), Vec::new());
        for (target, read_only) in targets {
            match self.give(target, *read_only, device).await {
                Ok(true) => given += 1,
                Ok(false) => {}
                Err(error) => {
                    why.push(format!("{}: {}", target.display(), Chain(&error)));
                    failed.insert(target.clone(), *read_only);
                }
            }
        }
        let left = (!failed.is_empty()).then_some(failed);
        let noted = self.note(left).await;
        noted.map_err(|error| Chain(&error).to_string())?;
        if !why.is_empty() {
            return Err(format!(
                "{given} targets have the volume's new device, and these do not get it: {}",
                why.join("; ")
            ));
        }
        let number = device.namespace.number;
        self.node.keep_only(&self.session.volume, number);
        info!(volume_id = %self.session.volume, %device, targets = given, "the targets have the device");
        Ok(Recovery {
            replaced: true,
            targets: given,
        })
    }

    /// Publishes the volume anew at a target; whether that is still there.
    async fn give(
        &self,
        target: &Path,
        read_only: bool,
        device: &Device,
    ) -> Result<bool, NodeError> {
        let is_there = if self.staging.access.is_block() {
            self.has_parent(target).await?
        } else {
            self.clear(target, device).await?;
            let is_mounted = !self.node.mounts_at(target).await?.is_empty();
            is_mounted || self.node.host.path(target).await? != PathState::Absent
        };
        // Where it is not, it is gone with its pod.
        if is_there {
            self.publish(target, read_only).await?;
        }
        Ok(is_there)
    }

    /// A node that was withdrawn is not there, wanted or not. But kubelet makes the directory
    /// for it, and takes that away with the last pod, also without unpublishing.
    async fn has_parent(&self, target: &Path) -> Result<bool, NodeError> {
        let Some(parent) = target.parent() else {
            return Ok(false);
        };
        Ok(self.node.host.path(parent).await? != PathState::Absent)
    }

    /// Stages the volume as it was staged, but for this: it was used, so a device that
    /// looks blank is never formatted; and the old filesystem may live on in the mount
    /// namespaces of containers, so that XFS meets its UUID twice.
    async fn stage(&self) -> Result<(), NodeError> {
        let since = i64::try_from(self.session.opened).unwrap_or_default();
        let since = Timestamp::from_second(since).unwrap_or_default();
        let request = StageRequest {
            id: self.session.volume.clone(),
            staging: self.at.clone(),
            access: self.staging.access.clone(),
            context: self.staging.context.clone(),
            publish: PublishContext {
                size: Some(self.staging.size),
                first_used: Some(since.to_string()),
                format_override: None,
                nqn: None,
                // What was read-only is recorded of each target.
                reader: false,
            },
            again: true,
        };
        self.node.stage(&request).await
    }

    async fn publish(&self, target: &Path, read_only: bool) -> Result<(), NodeError> {
        let request = PublishRequest {
            id: self.session.volume.clone(),
            staging: self.at.clone(),
            target: target.to_owned(),
            access: self.staging.access.clone(),
            read_only,
            nqn: Some(self.session.nqn.clone()),
        };
        self.node.publish(&request).await
    }

    /// Writes down what is still to be done.
    async fn note(&self, recovery: Option<BTreeMap<PathBuf, bool>>) -> Result<(), NodeError> {
        let id = &self.session.volume;
        let Some(session) = self.node.registry.get(id).await? else {
            return Ok(());
        };
        if session.recovery != recovery {
            let session = Session {
                recovery,
                ..session
            };
            self.node.registry.record(&session).await?;
        }
        Ok(())
    }
}
