//! When the next attempt to connect is due.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubling waits with jitter, so that many processes do not return at one moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    due: Option<Instant>,
}

impl Backoff {
    /// An attempt failed: sets the next one and returns how long until then.
    pub(super) fn fail(&mut self) -> Duration {
        let whole = LONGEST.min(FIRST * 2u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1).min(16);
        // Between three quarters of the wait and the whole of it.
        let random = std::hash::RandomState::new().build_hasher().finish() % 1000;
        let share = 1000 - u32::try_from(random / 4).unwrap_or(0);
        let wait = whole * share / 1000;
        self.due = Some(Instant::now() + wait);
        wait
    }

    /// The next attempt is due after this wait, though none has failed.
    pub(super) fn wait(&mut self, wait: Duration) {
        self.due = Some(Instant::now() + wait);
    }

    /// An attempt succeeded.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// When the next attempt is due; `None` where the last one did not fail.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How long until the next attempt, if that is not now.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.due?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_half_a_minute_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.left(), None);
        let waits: Vec<f64> = (0..20).map(|_| backoff.fail().as_secs_f64()).collect();
        for (index, wait) in waits.iter().enumerate() {
            let whole = (1u32 << index.min(5)).min(30);
            assert!(
                *wait <= f64::from(whole) && *wait >= f64::from(whole) * 0.74,
                "{waits:?}"
            );
        }
        tokio::time::advance(LONGEST).await;
        assert_eq!(backoff.left(), None);
        backoff.reset();
        assert!(backoff.due().is_none() && backoff.fail() <= FIRST);
    }
}
