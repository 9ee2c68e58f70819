//! NVMe over TCP as this kernel offers it: connect, look, rescan, disconnect.
//!
//! A subsystem is found by its exact NQN; names such as `nvme3` are results and never
//! arguments. This module disconnects what it is told to: whether a session is this
//! driver's own and unused is proved by the caller, from [`crate::registry`] and
//! [`crate::block::BlockDevices::holders`].

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Subsystem, Target};
use tokio::time::Instant;

mod error;
mod fabrics;
mod linux;
mod pulse;
mod seen;
mod sysfs;

pub use error::{ConnectError, NvmeError};
pub(crate) use pulse::Pulse;
pub use seen::Seen;
pub(crate) use sysfs::{read as read_attribute, sectors};

/// What the node service asks of the kernel's NVMe host.
#[async_trait]
pub trait NvmeHost: Send + Sync + fmt::Debug {
    /// Connects and returns the NVMe controller's name (`nvme0`). A controller of the
    /// same NQN, address, port and host NQN that exists already, in whatever state, is
    /// success with its name. The namespace may appear only later: [`await_device`].
    async fn connect(&self, target: &Target) -> Result<String, ConnectError>;

    /// Every subsystem that this kernel knows, of any transport, but those of these NQNs, of
    /// which no more than the NQN is read.
    async fn others(&self, known: &[Nqn]) -> Result<Vec<Subsystem>, NvmeError>;

    /// The subsystem of exactly this NQN; `None` only after a complete reading.
    async fn subsystem(&self, nqn: &Nqn) -> Result<Option<Subsystem>, NvmeError>;

    /// The subsystems among these that are not as they were at the call before: the very
    /// same controllers in the same state, and the same namespace of the same size. Each
    /// with a fresh reading, as [`NvmeHost::subsystem`] gives it. What is asked about for
    /// the first time is among them, and so is what is absent or incomplete. A subsystem
    /// that is as it was costs two reads: this is for watching many, again and again.
    async fn changed(&self, nqns: &[Nqn]) -> Result<Vec<(Nqn, Option<Subsystem>)>, NvmeError>;

    /// Whether somebody accepts TCP connections at the target's address, within
    /// `within`. Nothing is sent. It says nothing about the subsystem.
    async fn answers(&self, target: &Target, within: Duration) -> bool;

    /// Deletes every controller of exactly this NQN and waits until none is left. An
    /// unknown NQN is success.
    async fn disconnect(&self, nqn: &Nqn) -> Result<(), NvmeError>;

    /// Has the kernel read the namespaces of this NQN anew, for a changed size. Returns
    /// when the request is made; the change shows a moment later.
    async fn rescan(&self, nqn: &Nqn) -> Result<(), NvmeError>;

    /// Sets how many seconds a lost connection of this NQN is kept; `None` is for ever.
    /// Lowered at a node's shutdown, so that it does not wait for an unreachable device.
    async fn set_loss_time(&self, nqn: &Nqn, seconds: Option<u32>) -> Result<(), NvmeError>;
}

/// Waits until the NQN has a live controller and one namespace with a size, asking every
/// few milliseconds, and returns the reading that showed it. On the deadline the error
/// says what was seen last.
pub async fn await_device(
    host: &dyn NvmeHost,
    nqn: &Nqn,
    deadline: Instant,
) -> Result<Subsystem, NvmeError> {
    let mut pause = Duration::from_millis(1);
    loop {
        let seen = match host.subsystem(nqn).await? {
            None => "no session".to_owned(),
            Some(subsystem) => match Seen::of(nqn, Some(&subsystem))?.live() {
                Ok(_) => return Ok(subsystem),
                Err(seen) => seen,
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
