//! Why a volume is not staged.

use crate::bytes::Bytes;
use crate::filesystem::FsType;
use crate::kind::{Failure, Kind};
use crate::names::annotation::FORMAT_OVERRIDE;
use crate::nqn::Nqn;
use crate::nvme::DeviceNumber;

/// Why a volume is not staged. Nothing was changed by finding it out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The session goes elsewhere.
    #[error("{nqn} is connected at {found}, not at {wanted}; unstage the volume first")]
    OtherAddress {
        /// The subsystem.
        nqn: Nqn,
        /// Where it is connected.
        found: String,
        /// Where it should be.
        wanted: String,
    },
    /// Somebody else's session.
    #[error(
        "{nqn} is connected already as {found}, not as this node, {host}: whoever opened that session may use the volume, so it is neither used nor ended. Make sure on the node that nobody uses it, then run: nvme disconnect -n {nqn}"
    )]
    OtherHost {
        /// The subsystem.
        nqn: Nqn,
        /// Under which host NQN.
        found: String,
        /// This node's.
        host: Nqn,
    },
    /// More than one namespace: no volume of this driver has that.
    #[error("{nqn} has {count} namespaces instead of one; nothing is touched")]
    Namespaces {
        /// The subsystem.
        nqn: Nqn,
        /// How many.
        count: usize,
    },
    /// The device is smaller than the volume.
    #[error(
        "{device} has {found}, but the volume had {wanted} when it was attached; it is not used"
    )]
    WrongSize {
        /// The device.
        device: String,
        /// Its size.
        found: Bytes,
        /// The volume's.
        wanted: Bytes,
    },
    /// Something else is mounted at the staging path.
    #[error(
        "the staging path has device {found} mounted, but the volume is {wanted}; unstage the volume first"
    )]
    OtherMount {
        /// What is mounted.
        found: DeviceNumber,
        /// The volume's device, or that it has none.
        wanted: String,
    },
    /// Staged already, as another filesystem.
    #[error("the volume is staged as {found} already, {wanted} was asked")]
    OtherType {
        /// What is mounted.
        found: String,
        /// What was asked.
        wanted: FsType,
    },
    /// Another filesystem than the one that this driver made for the volume.
    #[error(
        "{device} carries {found}, not the {wanted} that was made for this volume; it is neither mounted nor formatted"
    )]
    ForeignFilesystem {
        /// The device.
        device: String,
        /// What it carries.
        found: String,
        /// What it should carry.
        wanted: String,
    },
    /// Neither blank nor a filesystem of ours.
    #[error(
        "{device} is not blank: {found}; it is never formatted. If nobody needs that content, delete the claim and make it anew"
    )]
    ForeignContent {
        /// The device.
        device: String,
        /// What it carries.
        found: String,
    },
    /// It looks blank, but it cannot be.
    #[error(
        "{device} looks blank, but the volume was in use on {first_used}: its data is missing, so it is not formatted. Check the pool and the backing file on the device; to format it all the same, annotate the PersistentVolume with <driver name>/{} and a reason, and delete its pods, so that it is attached anew",
        FORMAT_OVERRIDE
    )]
    LostContent {
        /// The device.
        device: String,
        /// When it was used.
        first_used: String,
    },
}

impl Failure for StageError {
    fn kind(&self) -> Kind {
        match self {
            // The device may still be growing or its pool mounting.
            Self::WrongSize { .. } => Kind::Unreachable,
            Self::OtherType { .. } => Kind::Exists,
            Self::OtherAddress { .. }
            | Self::OtherHost { .. }
            | Self::Namespaces { .. }
            | Self::OtherMount { .. }
            | Self::ForeignFilesystem { .. }
            | Self::ForeignContent { .. }
            | Self::LostContent { .. } => Kind::Conflict,
        }
    }
}
