//! The pure domain of rds-csi: identifiers, sizes, parameters, rules and plans.
//!
//! Everything here is a function of its arguments. This crate must never do I/O, wait,
//! read a clock or know a runtime: it depends on no crate that could, and `cargo xtask
//! tidy` holds it to that. Decisions that can lose data are made here, where they can
//! be tested for every input.
#![warn(missing_docs)]

pub mod access;
pub mod appliance;
pub mod attachment;
pub mod backing_file;
pub mod bytes;
pub mod cluster_id;
pub mod context;
pub mod device_access;
pub mod fabrics;
pub mod filesystem;
pub mod kind;
pub mod mount;
pub mod mount_options;
pub mod names;
pub mod nqn;
pub mod nvme;
pub mod parameters;
pub mod provision;
pub mod publish;
pub mod session;
pub mod stage;
pub mod volume_id;
pub mod volume_name;
