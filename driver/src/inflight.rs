//! At most one operation per volume at a time.
//!
//! A second one is refused, not queued: the orchestrator asks again with a backoff, while a
//! queue would eat the deadline of everyone in it. For what this driver does unasked a call
//! waits a moment first: that is mostly over by then, and none of its caller's doing. The key
//! is the volume's id, for CreateVolume too: the id is a function of the CSI name, so a volume
//! that is being made is not deleted meanwhile. A guard must live as long as the operation
//! works on the volume, whatever its caller does: see [`crate::detach`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_csi_core::kind::{Failure, Kind};
use tokio::time::{Instant, sleep};

/// How long a call waits for what is done unasked.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two attempts of it.
const PAUSE: Duration = Duration::from_millis(10);

/// The volumes that an operation is working on. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct VolumeLocks(Arc<Mutex<HashMap<String, Holder>>>);

/// Who works on a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A call of the orchestrator.
    Call,
    /// This driver by itself.
    Unasked,
}

/// The right to work on one volume, given back when dropped.
#[derive(Debug)]
#[must_use = "the volume is free again as soon as the guard is dropped"]
pub(crate) struct VolumeGuard {
    locks: VolumeLocks,
    key: String,
}

/// Somebody else is working on the volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another operation on {key} is under way; it is safe to ask again")]
pub(crate) struct Busy {
    /// The volume's id.
    pub(crate) key: String,
}

impl Failure for Busy {
    fn kind(&self) -> Kind {
        Kind::Busy
    }
}

impl VolumeLocks {
    /// Takes the volume for a call at once, or says that it is taken.
    #[cfg(test)]
    pub(crate) fn try_lock(&self, key: &str) -> Result<VolumeGuard, Busy> {
        self.take(key, Holder::Call).map_err(|(busy, _)| busy)
    }

    /// Takes the volume for what nobody asked for, or says that it is taken. Never waits.
    pub(crate) fn try_lock_unasked(&self, key: &str) -> Result<VolumeGuard, Busy> {
        self.take(key, Holder::Unasked).map_err(|(busy, _)| busy)
    }

    /// Takes the volume for a call, which waits a moment for what is done unasked and for
    /// no other call.
    pub(crate) async fn lock(&self, key: &str) -> Result<VolumeGuard, Busy> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.take(key, Holder::Call) {
                Ok(guard) => return Ok(guard),
                Err((_, Holder::Unasked)) if Instant::now() < end => sleep(PAUSE).await,
                Err((busy, _)) => return Err(busy),
            }
        }
    }

    fn take(&self, key: &str, holder: Holder) -> Result<VolumeGuard, (Busy, Holder)> {
        let key = key.to_owned();
        match self.keys().entry(key.clone()) {
            Entry::Vacant(free) => {
                free.insert(holder);
                let locks = self.clone();
                Ok(VolumeGuard { locks, key })
            }
            Entry::Occupied(taken) => Err((Busy { key }, *taken.get())),
        }
    }

    /// The map stays whole even where a holder panicked: each change is one call.
    fn keys(&self) -> MutexGuard<'_, HashMap<String, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VolumeGuard {
    fn drop(&mut self) {
        self.locks.keys().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_held_by_one_until_the_guard_is_dropped() {
        let locks = VolumeLocks::default();
        let guard = locks.try_lock("pvc-1").unwrap();
        let busy = locks.clone().try_lock("pvc-1").unwrap_err();
        assert_eq!(
            busy.to_string(),
            "another operation on pvc-1 is under way; it is safe to ask again"
        );
        assert_eq!(busy.kind(), Kind::Busy);
        drop(guard);
        drop(locks.try_lock("pvc-1").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_a_moment_for_what_is_done_unasked_and_for_nothing_else() {
        let locks = VolumeLocks::default();
        let call = locks.try_lock("pvc-1").unwrap();
        let begun = Instant::now();
        assert!(locks.lock("pvc-1").await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(call);
        let guard = locks.try_lock_unasked("pvc-1").unwrap();
        assert!(locks.lock("pvc-1").await.is_err());
        assert!(begun.elapsed() >= PATIENCE);
        let (taken, ()) = tokio::join!(locks.lock("pvc-1"), async {
            sleep(PATIENCE / 2).await;
            drop(guard);
        });
        drop(taken.unwrap());
    }

    #[test]
    fn another_volume_is_free() {
        let locks = VolumeLocks::default();
        let _one = locks.try_lock("pvc-1").unwrap();
        let _two = locks.try_lock("pvc-2").unwrap();
    }

    #[test]
    fn a_refused_attempt_does_not_free_the_volume() {
        let locks = VolumeLocks::default();
        let _guard = locks.try_lock("pvc-1").unwrap();
        assert!(locks.try_lock("pvc-1").is_err());
        assert!(locks.try_lock("pvc-1").is_err());
    }

    #[test]
    fn a_holder_that_panics_frees_the_volume() {
        let locks = VolumeLocks::default();
        let theirs = locks.clone();
        std::thread::spawn(move || {
            let _guard = theirs.try_lock("pvc-1").unwrap();
            panic!("on purpose");
        })
        .join()
        .unwrap_err();
        assert!(locks.try_lock("pvc-1").is_ok());
    }
}
