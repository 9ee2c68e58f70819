//! Readings that callers share: how many there are, and when each began.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rds_csi_core::appliance::Inventory;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::console::ConsoleError;
use crate::error::AnswerError;

const TAKES: Duration = Duration::from_millis(100);

/// A device whose readings take a while; it knows when each began.
#[derive(Debug, Default)]
struct Device {
    shared: Shared,
    readings: AtomicUsize,
    fails: bool,
}

impl Device {
    async fn call(&self) -> Result<Reading, RdsError> {
        self.shared
            .read(|| async {
                self.readings.fetch_add(1, Ordering::SeqCst);
                let began = Instant::now();
                sleep(TAKES).await;
                if self.fails {
                    let source = ConsoleError::ShutDown {
                        device: String::new(),
                    };
                    return Err(RdsError::Read {
                        what: String::new(),
                        device: String::new(),
                        source: AnswerError::Console(source),
                    });
                }
                let inventory = Arc::new(Inventory::default());
                Ok(Reading { began, inventory })
            })
            .await
    }

    fn readings(&self) -> usize {
        self.readings.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_two_readings() {
    let device = Arc::new(Device::default());
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let device = Arc::clone(&device);
        calls.spawn(async move { device.call().await.unwrap().began });
    }
    let began: BTreeSet<Instant> = calls.join_all().await.into_iter().collect();
    assert_eq!((began.len(), device.readings()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_reading_begins_after_the_call_that_gets_it() {
    let device = Arc::new(Device::default());
    let mut calls = JoinSet::new();
    for call in 0..50_u32 {
        let device = Arc::clone(&device);
        calls.spawn(async move {
            sleep(Duration::from_millis(7) * call).await;
            let called = Instant::now();
            let reading = device.call().await.unwrap();
            assert!(reading.began >= called);
        });
    }
    calls.join_all().await;
    assert!(device.readings() <= 5, "{}", device.readings());
}

#[tokio::test(start_paused = true)]
async fn callers_share_a_failure_instead_of_each_waiting_for_its_own() {
    let device = Arc::new(Device {
        fails: true,
        ..Device::default()
    });
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let device = Arc::clone(&device);
        calls.spawn(async move { assert!(device.call().await.is_err()) });
    }
    calls.join_all().await;
    assert_eq!((device.readings(), started.elapsed()), (2, TAKES * 2));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_hands_over() {
    let device = Arc::new(Device::default());
    let leaves = tokio::time::timeout(TAKES / 2, device.call());
    let stays = device.call();
    let (left, stayed) = tokio::join!(leaves, stays);
    assert!(left.is_err() && stayed.is_ok());
    assert_eq!(device.readings(), 2);
}
