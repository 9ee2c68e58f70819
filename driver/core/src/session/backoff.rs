//! When to try again what failed, so that many volumes do not try as one.
//!
//! Delays double from attempt to attempt up to a bound, and each is stretched or shrunk
//! by a share that follows from the volume and the number of the attempt: a hundred
//! volumes that were lost at one moment come back spread out, and a test can say when.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// The delay before the second attempt, without its stretch.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest delay, without its stretch.
pub const LONGEST: Duration = Duration::from_secs(30);
/// The most by which a delay is stretched or shrunk, in hundredths.
const SPREAD: u32 = 25;

/// A delay, stretched or shrunk by a share that follows from a name and a number.
#[must_use]
pub fn spread(delay: Duration, name: &str, number: u32) -> Duration {
    let mut hash = DefaultHasher::new();
    (name, number).hash(&mut hash);
    let share = u32::try_from(hash.finish() % u64::from(2 * SPREAD + 1)).unwrap_or(SPREAD);
    delay * (100 - SPREAD + share) / 100
}

/// The attempts so far at one thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
    due: Duration,
}

impl Backoff {
    /// Whether the next attempt may begin, at a time of the caller's clock.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    /// How many attempts in a row have failed.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a failure of `volume` at a time of the caller's clock, and returns the delay
    /// until the next attempt.
    pub fn failed(&mut self, volume: &str, now: Duration) -> Duration {
        let doubled = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        let delay = spread(doubled, volume, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.due = now.saturating_add(delay);
        delay
    }

    /// Puts the next attempt off, without a failure.
    pub fn put_off(&mut self, delay: Duration, now: Duration) {
        self.due = now.saturating_add(delay);
    }

    /// Has the next attempt begin at `due`, unless it may begin earlier.
    pub fn hasten(&mut self, due: Duration) {
        self.due = self.due.min(due);
    }

    /// Forgets the failures.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn delays_double_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_due(Duration::ZERO));
        let delays: Vec<Duration> = (0..10).map(|_| backoff.failed("a", FIRST)).collect();
        for (number, delay) in delays.iter().enumerate() {
            let plain = FIRST.saturating_mul(1 << number).min(LONGEST);
            assert!(
                *delay >= plain * 3 / 4 && *delay <= plain * 5 / 4,
                "{delay:?}"
            );
        }
        assert!(!backoff.is_due(FIRST));
        assert!(backoff.is_due(FIRST + delays[9]));
        backoff.put_off(FIRST, FIRST);
        assert!(!backoff.is_due(FIRST) && backoff.is_due(FIRST * 2));
        assert_eq!(backoff.failures(), 10);
        backoff.hasten(FIRST * 3);
        assert!(backoff.is_due(FIRST * 2), "it is never put off by that");
        backoff.put_off(LONGEST, FIRST);
        backoff.hasten(FIRST * 3);
        assert!(!backoff.is_due(FIRST * 2) && backoff.is_due(FIRST * 3));
        backoff.succeeded();
        assert!(backoff.is_due(Duration::ZERO));
        assert!(backoff.failed("a", FIRST) <= FIRST * 5 / 4);
    }

    #[test]
    fn a_hundred_volumes_do_not_try_at_one_moment() {
        let delays: BTreeSet<Duration> = (0..100)
            .map(|number| Backoff::default().failed(&format!("pvc-{number}"), Duration::ZERO))
            .collect();
        assert!(delays.len() > 20, "{} moments", delays.len());
    }
}
