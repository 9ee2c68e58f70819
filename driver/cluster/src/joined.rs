//! Lists that several callers ask for at once, made once.
//!
//! When a node is emptied, a hundred attachments are judged by the same pods. Every answer is
//! still of a reading that began after it was asked for: whoever comes while one goes on waits
//! for the next one, which all that wait share. It must never answer from a reading before that.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::ClusterError;

/// Readings of one kind, by what is read.
pub(super) struct Joined<K, V>(Mutex<HashMap<K, Arc<Line<V>>>>);

/// Those who wait for the same.
struct Line<V> {
    /// Whose reading goes on.
    turn: tokio::sync::Mutex<()>,
    /// The reading that has not begun.
    next: Mutex<Arc<Reading<V>>>,
}

type Reading<V> = OnceCell<Result<V, ClusterError>>;

impl<K, V> Default for Joined<K, V> {
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
        let line = lock(&self.0).entry(key.clone()).or_default().clone();
        let shared = lock(&line.next).clone();
        // Where the caller that reads goes away, another one of them does it.
        let answer = shared.get_or_init(|| async {
            let _turn = line.turn.lock().await;
            line.begin(&shared);
            reading.await
        });
        let answer = answer.await.clone();
        let mut lines = lock(&self.0);
        // Nobody but the map and this call.
        if Arc::strong_count(&line) == 2 {
            lines.remove(&key);
        }
        answer
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

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    /// Readings that take a second each and say which one of them they are.
    #[derive(Default)]
    struct Store {
        joined: Joined<&'static str, u32>,
        began: AtomicU32,
    }

    impl Store {
        async fn read(&self, key: &'static str) -> Result<u32, ClusterError> {
            let reading = async {
                let number = self.began.fetch_add(1, Ordering::Relaxed);
                sleep(LONG).await;
                Ok(number)
            };
            self.joined.read(key, reading.boxed()).await
        }

        /// What a call says that is made after a time.
        async fn after(&self, time: Duration) -> u32 {
            sleep(time).await;
            self.read("pods").await.unwrap()
        }

        fn is_idle(&self) -> bool {
            lock(&self.joined.0).is_empty()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_at_once_make_two_readings() {
        let store = Store::default();
        let answers = join_all((0..100).map(|_| store.read("pods"))).await;
        let numbers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(numbers[0], 0);
        assert_eq!(numbers[1..], [1; 99]);
        assert!(store.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_of_a_reading_that_had_begun_when_it_was_asked_for() {
        let store = Store::default();
        let times = [0, 1, 999, 1001, 1500, 2001, 4000];
        let answers = times.map(|time| store.after(Duration::from_millis(time)));
        // Readings begin at 0, 1000, 2000, 3000 and 4000.
        assert_eq!(join_all(answers).await, [0, 1, 1, 2, 2, 3, 4]);
        assert!(store.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn what_differs_is_read_side_by_side() {
        let store = Store::default();
        let both = join_all([store.read("pods"), store.read("machines")]);
        let both = timeout(LONG, both).await.unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(store.began.into_inner(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_one_who_reads_goes_away_another_one_does() {
        let store = Store::default();
        let (first, gone, other) = tokio::join!(
            store.read("pods"),
            // It begins the second reading.
            timeout(LONG * 3 / 2, store.read("pods")),
            store.read("pods")
        );
        assert_eq!(first.unwrap(), 0);
        assert!(gone.is_err());
        assert_eq!(other.unwrap(), 2);
        assert!(store.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_everybodys_and_is_not_kept() {
        let joined = Joined::<&str, u32>::default();
        let failing = || async {
            sleep(LONG).await;
            let missing = "pods".to_owned();
            Err(ClusterError::Without { missing })
        };
        let answers = join_all((0..3).map(|_| joined.read("pods", failing().boxed()))).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(
            joined.read("pods", async { Ok(7) }.boxed()).await.unwrap(),
            7
        );
    }
}
