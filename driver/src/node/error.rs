//! Why an operation of the node failed.

use std::path::PathBuf;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::publish::PublishError;
use rds_csi_core::stage::{StageError, UnstageError};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::{DeviceError, FormatError, GrowError};
use rds_csi_host::mounter::MountError;
use rds_csi_host::nvme::{ConnectError, NvmeError};
use rds_csi_host::registry::RegistryError;

/// A failed operation of the node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Staging is not safe.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Unstaging is not safe.
    #[error(transparent)]
    Unstage(#[from] UnstageError),
    /// Publishing or unpublishing is not safe.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The kernel's sessions.
    #[error(transparent)]
    Nvme(#[from] NvmeError),
    /// Mounts and paths.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The volume's device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No filesystem was made.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The filesystem was not grown.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// The record of sessions.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A context of another volume.
    #[error("volume_context: nqn {found} is not that of volume {id}, which is {expected}")]
    OtherNqn {
        /// The volume.
        id: VolumeId,
        /// What was sent.
        found: Nqn,
        /// What it must be.
        expected: String,
    },
    /// Without the size a device cannot be told from a half-grown or another one.
    #[error("publish_context has no size of volume {0}; detach and attach it again")]
    NoSize(VolumeId),
    /// A refusal that would have left a session behind unseen: the one that staging
    /// opened could not be ended.
    #[error("ending the session that staging of volume {id} opened, after: {refusal}")]
    NotUndone {
        /// The volume.
        id: VolumeId,
        /// Why it was not staged.
        refusal: String,
        /// Why the session is still there.
        #[source]
        source: Box<NodeError>,
    },
    /// A mount was made and is not where it was asked for.
    #[error(
        "{path:?} was mounted, but the mount table does not show it there, so it was unmounted; is a part of the path a symlink?"
    )]
    NotSeen {
        /// Where.
        path: PathBuf,
    },
    /// The volume was staged, and what it was staged with is away.
    #[error(
        "volume {id} is staged here, but not with what its session leads to; it is left so until it is back or unstaged"
    )]
    StagedStill {
        /// The volume.
        id: VolumeId,
        /// What is wrong.
        #[source]
        source: Box<NodeError>,
    },
    /// A session that the device should have ended.
    #[error(
        "volume {id} was offered anew as {now} since another node had it, and this node still has a live session as {before}, by which old data could be written; nothing is touched. Restart this node"
    )]
    EarlierSession {
        /// The volume.
        id: VolumeId,
        /// Its name before.
        before: Nqn,
        /// Its name now.
        now: Nqn,
    },
    /// A refusal that came when something was at the target already.
    #[error("publishing at {path:?} was begun and cannot go on; asking again goes on from there")]
    HalfPublished {
        /// Where.
        path: PathBuf,
        /// Why it cannot.
        #[source]
        source: Box<NodeError>,
    },
    /// The deadline passed between two steps.
    #[error("{seconds} s passed before the step {step:?}; asking again goes on from there")]
    OutOfTime {
        /// What would have come next.
        step: String,
        /// How long it took.
        seconds: u64,
    },
    /// The host changes under the operation.
    #[error("{steps} steps did not suffice, {step:?} would be next; the host keeps changing")]
    Unsettled {
        /// What would have come next.
        step: String,
        /// How many were taken.
        steps: u32,
    },
    /// A step that the operation cannot have.
    #[error("the plan named the step {step}, which does not belong there; nothing was done")]
    Unplanned {
        /// Which.
        step: String,
    },
    /// The volume is not at the path.
    #[error("volume {id} is neither staged nor published at {path:?}")]
    NotPublished {
        /// The volume.
        id: VolumeId,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Its session cannot be used now.
    #[error("{nqn} is not live on this node ({seen}); the kernel may be connecting it again")]
    NotLive {
        /// The subsystem.
        nqn: Nqn,
        /// What the kernel shows.
        seen: String,
    },
    /// A session that nobody keeps a record of.
    #[error(
        "volume {id} has no session on this node that is known to be this driver's, so nobody would look after a raw target; none is made. If somebody else connected it, make sure on the node that nobody uses it, run: nvme disconnect -n {nqn}, and delete the pod, so that the volume is staged anew"
    )]
    NotThisDrivers {
        /// The volume.
        id: VolumeId,
        /// The subsystem.
        nqn: Nqn,
    },
    /// Its session leads to something else.
    #[error("{nqn} is not the volume that was staged ({seen}); nothing is touched")]
    NotTheVolume {
        /// The subsystem.
        nqn: Nqn,
        /// Why not.
        seen: String,
    },
    /// Another device is mounted there.
    #[error("{path:?} has device {found} mounted, but volume {id} is {wanted}")]
    OtherDevice {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: PathBuf,
        /// What is mounted.
        found: String,
        /// The volume's device.
        wanted: String,
    },
    /// The device or the filesystem has not grown far enough.
    #[error("{what} of volume {id} has {found} of {wanted}; it may still be growing")]
    Short {
        /// The volume.
        id: VolumeId,
        /// The namespace or the filesystem.
        what: &'static str,
        /// What was measured.
        found: Bytes,
        /// What it should have.
        wanted: Bytes,
    },
}

impl Failure for NodeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Stage(source) => source.kind(),
            Self::Unstage(source) => source.kind(),
            Self::Publish(source) => source.kind(),
            Self::Connect(source) => source.kind(),
            Self::Nvme(source) => source.kind(),
            Self::Mount(source) => source.kind(),
            Self::Device(source) => source.kind(),
            Self::Format(source) => source.kind(),
            Self::Grow(source) => source.kind(),
            Self::Registry(source) => source.kind(),
            Self::OtherNqn { .. } | Self::NoSize(_) => Kind::Invalid,
            Self::NotPublished { .. } => Kind::NotFound,
            Self::OtherDevice { .. } | Self::NotThisDrivers { .. } | Self::NotTheVolume { .. } => {
                Kind::Conflict
            }
            Self::OutOfTime { .. } => Kind::Timeout,
            Self::Unplanned { .. } => Kind::Bug,
            Self::NotUndone { .. }
            | Self::HalfPublished { .. }
            | Self::StagedStill { .. }
            | Self::EarlierSession { .. }
            | Self::NotSeen { .. }
            | Self::Unsettled { .. }
            | Self::NotLive { .. }
            | Self::Short { .. } => Kind::Unreachable,
        }
    }
}
