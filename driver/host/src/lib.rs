//! The Linux host: NVMe over TCP, mounts, filesystems and external programs.
//!
//! Three ports, [`nvme::NvmeHost`], [`mounter::Mounter`] and [`block::BlockDevices`],
//! say what the node service asks of a host; [`Linux`] answers with the kernel's own
//! interfaces, and the feature `fake` has a model of a host for tests. Every call that
//! a dead device can block has a deadline and runs off the runtime's threads.
//!
//! Nothing here decides: which volume may be formatted, disconnected or mounted is for
//! the caller. What this crate promises is that a device is only ever read or written
//! after its identity was verified, and that an error is never taken for an absence.
#![warn(missing_docs)]

pub mod block;
pub mod command;
#[cfg(feature = "fake")]
pub mod fake;
mod linux;
pub mod mounter;
pub mod mountinfo;
pub mod nvme;
pub mod registry;
pub mod sys;

pub use linux::Linux;
