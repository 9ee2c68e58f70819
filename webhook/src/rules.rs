//! The admission rules: pure functions from an object to a [`Verdict`].
//!
//! Rules never ask a server: what they need to know of the cluster is in
//! [`RuleContext`]. An update is judged by what it changes, so that an object that
//! exists, for whatever reason, can still lose its finalizers, get a status, and go.
//! The driver enforces all of this again; a rule only says it earlier and to the person
//! who can act on it.

pub mod access;
pub mod claim;
pub mod other_classes;
pub mod persistent_volume;
pub mod quantity;
pub mod storage_class;

use rds_csi_core::names::DriverName;

use crate::storage_classes::StorageClasses;

/// What rules know besides the object.
#[derive(Debug, Clone, Copy)]
pub struct RuleContext<'a> {
    /// Whose objects are judged; all others pass.
    pub driver: &'a DriverName,
    /// The storage classes; `None` while they have not been read. Then nothing is
    /// refused on account of a class.
    pub classes: Option<&'a StorageClasses>,
}
