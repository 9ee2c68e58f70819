//! What was told lately, and is not told again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For how long nothing is told again.
const PAUSE: Duration = Duration::from_secs(600);

/// When what was told.
#[derive(Debug)]
pub(super) struct Lately<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Lately<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Lately<K> {
    /// Whether it was not told lately. It counts as told now, but what comes again and again is
    /// told again all the same: events are kept for an hour.
    pub(super) fn is_news(&self, what: K) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < PAUSE);
        match told.entry(what) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_again_and_again_is_told_once_in_a_while() {
        let lately = Lately::default();
        let mut told = Vec::new();
        for minute in 0..30 {
            if lately.is_news("a") {
                told.push(minute);
            }
            tokio::time::advance(PAUSE / 10).await;
        }
        assert_eq!(told, [0, 10, 20]);
        assert!(lately.is_news("b"));
    }
}
