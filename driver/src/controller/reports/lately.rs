//! What was told lately, and is not told again.

use std::collections::HashMap;
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
    /// Whether it was not told lately. It counts as told now.
    pub(super) fn is_news(&self, what: K) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < PAUSE);
        told.insert(what, now).is_none()
    }
}
