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
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Subsystem, Target};
use tokio::time::Instant;

use crate::block::Device;

mod error;
mod fabrics;
mod linux;
mod sysfs;

pub use error::{ConnectError, NvmeError};
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
