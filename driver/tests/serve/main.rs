//! Whole roles on real sockets, over models of the device and of a machine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step of a test ends it"
)]

mod controller;
mod device;
mod kubelet;
mod machine;
mod node;
mod registration;
mod running;
