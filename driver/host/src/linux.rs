//! The ports answered by this machine's kernel.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::command::Runner;
use crate::nvme::Pulse;
use crate::sys::Root;
use crate::sys::calls::Calls;

/// This machine. Clones share the caps on hanging calls and the connection lock.
///
/// Calls wait for one another only where they wait for the same thing. An unmount that
/// writes back to a device that is away sleeps in the kernel until that returns, one for
/// each volume of a node that is drained meanwhile; whoever only asks sysfs, procfs or a
/// directory of kubelet's, and whoever works on a device of another appliance, goes on.
///
/// A call that hangs in the kernel keeps a thread of the runtime's blocking pool until
/// it returns, so a program that uses this must end its runtime with
/// `shutdown_timeout` and not wait for all threads.
#[derive(Debug, Clone)]
pub struct Linux {
    pub(crate) root: Arc<Root>,
    /// For reading sysfs and procfs, which no device holds up.
    pub(crate) looks: Calls,
    /// For names in directories of kubelet's and ours.
    pub(crate) paths: Calls,
    /// For unmounting.
    pub(crate) unmounts: Calls,
    /// For the rest: whatever may wait for a device.
    pub(crate) calls: Calls,
    pub(crate) runner: Arc<Runner>,
    /// Connecting and disconnecting change one table of the kernel: one at a time, so
    /// that a look before either still holds when it acts.
    pub(crate) connections: Arc<Mutex<()>>,
    /// What the last call of [`crate::nvme::NvmeHost::changed`] saw.
    pub(crate) pulse: Arc<Pulse>,
}

impl Linux {
    const LOOKS: usize = 16;
    const PATHS: usize = 32;
    /// More than a node has volumes with something to write back.
    const UNMOUNTS: usize = 256;
    const CALLS: usize = 64;

    /// How many calls may hang at once, each with a thread of the runtime's blocking pool,
    /// which must have more than these. Threads are made as they are needed.
    pub const THREADS: usize = Self::LOOKS + Self::PATHS + Self::UNMOUNTS + Self::CALLS;

    /// A host whose interfaces lie at `root` and whose programs `runner` starts.
    #[must_use]
    pub fn new(root: Root, runner: Runner) -> Self {
        Self {
            root: Arc::new(root),
            looks: Calls::new(Self::LOOKS),
            paths: Calls::new(Self::PATHS),
            unmounts: Calls::new(Self::UNMOUNTS),
            calls: Calls::new(Self::CALLS),
            runner: Arc::new(runner),
            connections: Arc::new(Mutex::new(())),
            pulse: Arc::default(),
        }
    }
}
