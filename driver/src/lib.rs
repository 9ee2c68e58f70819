//! The CSI driver of rds-csi, in two roles: `controller` and `node`.
//!
//! The binary only parses its arguments and calls in here. Everything that a role needs
//! from outside, the device, the host, the cluster, comes in as a port, so that tests
//! run the whole server with models of them.

mod admin;
pub mod args;
pub mod config;
mod controller;
mod csi;
mod detach;
mod inflight;
pub mod metrics;
mod node;
mod postbox;
pub mod registration;
pub mod run;
pub mod serve;
pub mod server;
mod shutdown;
mod status;
pub mod telemetry;
