//! Workloads through kubelet on a real cluster, as people run them: every kind of volume,
//! with its data read back, and what a person is told when something does not work.
//!
//! Faults of machines and networks are not here: nothing in these cases breaks anything
//! that another pod would notice, and most run beside each other. `hack/test cluster` runs this.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod burst;
mod exclusive;
mod kinds;
mod messages;
mod moves;
mod plugin;
mod reclaim;
mod stand;
mod views;
mod volume;
