//! What is broken while volumes are made and used in a real cluster, and what is whole
//! afterwards: no volume lost, none left over, no pod that saw an error.
//!
//! These tests disturb whatever else runs in the cluster: one at a time, by
//! `--test-threads=1`, and each mends what it broke, also if it fails.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod api;
mod appliance;
mod books;
mod claims;
mod controller;
mod ground;
mod leaders;
mod nodes;
mod processes;
mod uninstall;
mod webhook;
mod writer;
