//! The RouterOS language and the SSH connection to a ROSE Data Server.
//!
//! Layers, top to bottom: `rds` is the port that the driver uses, `client` implements
//! it, `command` writes scripts, `reply` and `failure` read what comes back, `ssh`
//! carries both. Only `command` quotes, only `failure` matches the device's words, only
//! `ssh` knows the protocol. An answer that is not proven whole is an error, and a
//! change whose outcome is unknown never gets a final error.

pub mod client;
pub mod command;
pub mod config;
pub mod console;
pub mod error;
pub mod failure;
pub mod rds;
pub mod reply;
pub mod ssh;

pub use client::{RdsClient, RosClient};
pub use config::{DeviceAddress, RdsConfig};
pub use console::Console;
pub use error::{RdsError, Refusal};
pub use failure::FailureKind;
pub use rds::{LinkState, Rds, Reading};
pub use ssh::HostKey;
