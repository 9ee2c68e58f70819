//! Lists that several callers ask for at once, made once.
//!
//! When a node is emptied, a hundred attachments are judged by the same pods. Whoever comes while
//! a reading goes on waits for the next one, which all that wait share. It must never answer from
//! a reading that had begun before it was asked for.
//!
//! `rds_csi_routeros` shares the device's inventory in a like way. There all wait for one
//! connection anyhow; here one request that hangs must not keep the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::ClusterError;

/// How long a reading waits for the one before it: to wait saves requests, and one that hangs is
/// not to keep those that would be answered.
const PATIENCE: Duration = Duration::from_secs(1);

/// Readings of one kind, by what is read.
pub(super) struct Joined<K: Eq + Hash, V>(Mutex<HashMap<K, Arc<Line<V>>>>);

/// Those who wait for the same.
struct Line<V> {
    /// Whose reading goes on.
    turn: tokio::sync::Mutex<()>,
    /// The reading that has not begun.
    next: Mutex<Arc<Reading<V>>>,
}

type Reading<V> = OnceCell<Result<V, ClusterError>>;

impl<K: Eq + Hash, V> Default for Joined<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> Default for Line<V> {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            next: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Joined<K, V> {
    /// What `reading` says, or that of another caller's who asked for the same: one that begins
    /// after this call.
    ///
    /// # Errors
    /// Those of the reading, for all that share it.
    pub(super) async fn read(
        &self,
        key: K,
        reading: BoxFuture<'_, Result<V, ClusterError>>,
    ) -> Result<V, ClusterError> {
        let place = self.stand(key);
        let line = &*place.line;
        let shared = lock(&line.next).clone();
        // Where the caller that reads goes away, another one of them does it.
        let answer = shared.get_or_init(|| async {
            let _turn = timeout(PATIENCE, line.turn.lock()).await;
            line.begin(&shared);
            reading.await
        });
        answer.await.clone()
    }

    fn stand(&self, key: K) -> Place<'_, K, V> {
        let line = lock(&self.0).entry(key.clone()).or_default().clone();
        let joined = self;
        Place { joined, key, line }
    }
}

impl<V> Line<V> {
    /// From here on nobody joins a reading.
    fn begin(&self, reading: &Arc<Reading<V>>) {
        let mut next = lock(&self.next);
        if Arc::ptr_eq(&next, reading) {
            *next = Arc::default();
        }
    }
}

/// A caller's place in a line, which ends with the last of them.
struct Place<'a, K: Eq + Hash, V> {
    joined: &'a Joined<K, V>,
    key: K,
    line: Arc<Line<V>>,
}

impl<K: Eq + Hash, V> Drop for Place<'_, K, V> {
    fn drop(&mut self) {
        let mut lines = lock(&self.joined.0);
        // Under the lock, so that of two who leave together one is the last.
        self.line = Arc::default();
        if lines
            .get(&self.key)
            .is_some_and(|line| Arc::strong_count(line) == 1)
        {
            lines.remove(&self.key);
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
