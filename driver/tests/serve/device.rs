//! A device with a pool and no volumes that answers only when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rds_csi_core::appliance::{Inventory, Pool, Step, VolumeState};
use rds_csi_core::backing_file::BackingFile;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::{LinkState, Rds, RdsError, Reading};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Never connected, by what it says, and without volumes.
#[derive(Debug, Default)]
pub(crate) struct SlowDevice {
    asked: Notify,
    answers: CancellationToken,
    cut_off: AtomicBool,
}

/// Notes a call that was dropped before its answer.
struct Unanswered<'a>(&'a AtomicBool, bool);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl SlowDevice {
    /// Waits until somebody has asked.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Answers everything, from now on.
    pub(crate) fn answer(&self) {
        self.answers.cancel();
    }

    /// Whether a call was dropped before its answer.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::SeqCst)
    }

    async fn turn(&self) {
        let mut call = Unanswered(&self.cut_off, true);
        self.asked.notify_one();
        self.answers.cancelled().await;
        call.1 = false;
    }
}

#[async_trait]
impl Rds for SlowDevice {
    async fn inventory(&self) -> Result<Reading, RdsError> {
        let began = Instant::now();
        self.turn().await;
        let pool = Pool {
            slot: "raid1".to_owned(),
            mount_point: "storage-pool".to_owned(),
            size: Bytes::new(1 << 40),
            free: Bytes::new(1 << 40),
            state: Some("clean".to_owned()),
        };
        let inventory = Arc::new(Inventory {
            pools: vec![pool],
            ..Inventory::default()
        });
        Ok(Reading { began, inventory })
    }

    async fn volume(&self, _: &VolumeId, _: &BackingFile) -> Result<VolumeState, RdsError> {
        self.turn().await;
        Ok(VolumeState::default())
    }

    async fn apply(
        &self,
        _: &VolumeId,
        _: &BackingFile,
        _: Option<&Owner>,
        steps: &[Step],
    ) -> Result<VolumeState, RdsError> {
        panic!("an empty device was asked to change by {steps:?}");
    }

    fn link(&self) -> LinkState {
        LinkState {
            last_error: Some("no route to host".to_owned()),
            ..LinkState::default()
        }
    }
}
