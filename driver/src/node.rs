//! The node: volumes as this machine's devices, mounts and targets.
//!
//! One operation a file, each of the same form: look at the host, let the core name one
//! step, take it, look again, until nothing is left to do. What is done is known from
//! the host and never from memory, so an operation may die anywhere, with its process
//! or with the machine, and be asked again. A step that was begun is never cut off: a
//! deadline only keeps the next one from beginning.
//!
//! Nothing here ends a session, removes a mount or formats a device because a name or a
//! number looks right: every step says which volume it means, and the host verifies it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::nqn::{HostIdentity, NqnPrefix};
use rds_csi_host::block::BlockDevices;
use rds_csi_host::mounter::Mounter;
use rds_csi_host::nvme::NvmeHost;
use rds_csi_host::registry::Registry;

use crate::inflight::VolumeLocks;
use crate::metrics::Metrics;

mod budget;
mod engine;
mod error;
mod expand;
mod kept;
mod open;
mod publish;
mod session;
mod shutdown;
mod stage;
mod startup;
mod stats;
mod targets;
mod unpublish;
mod unstage;
mod withdraw;

pub(crate) use engine::{CALM, Engine};
pub(crate) use error::NodeError;
pub(crate) use expand::ExpandRequest;
use kept::KeptDevices;
pub(crate) use publish::PublishRequest;
pub(crate) use stage::StageRequest;
pub(crate) use startup::{NotReady, ready};
pub(crate) use stats::{Condition, Report, Usage};

/// Everything that the node asks of its machine.
pub(crate) trait Host: NvmeHost + Mounter + BlockDevices {}

impl<T: NvmeHost + Mounter + BlockDevices> Host for T {}

/// What the node must be told.
#[derive(Debug, Clone)]
pub(crate) struct NodeSettings {
    /// The Kubernetes node's name, which is the CSI node id.
    pub name: String,
    /// Under whose name sessions are opened: [`HostIdentity::of`] the cluster and the
    /// node's name.
    pub identity: HostIdentity,
    /// What volume NQNs start with.
    pub nqn_prefix: NqnPrefix,
    /// How long a new session may take to show its device.
    pub connect_timeout: Duration,
    /// How many volumes the node takes; 0 is no limit.
    pub max_volumes: u32,
    /// Which boot of the machine this is: see [`rds_csi_host::sys::boot_id`].
    pub boot: String,
    /// A file that is there only while the machine shuts down, if one is known.
    pub shutdown_marker: Option<PathBuf>,
    /// A directory of our own on a filesystem without `nodev`, for device nodes that
    /// are bound to targets elsewhere.
    pub nodes: PathBuf,
}

/// The node service of one machine.
#[derive(Debug)]
pub(crate) struct Node {
    settings: NodeSettings,
    host: Arc<dyn Host>,
    registry: Registry,
    metrics: Metrics,
    /// Whoever changes something of a volume holds its guard.
    locks: VolumeLocks,
    /// The devices that raw targets lead to.
    kept: KeptDevices,
}

impl Node {
    pub(crate) fn new(
        settings: NodeSettings,
        host: Arc<dyn Host>,
        registry: Registry,
        metrics: Metrics,
    ) -> Self {
        Self {
            settings,
            host,
            registry,
            metrics,
            locks: VolumeLocks::default(),
            kept: KeptDevices::default(),
        }
    }

    pub(crate) const fn locks(&self) -> &VolumeLocks {
        &self.locks
    }

    pub(crate) const fn settings(&self) -> &NodeSettings {
        &self.settings
    }
}

#[cfg(test)]
pub(crate) mod tests;
