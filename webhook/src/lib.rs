//! The validating admission webhook of rds-csi, and the same rules over manifests.
//!
//! It refuses, at the door and with a reason, what the driver would refuse later or
//! what would destroy data: claims, volumes and storage classes of this driver that
//! cannot work, attachments to nodes that may not have the volume, and migrations that
//! cannot arrive. The driver enforces all of it again, so an absent webhook costs time,
//! never data. This crate knows nothing of the storage array, and all it ever
//! writes to the cluster are its own certificates.
#![warn(missing_docs)]

pub mod args;
pub mod attachments;
pub mod certificates;
pub mod check;
pub mod cli;
mod cluster;
pub mod config;
pub mod manifest;
pub mod metrics;
pub mod review;
pub mod rules;
pub mod serve;
pub mod server;
mod shutdown;
pub mod storage_classes;
pub mod tls;
pub mod verdict;
