//! The ports answered by this machine's kernel.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::command::Runner;
use crate::nvme::Pulse;
use crate::sys::Root;
use crate::sys::calls::Calls;

/// This machine. Clones share the cap on hanging calls and the connection lock.
///
/// A call that hangs in the kernel keeps a thread of the runtime's blocking pool until
/// it returns, so a program that uses this must end its runtime with
/// `shutdown_timeout` and not wait for all threads.
#[derive(Debug, Clone)]
pub struct Linux {
    pub(crate) root: Arc<Root>,
    pub(crate) calls: Calls,
    pub(crate) runner: Arc<Runner>,
    /// Connecting and disconnecting change one table of the kernel: one at a time, so
    /// that a look before either still holds when it acts.
    pub(crate) connections: Arc<Mutex<()>>,
    /// What the last call of [`crate::nvme::NvmeHost::changed`] saw.
    pub(crate) pulse: Arc<Pulse>,
}

impl Linux {
    /// How many calls may hang at once.
    const MAX_HANGING: usize = 64;

    /// A host whose interfaces lie at `root` and whose programs `runner` starts.
    #[must_use]
    pub fn new(root: Root, runner: Runner) -> Self {
        Self {
            root: Arc::new(root),
            calls: Calls::new(Self::MAX_HANGING),
            runner: Arc::new(runner),
            connections: Arc::new(Mutex::new(())),
            pulse: Arc::default(),
        }
    }
}
