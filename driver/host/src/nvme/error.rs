//! Why a connection was not made, or NVMe state not read or changed. Never final: the
//! device may be booting, and a write may have taken effect.

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;

use crate::sys::CallError;

/// Why a connection was not made. None is final: the device may be booting, and the
/// write may have taken effect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `ECONNREFUSED`.
    #[error(
        "connecting {nqn} at {address}: nothing listens there; is the export on, and the port right?"
    )]
    Refused {
        /// To what.
        nqn: Nqn,
        /// `address:port`.
        address: String,
    },
    /// `ETIMEDOUT` or `EAGAIN`, or our own deadline.
    #[error(
        "connecting {nqn} at {address}: no answer; check the storage network, firewalls and the device"
    )]
    NoAnswer {
        /// To what.
        nqn: Nqn,
        /// `address:port`.
        address: String,
    },
    /// `ENETUNREACH` or `EHOSTUNREACH`.
    #[error("connecting {nqn} at {address}: this node has no route to that address")]
    NoRoute {
        /// To what.
        nqn: Nqn,
        /// `address:port`.
        address: String,
    },
    /// `EIO`: the device answered and refused.
    #[error(
        "connecting {nqn} at {address}: the device does not export this NQN or does not allow this host; the kernel log says which"
    )]
    Rejected {
        /// To what.
        nqn: Nqn,
        /// `address:port`.
        address: String,
    },
    /// `EINVAL`.
    #[error(
        "connecting {nqn} at {address}: the kernel refused the options {options:?}; a host id used with another host NQN, an option that this kernel lacks, or no nvme-tcp module"
    )]
    Options {
        /// To what.
        nqn: Nqn,
        /// `address:port`.
        address: String,
        /// What was written.
        options: String,
    },
    /// `/dev/nvme-fabrics` is missing.
    #[error(
        "opening {path}: the kernel has no NVMe over Fabrics; load the module with: modprobe nvme-tcp"
    )]
    NoFabrics {
        /// Which file.
        path: String,
        /// The kernel's reason.
        #[source]
        source: std::io::Error,
    },
    /// The kernel says that the connection exists, and sysfs does not show it.
    #[error(
        "connecting {nqn} at {address}: the kernel reports a connection that it does not show; another operation may be under way"
    )]
    Unseen {
        /// To what.
        nqn: Nqn,
        /// `address:port`.
        address: String,
    },
    /// The kernel's reply names no controller.
    #[error("connecting {nqn}: unexpected reply {reply:?} of the kernel")]
    Reply {
        /// To what.
        nqn: Nqn,
        /// What was read.
        reply: String,
    },
    /// Any other failure of a system call.
    #[error("connecting {nqn}")]
    Call {
        /// To what.
        nqn: Nqn,
        /// Which call.
        #[source]
        source: CallError,
    },
    /// The subsystems could not be read.
    #[error("looking for a connection to {nqn}")]
    Look {
        /// To what.
        nqn: Nqn,
        /// Why.
        #[source]
        source: NvmeError,
    },
}

impl Failure for ConnectError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoAnswer { .. } => Kind::Timeout,
            Self::Refused { .. }
            | Self::NoRoute { .. }
            | Self::Rejected { .. }
            | Self::Options { .. }
            | Self::NoFabrics { .. }
            | Self::Unseen { .. }
            | Self::Reply { .. } => Kind::Unreachable,
            Self::Call { source, .. } => source.kind(),
            Self::Look { source, .. } => source.kind(),
        }
    }
}

/// Why the kernel's NVMe state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NvmeError {
    /// A file of sysfs.
    #[error("reading NVMe state")]
    Read(#[source] CallError),
    /// A file of sysfs holds what this program does not understand.
    #[error("{path} holds {text:?}, which is no {expected}")]
    Unexpected {
        /// Which file.
        path: String,
        /// What it holds.
        text: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// Writing to a controller's control file.
    #[error("changing NVMe connections of {nqn}")]
    Write {
        /// Of what.
        nqn: Nqn,
        /// Why.
        #[source]
        source: CallError,
    },
    /// Controllers are still there after they were told to go.
    #[error("controllers {names:?} of {nqn} are still there {seconds} s after they were deleted")]
    StillThere {
        /// Of what.
        nqn: Nqn,
        /// Which.
        names: Vec<String>,
        /// How long was waited.
        seconds: u64,
    },
    /// Nothing of this NQN to act on.
    #[error("no connection to {nqn}")]
    NotConnected {
        /// To what.
        nqn: Nqn,
    },
    /// More than one block device where a volume has one.
    #[error("{nqn} shows more than one namespace: {names:?}")]
    Ambiguous {
        /// Of what.
        nqn: Nqn,
        /// Which.
        names: Vec<String>,
    },
    /// The device did not become usable in time.
    #[error("no usable block device of {nqn} in time; seen last: {seen}")]
    NoDevice {
        /// Of what.
        nqn: Nqn,
        /// What was seen at the end.
        seen: String,
    },
}

impl Failure for NvmeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(source) | Self::Write { source, .. } => source.kind(),
            Self::Unexpected { .. } | Self::Ambiguous { .. } | Self::NotConnected { .. } => {
                Kind::Unreachable
            }
            Self::StillThere { .. } | Self::NoDevice { .. } => Kind::Timeout,
        }
    }
}
