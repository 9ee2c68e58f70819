//! Space that calls under way have promised and that a reading may not show yet.
//!
//! Two creates at once read the same free space. The ledger lets each see what the
//! other is about to take, so that together they never promise more than there is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rds_csi_core::appliance::Inventory;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_routeros::rds::Reading;
use tokio::time::Instant;

/// How long an ended promise is remembered: no reading is in use for longer.
const MEMORY: Duration = Duration::from_secs(300);

/// Promises by volume.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<VolumeId, Promise>>>);

#[derive(Debug)]
struct Promise {
    bytes: Bytes,
    /// The size that a reading shows once the promise is kept.
    kept_at: Bytes,
    ended: Option<Instant>,
}

/// A promise that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Ledger,
    id: VolumeId,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(promise) = self.ledger.lock().get_mut(&self.id) {
            promise.ended = Some(Instant::now());
        }
    }
}

impl Ledger {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VolumeId, Promise>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans with what others have promised beyond the reading and, where the plan is
    /// made, promises its bytes: no other plan is made in between. `plan` gets the
    /// bytes of the others and returns the plan, the bytes it will take and the size
    /// that the volume will have.
    pub(crate) fn reserve<T, E>(
        &self,
        id: &VolumeId,
        reading: &Reading,
        plan: impl FnOnce(Bytes) -> Result<(T, Bytes, Bytes), E>,
    ) -> Result<(T, Reservation), E> {
        let mut promises = self.lock();
        promises.retain(|_, promise| promise.ended.is_none_or(|ended| ended.elapsed() < MEMORY));
        let hidden = |other: &VolumeId, promise: &Promise| {
            let over = promise.ended.is_some_and(|ended| ended < reading.began);
            other != id && !over && !shows(&reading.inventory, other, promise.kept_at)
        };
        let others = promises
            .iter()
            .filter(|(other, promise)| hidden(other, promise));
        let reserved = others.fold(Bytes::default(), |sum, (_, promise)| {
            sum.saturating_add(promise.bytes)
        });
        let (plan, bytes, kept_at) = plan(reserved)?;
        promises.insert(
            id.clone(),
            Promise {
                bytes,
                kept_at,
                ended: None,
            },
        );
        Ok((
            plan,
            Reservation {
                ledger: self.clone(),
                id: id.clone(),
            },
        ))
    }
}

fn shows(inventory: &Inventory, id: &VolumeId, size: Bytes) -> bool {
    inventory
        .item(id)
        .and_then(|item| item.file())
        .is_some_and(|disk| disk.size >= size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            began: Instant::now(),
            inventory: Arc::new(Inventory::default()),
        }
    }

    fn id(name: &str) -> VolumeId {
        VolumeId::for_name(&"lab".parse().unwrap(), name)
    }

    fn reserve(ledger: &Ledger, name: &str, reading: &Reading) -> (Bytes, Reservation) {
        let plan = |others| Ok::<_, ()>((others, Bytes::gib(1), Bytes::gib(1)));
        ledger.reserve(&id(name), reading, plan).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_under_way_see_each_other() {
        let ledger = Ledger::default();
        let (others, _a) = reserve(&ledger, "a", &reading());
        assert_eq!(others, Bytes::default());
        let (others, _b) = reserve(&ledger, "b", &reading());
        assert_eq!(others, Bytes::gib(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_call_counts_until_a_reading_began_after_it() {
        let ledger = Ledger::default();
        let before = reading();
        drop(reserve(&ledger, "a", &before).1);
        assert_eq!(reserve(&ledger, "b", &before).0, Bytes::gib(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(reserve(&ledger, "c", &reading()).0, Bytes::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_plan_promises_nothing() {
        let ledger = Ledger::default();
        let refused = ledger.reserve(&id("a"), &reading(), |_| Err::<((), Bytes, Bytes), _>("no"));
        assert_eq!(refused.unwrap_err(), "no");
        assert_eq!(reserve(&ledger, "b", &reading()).0, Bytes::default());
    }
}
