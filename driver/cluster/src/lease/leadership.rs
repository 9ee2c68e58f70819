//! Whether this process leads, and what the one that leads has to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// For how long what was read of the Lease counts as what it says.
const HEARSAY: Duration = Duration::from_secs(60);

/// Whether this process does what is to be done once. Clones share it; at first it does not.
#[derive(Debug, Clone, Default)]
pub struct Leadership(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    turn: Mutex<Turn>,
    word: Mutex<Word>,
}

/// What the one that leads has said.
#[derive(Debug, Default)]
struct Word {
    said: Option<String>,
    /// When the Lease was last read.
    heard: Option<Instant>,
}

#[derive(Debug, Default)]
struct Turn {
    /// How often this one has begun to lead.
    number: u64,
    /// When its last turn ends by itself; `None` where it was ended.
    end: Option<Instant>,
}

impl Turn {
    /// When the turn of now ends, if there is one.
    fn end(&self) -> Option<Instant> {
        self.end.filter(|end| Instant::now() < *end)
    }
}

impl Leadership {
    /// Whether it does now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.term().is_some()
    }

    /// For which time it does now, if it does. Whoever lost it in between, however briefly, has
    /// another one than before. The clock is asked each time: whoever waits for an API server
    /// that does not answer leads no longer than the Lease is surely its own.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        let turn = self.turn();
        turn.end().map(|_| turn.number)
    }

    /// When it ends by itself, if this one leads now.
    pub(super) fn end(&self) -> Option<Instant> {
        self.turn().end()
    }

    /// Says that it does until then, unless it is said anew.
    pub(super) fn hold_until(&self, end: Instant) {
        let mut turn = self.turn();
        if turn.end().is_none() {
            turn.number += 1;
            tracing::info!(held = true, "leadership");
        }
        turn.end = Some(end);
    }

    /// Says so, or not. For tests, and for a process that is alone.
    pub fn set(&self, held: bool) {
        if held {
            self.hold_until(Instant::now() + FOR_EVER);
        } else if self.turn().end.take().is_some() {
            tracing::info!(held, "leadership");
        }
    }

    /// What the one that leads has said last, or one that led before it: it stands in the
    /// Lease, and is some seconds old.
    #[must_use]
    pub fn word(&self) -> Option<String> {
        self.words().said.clone()
    }

    /// Whether it is known what was said: not before the Lease was read for the first time, nor
    /// where it could not be read for long.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        let heard = self.words().heard;
        heard.is_some_and(|heard| heard.elapsed() < HEARSAY)
    }

    /// Says something that all should know, where this is the one that leads.
    pub fn say(&self, word: &str) {
        self.words().said = Some(word.to_owned());
    }

    /// Hears what the Lease says, and gives what it should say instead. Who leads has said
    /// something newer, or knows nothing else. A Lease that says nothing, as one that was made
    /// anew, takes back nothing.
    pub(crate) fn hear(&self, said: Option<&str>, leads: bool) -> Option<String> {
        let mut word = self.words();
        word.heard = Some(Instant::now());
        if let Some(said) = said.filter(|_| !leads || word.said.is_none()) {
            word.said = Some(said.to_owned());
        }
        word.said.clone().filter(|word| Some(word.as_str()) != said)
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn words(&self) -> MutexGuard<'_, Word> {
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

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_say_it_anew_leads_no_more_and_has_another_term_after_that() {
        let (leadership, second) = (Leadership::default(), Duration::from_secs(1));
        let begin = Instant::now();
        leadership.hold_until(begin + second);
        let first = leadership.term();
        assert!(first.is_some());
        tokio::time::advance(second / 2).await;
        leadership.hold_until(begin + 2 * second);
        tokio::time::advance(second).await;
        assert_eq!(leadership.term(), first);
        tokio::time::advance(second / 2).await;
        assert_eq!((leadership.term(), leadership.end()), (None, None));
        leadership.hold_until(begin + 3 * second);
        assert!(leadership.is_held());
        assert_ne!(leadership.term(), first);
    }

    #[test]
    fn who_leads_is_heard_by_all_and_by_whoever_leads_next() {
        let (first, second) = (Leadership::default(), Leadership::default());
        assert!(!first.has_heard());
        assert_eq!(first.hear(None, true), None, "nothing to say");
        assert!(first.has_heard() && !second.has_heard());
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
        // A Lease that was deleted and made anew.
        first.hear(None, false);
        assert_eq!(first.word().as_deref(), Some("newer"));
        assert_eq!(first.hear(None, true).as_deref(), Some("newer"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_long_ago_is_not_what_the_lease_says() {
        let leadership = Leadership::default();
        leadership.hear(None, false);
        tokio::time::advance(HEARSAY / 2).await;
        assert!(leadership.has_heard());
        tokio::time::advance(HEARSAY / 2).await;
        assert!(!leadership.has_heard());
        leadership.hear(None, false);
        assert!(leadership.has_heard());
    }
}
