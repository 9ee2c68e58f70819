//! Readings that callers share.
//!
//! One reading is under way at a time. A caller wants a reading that begins after its
//! call, so it cannot use the one under way; all that wait for it to end share the next
//! one, and its failure too. A caller that leaves in the middle hands over to the next.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::error::RdsError;
use crate::rds::Reading;

/// The last reading and the order of calls.
#[derive(Debug, Default)]
pub(super) struct Shared {
    clock: AtomicU64,
    last: Mutex<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    began: u64,
    result: Result<Reading, RdsError>,
}

impl Shared {
    /// A reading that began after this call.
    pub(super) async fn read<F>(&self, read: impl FnOnce() -> F) -> Result<Reading, RdsError>
    where
        F: Future<Output = Result<Reading, RdsError>>,
    {
        let called = self.tick();
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref()
            && last.began > called
        {
            return last.result.clone();
        }
        let began = self.tick();
        let result = read().await;
        *last = Some(Last {
            began,
            result: result.clone(),
        });
        result
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
