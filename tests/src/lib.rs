//! The test kit: what component, contract and kernel tests are built from.
//!
//! [`lab::Lab`] is a network of real Linux kernels, [`guest::Guest`] one machine in
//! it, [`agent`] the way to work inside that machine. All are values that end what
//! they started when they are dropped. Nothing here may assert: a test decides what
//! is right, the kit only does what it is told and says precisely what went wrong.

pub mod agent;
pub mod api_server;
pub mod appliance;
mod child;
pub mod cluster;
pub mod console;
pub mod evacuation;
pub mod fabric;
pub mod guest;
pub mod lab;
pub mod metrics;
pub mod plugin;
pub mod record;
pub mod recording;
pub mod sanity;
pub mod tool;
pub mod volume;
pub mod wait;
pub mod webhook;
