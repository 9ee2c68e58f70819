//! Ends programs that this driver started.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Kills a process group by the id of its leader, which must not have been reaped yet:
/// until then the id cannot be another's.
pub(crate) fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader)
        && leader > 1
    {
        // ESRCH: it ended by itself, which is what was wanted.
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}
