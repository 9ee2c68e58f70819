//! The whole product on real kernels: the controller over SSH, node plugins in guests,
//! NVMe/TCP to a real target behind the simulated appliance.
//!
//! Each test boots its own cluster and takes several cases through it, calling the
//! drivers as the orchestrator does. What is asserted is what a pod, the node's kernel
//! or the appliance sees, and never what the driver says about itself alone. They start in
//! the order of their names: one that waits for minutes had better not begin with the last.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod admitted;
mod calls;
mod cluster;
mod content;
mod crash;
mod cycles;
mod dead;
mod entitled;
mod faults;
mod fenced;
mod grow;
mod idle;
mod life;
mod lookalike;
mod outage;
mod pod;
mod probed;
mod raw;
mod readonly;
mod reboot;
mod shared;
mod shutdown;
mod slow;
mod stats;
mod taken;
