//! Whether this process leads, and what the one that leads has to say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether this process does what is to be done once. Clones share it; at first it does not.
#[derive(Debug, Clone, Default)]
pub struct Leadership(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How often it has changed whether this one leads: it does where the number is odd.
    changes: AtomicU64,
    word: Mutex<Option<String>>,
}

impl Leadership {
    /// Whether it does now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.term().is_some()
    }

    /// For which time it does now, if it does. Whoever lost it in between, however briefly, has
    /// another one than before.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        let changes = self.0.changes.load(Ordering::Acquire);
        (changes % 2 == 1).then_some(changes)
    }

    /// Says so, or not. For tests, and for a process that is alone.
    pub fn set(&self, held: bool) {
        let change = |changes| ((changes % 2 == 1) != held).then_some(changes + 1);
        let changed = self
            .0
            .changes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        if changed.is_ok() {
            tracing::info!(held, "leadership");
        }
    }

    /// What the one that leads has said last, or one that led before it: it stands in the
    /// Lease, and is some seconds old.
    #[must_use]
    pub fn word(&self) -> Option<String> {
        self.words().clone()
    }

    /// Says something that all should know, where this is the one that leads.
    pub fn say(&self, word: &str) {
        *self.words() = Some(word.to_owned());
    }

    /// Hears what the Lease says, and gives what it should say instead. Who leads has said
    /// something newer, or knows nothing else.
    pub(super) fn hear(&self, said: Option<&str>, leads: bool) -> Option<String> {
        let mut word = self.words();
        if !leads || word.is_none() {
            *word = said.map(str::to_owned);
        }
        word.clone().filter(|word| Some(word.as_str()) != said)
    }

    fn words(&self) -> MutexGuard<'_, Option<String>> {
        self.0.word.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lost_it_for_a_moment_has_another_term() {
        let leadership = Leadership::default();
        assert_eq!(leadership.term(), None);
        leadership.set(false);
        leadership.set(true);
        let first = leadership.term();
        leadership.set(true);
        assert!(leadership.is_held() && first.is_some());
        assert_eq!(leadership.term(), first);
        leadership.set(false);
        assert!(!leadership.is_held());
        leadership.set(true);
        assert!(leadership.is_held());
        assert_ne!(leadership.term(), first);
    }

    #[test]
    fn who_leads_is_heard_by_all_and_by_whoever_leads_next() {
        let (first, second) = (Leadership::default(), Leadership::default());
        assert_eq!(first.hear(None, true), None, "nothing to say");
        first.say("new");
        assert_eq!(first.hear(Some("old"), true).as_deref(), Some("new"));
        assert_eq!(first.hear(Some("new"), true), None, "it stands there");
        assert_eq!(second.hear(Some("old"), false), None);
        assert_eq!(second.hear(Some("new"), false), None);
        assert_eq!(second.word().as_deref(), Some("new"));
        assert_eq!(second.hear(Some("new"), true), None, "its turn");
        assert_eq!(second.word().as_deref(), Some("new"));
        let third = Leadership::default();
        assert_eq!(third.hear(Some("new"), true), None);
        assert_eq!(third.word().as_deref(), Some("new"));
        second.say("newer");
        assert_eq!(second.hear(Some("new"), true).as_deref(), Some("newer"));
        assert_eq!(first.hear(Some("newer"), false), None);
        assert_eq!(first.word().as_deref(), Some("newer"), "it leads no more");
    }
}
