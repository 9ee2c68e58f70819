//! What the driver may rely on from the port to the device: every operation and every
//! fault, over the simulator in memory and over real SSH, under the switches for what
//! is not known of real devices.
#![expect(
    clippy::unwrap_used,
    reason = "all of this is test code, its parts outside test functions too"
)]

mod faults;
mod fronts;
mod keys;
mod language;
mod operations;
mod session;
mod strangers;
