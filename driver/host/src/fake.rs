//! A model of a host and of the array it connects to, behind all ports.
//!
//! It follows what Linux 6.12 was seen to do: names and device numbers are given anew at
//! every connection, the lowest free one first, so that a stale number may come to mean
//! another volume; a mount outlives its device and then fails; only a filesystem can be
//! mounted, only a blank device formatted, and only an unused mount unmounted.
//!
//! Several hosts may share one [`Array`]. Every port call is counted, and any one can be
//! made to fail before or after its effect or to hang: see [`FakeHost::fault_at`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rds_csi_core::mount::Mount;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Controller, ControllerState, DeviceNumber, Namespace};
use tokio::time::Instant;

mod array;
mod block;
mod events;
mod faults;
mod mounter;
mod nvme;

pub use array::{Array, Medium};
pub use faults::Fault;

/// A host. Clones are the same host.
#[derive(Debug, Clone)]
pub struct FakeHost {
    array: Array,
    kernel: Arc<Mutex<Kernel>>,
}

/// What lies at a path of the host itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File,
    Block(DeviceNumber),
}

#[derive(Debug)]
pub(crate) struct Attached {
    nqn: String,
    controller: Controller,
    namespace: Namespace,
    appears: Instant,
    /// Seconds; `None` is for ever.
    loss_time: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Kernel {
    attached: Vec<Attached>,
    mounts: Vec<Mount>,
    nodes: BTreeMap<PathBuf, Node>,
    /// What a bind of a device node shows, by the mount's id: the node's name may be
    /// gone by then.
    bound: BTreeMap<u32, DeviceNumber>,
    /// Directories that are symlinks, and where they lead: mounts below them are listed
    /// there.
    symlinks: BTreeMap<PathBuf, PathBuf>,
    /// Mount targets with open files.
    busy: BTreeSet<PathBuf>,
    /// Devices whose filesystem has shut down.
    shut_down: BTreeSet<DeviceNumber>,
    /// Devices that a program claimed.
    claimed: BTreeSet<DeviceNumber>,
    /// How many descriptors keep a number.
    kept: BTreeMap<DeviceNumber, usize>,
    next_mount: u32,
    calls: usize,
    log: Vec<String>,
    faults: BTreeMap<usize, Fault>,
}

impl FakeHost {
    /// A host with nothing connected and an empty filesystem.
    #[must_use]
    pub fn new(array: &Array) -> Self {
        Self {
            array: array.clone(),
            kernel: Arc::default(),
        }
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many port calls were made.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.kernel().calls
    }

    /// The names of the port calls, in order.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.kernel().log.clone()
    }

    /// Has the k-th call from now on (1 is the next) meet a fault.
    pub fn fault_at(&self, k: usize, fault: Fault) {
        let mut kernel = self.kernel();
        let call = kernel.calls + k;
        kernel.faults.insert(call, fault);
    }

    /// Forgets the faults that were not met.
    pub fn clear_faults(&self) {
        self.kernel().faults.clear();
    }

    /// The mount table, without counting as a call.
    #[must_use]
    pub fn mount_table(&self) -> Vec<Mount> {
        self.kernel().mounts.clone()
    }

    /// The loss time of the connection to the NQN, if there is one.
    #[must_use]
    pub fn loss_time(&self, nqn: &Nqn) -> Option<Option<u32>> {
        let kernel = self.kernel();
        let mut attached = kernel.attached.iter();
        let found = attached.find(|attached| attached.nqn == nqn.as_str())?;
        Some(found.loss_time)
    }

    /// The NQNs that are connected, without counting as a call.
    #[must_use]
    pub fn connected(&self) -> BTreeSet<String> {
        let kernel = self.kernel();
        kernel
            .attached
            .iter()
            .map(|attached| attached.nqn.clone())
            .collect()
    }
}

impl Kernel {
    /// What a number means now.
    fn by_number(&self, number: DeviceNumber) -> Option<&Attached> {
        self.attached
            .iter()
            .find(|attached| attached.namespace.number == number)
    }

    /// Where a path really lies.
    fn resolved(&self, path: &Path) -> PathBuf {
        self.symlinks
            .iter()
            .find_map(|(from, to)| Some(to.join(path.strip_prefix(from).ok()?)))
            .unwrap_or_else(|| path.to_owned())
    }

    fn is_held(&self, number: DeviceNumber) -> bool {
        self.mounts.iter().any(|mount| mount.device == number) || self.claimed.contains(&number)
    }

    /// Whether anything keeps the number from being given away.
    fn is_kept(&self, number: DeviceNumber) -> bool {
        self.is_held(number) || self.kept.get(&number).is_some_and(|count| *count > 0)
    }

    /// The lowest number that neither a device nor a stale mount has.
    fn free_number(&self) -> DeviceNumber {
        let number = |minor| DeviceNumber { major: 259, minor };
        let taken =
            |minor: &u32| self.by_number(number(*minor)).is_some() || self.is_kept(number(*minor));
        number((0..).find(|minor| !taken(minor)).unwrap_or(u32::MAX))
    }

    fn free_instance(&self) -> u32 {
        let taken = |instance: &u32| {
            let name = format!("nvme{instance}");
            self.attached
                .iter()
                .any(|attached| attached.controller.name == name)
        };
        (0..).find(|instance| !taken(instance)).unwrap_or(u32::MAX)
    }

    /// The mount that is seen at exactly this path.
    fn top(&self, target: &Path) -> Option<&Mount> {
        self.mounts
            .iter()
            .rev()
            .find(|mount| mount.target == target)
    }

    /// The mount that a path lies on.
    fn covering(&self, path: &Path) -> Option<&Mount> {
        self.mounts
            .iter()
            .rev()
            .filter(|mount| path.starts_with(&mount.target))
            .max_by_key(|mount| mount.target.components().count())
    }

    /// Whether the device of a mount still does I/O.
    fn is_alive(&self, number: DeviceNumber) -> bool {
        number.major == 0
            || self
                .by_number(number)
                .is_some_and(|attached| attached.controller.state == ControllerState::Live)
    }
}

impl Attached {
    fn new(kernel: &Kernel, controller: Controller, nqn: &Nqn, target: &array::Target) -> Self {
        let number = kernel.free_number();
        let identity = format!("{nqn} {}", target.replaced);
        Self {
            nqn: nqn.to_string(),
            namespace: Namespace {
                // Not the controller's number: nothing may derive one from the other.
                name: format!("nvme{}n1", number.minor + 100),
                nsid: 1,
                number,
                size: target.size,
                wwid: Some(format!(
                    "uuid.{}",
                    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, identity.as_bytes())
                )),
                read_only: false,
            },
            controller,
            appears: Instant::now() + target.delay,
            loss_time: None,
        }
    }
}

#[cfg(test)]
mod tests;
