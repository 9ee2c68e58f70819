//! The port to the device: what the product asks of a ROSE Data Server, in the words of
//! volumes, not of the command line.
//!
//! An answer is complete or it is an error. In particular "absent" is only ever the
//! result of a successful, whole reading.

use std::sync::Arc;

use async_trait::async_trait;
use rds_csi_core::appliance::{Inventory, Step, VolumeState};
use rds_csi_core::backing_file::BackingFile;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use tokio::time::Instant;

use crate::error::RdsError;

/// A complete reading of the device and when it began: whatever happened on the device
/// before that moment is in it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When the reading began.
    pub began: Instant,
    /// What it showed.
    pub inventory: Arc<Inventory>,
}

/// A ROSE Data Server.
#[async_trait]
pub trait Rds: Send + Sync + std::fmt::Debug {
    /// Everything on the device, in one round trip. The reading begins after the call
    /// does; callers that wait at the same time share one reading.
    async fn inventory(&self) -> Result<Reading, RdsError>;

    /// One volume's item and file, in one round trip; callers that crowd at the same time
    /// share one.
    async fn volume(&self, id: &VolumeId, file: &BackingFile) -> Result<VolumeState, RdsError>;

    /// Takes the steps in order and reads the volume back, in one round trip where all
    /// goes well.
    ///
    /// `owner` is the marker of the item that the steps are meant for: the device itself
    /// compares it, and an item in the same slot with another comment is left alone,
    /// which the state read back then shows. `None` compares nothing and is only for
    /// volumes of the older driver, which carry no marker. After [`Step::Add`] its own
    /// owner is the one compared.
    ///
    /// `Ok` carries the state read *after* the steps, from a successful reading: it is
    /// for the caller to compare with what was wanted. A step that the device refused
    /// is [`RdsError::Refused`] with the device's words and the state read after the
    /// refusal. Where the state could not be read afterwards the error's kind is
    /// `Unreachable` or `Timeout`: the steps may or may not have happened.
    async fn apply(
        &self,
        id: &VolumeId,
        file: &BackingFile,
        owner: Option<&Owner>,
        steps: &[Step],
    ) -> Result<VolumeState, RdsError>;

    /// Whether the device answered last time, for readiness and metrics. Never blocks.
    fn link(&self) -> LinkState;
}

/// What is known of the connection to the device without asking it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkState {
    /// Whether a session is open now.
    pub connected: bool,
    /// RouterOS's version as the device says it, once known: `7.24.4 (stable)`.
    pub version: Option<String>,
    /// Sessions opened since start, the first included.
    pub connects: u64,
    /// Why the last attempt failed, while not connected.
    pub last_error: Option<String>,
}
