//! NVMe over TCP as this kernel offers it: connect, look, rescan, disconnect.
//!
//! A subsystem is found by its exact NQN; names such as `nvme3` are results and never
//! arguments. This module disconnects what it is told to: whether a session is this
//! driver's own and unused is proved by the caller, from [`crate::registry`] and
//! [`crate::block::BlockDevices::holders`].

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Subsystem, Target};
use tokio::time::Instant;

use crate::block::Device;
use crate::sys::CallError;

mod fabrics;
mod linux;
mod sysfs;

pub(crate) use sysfs::{read as read_attribute, sectors};

/// What the node service asks of the kernel's NVMe host.
#[async_trait]
pub trait NvmeHost: Send + Sync + fmt::Debug {
    /// Connects and returns the NVMe controller's name (`nvme0`). A controller of the
    /// same NQN, address, port and host NQN that exists already, in whatever state, is
    /// success with its name. The namespace may appear only later: [`await_device`].
    async fn connect(&self, target: &Target) -> Result<String, ConnectError>;

    /// Every subsystem that this kernel knows, of any transport.
    async fn subsystems(&self) -> Result<Vec<Subsystem>, NvmeError>;

    /// The subsystem of exactly this NQN; `None` only after a complete reading.
    async fn subsystem(&self, nqn: &Nqn) -> Result<Option<Subsystem>, NvmeError>;

    /// Deletes every controller of exactly this NQN and waits until none is left. An
    /// unknown NQN is success.
    async fn disconnect(&self, nqn: &Nqn) -> Result<(), NvmeError>;

    /// Has the kernel read the namespaces of this NQN anew, for a changed size. Returns
    /// when the request is made; the change shows a moment later.
    async fn rescan(&self, nqn: &Nqn) -> Result<(), NvmeError>;

    /// Sets how many seconds a lost connection of this NQN is kept; `None` is for ever.
    /// Lowered at a node's shutdown, so that it does not wait for an unreachable device.
    async fn set_loss_time(&self, nqn: &Nqn, seconds: Option<u32>) -> Result<(), NvmeError>;

    /// Keeps the block device of this NQN for so many seconds after its last controller
    /// went, so that a new connection finds the same device. `false` where the kernel
    /// does not offer it.
    async fn delay_removal(&self, nqn: &Nqn, seconds: u32) -> Result<bool, NvmeError>;
}

/// Waits until a controller of the NQN is live and its one namespace has `size` bytes
/// (any size but zero where `None`), asking every few milliseconds. On the deadline the
/// error says what was seen last.
pub async fn await_device(
    host: &dyn NvmeHost,
    nqn: &Nqn,
    size: Option<Bytes>,
    deadline: Instant,
) -> Result<Device, NvmeError> {
    let mut pause = Duration::from_millis(5);
    loop {
        let seen = match host.subsystem(nqn).await? {
            None => "no subsystem of this NQN".to_owned(),
            Some(subsystem) => match ready(nqn, subsystem, size)? {
                Ready::Yes(device) => return Ok(device),
                Ready::NotYet(seen) => seen,
            },
        };
        if Instant::now() + pause >= deadline {
            return Err(NvmeError::NoDevice {
                nqn: nqn.clone(),
                seen,
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

enum Ready {
    Yes(Device),
    NotYet(String),
}

fn ready(nqn: &Nqn, subsystem: Subsystem, size: Option<Bytes>) -> Result<Ready, NvmeError> {
    if !subsystem.is_live() {
        let states: Vec<_> = subsystem
            .controllers
            .iter()
            .map(|controller| format!("{} {}", controller.name, controller.state))
            .collect();
        return Ok(Ready::NotYet(format!(
            "no live controller [{}]",
            states.join(", ")
        )));
    }
    let mut namespaces = subsystem.namespaces;
    if namespaces.len() > 1 {
        return Err(NvmeError::Ambiguous {
            nqn: nqn.clone(),
            names: namespaces
                .into_iter()
                .map(|namespace| namespace.name)
                .collect(),
        });
    }
    Ok(match namespaces.pop() {
        None => Ready::NotYet("a live controller without a namespace".to_owned()),
        Some(namespace) if namespace.size == Bytes::default() => {
            Ready::NotYet(format!("{} of size 0", namespace.name))
        }
        Some(namespace) if size.is_some_and(|size| size != namespace.size) => {
            Ready::NotYet(format!("{} of {}", namespace.name, namespace.size))
        }
        Some(namespace) => Ready::Yes(Device {
            nqn: nqn.clone(),
            namespace,
        }),
    })
}

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
