//! When a session that the kernel still tries to connect is to be given up, because the
//! volume was taken from this node meanwhile.
//!
//! The kernel asks nobody: what was written here and has not reached the device waits, and
//! is written as soon as the device answers, over what another node wrote since. So while
//! a session is away for longer than a blink, the cluster is asked, rarely, whether the
//! volume is still this node's. Only two definite answers some seconds apart prove that it
//! is not; an answer that does not come changes nothing, for an outage of the cluster must
//! cost no volume.

use std::time::Duration;

use super::State;
use super::backoff::spread;

/// How long a session must have been lost to be asked about.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long it takes until the next question, without its stretch.
pub const EVERY: Duration = Duration::from_secs(30);
/// How far two answers must be apart that prove something.
pub const APART: Duration = Duration::from_secs(5);

/// What the cluster says of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// It is attached to this node.
    Ours,
    /// It has no attachment to this node.
    Gone,
    /// Anything else: no answer, or an attachment on its way from here or to here.
    Unknown,
}

/// What is to be done about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing for now.
    Wait,
    /// Ask the cluster.
    Ask,
    /// Have the kernel give it up.
    GiveUp,
    /// Have the kernel wait for it again: it is this node's after all.
    Keep,
}

/// What is known of whose the volume of one session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubt {
    due: Duration,
    asked: u32,
    /// When the cluster first said that it is gone, and has not said otherwise since.
    gone: Option<Duration>,
    /// What was heard that asks for something to be done.
    verdict: Option<Holding>,
    given_up: bool,
}

impl Doubt {
    /// What is to be done about a session that is in this state and has been lost for so
    /// long, at a time of the caller's clock.
    #[must_use]
    pub fn next(&self, state: State, lost_for: Option<Duration>, now: Duration) -> Next {
        let is_in_doubt = match state {
            State::Connecting => lost_for.is_some_and(|lost| lost >= PATIENCE),
            // The attempt that was under way succeeded.
            State::Live => self.given_up,
            State::Removed | State::Foreign | State::Unknown => false,
        };
        if !is_in_doubt || now < self.due {
            return Next::Wait;
        }
        match (self.verdict, self.given_up) {
            (Some(Holding::Gone), false) => Next::GiveUp,
            (Some(Holding::Ours), true) => Next::Keep,
            (Some(_) | None, _) => Next::Ask,
        }
    }

    /// Takes in an answer about a volume.
    pub fn heard(&mut self, holding: Holding, volume: &str, now: Duration) {
        self.asked = self.asked.saturating_add(1);
        self.due = now.saturating_add(spread(EVERY, volume, self.asked));
        self.verdict = None;
        match (holding, self.gone) {
            (Holding::Unknown, _) => {}
            (Holding::Ours, _) => {
                self.gone = None;
                self.decide(Holding::Ours, self.given_up, now);
            }
            (Holding::Gone, None) => {
                self.gone = Some(now);
                self.due = now.saturating_add(APART);
            }
            (Holding::Gone, Some(first)) => {
                let is_proved = now.saturating_sub(first) >= APART;
                self.decide(Holding::Gone, is_proved && !self.given_up, now);
            }
        }
    }

    fn decide(&mut self, verdict: Holding, is_to_be_acted_on: bool, now: Duration) {
        if is_to_be_acted_on {
            (self.verdict, self.due) = (Some(verdict), now);
        }
    }

    /// What was to be done is done, or was in vain: then the cluster is asked once more
    /// before it is tried again.
    pub fn acted(&mut self, was_done: bool, now: Duration) {
        let verdict = self.verdict.take();
        self.due = now.saturating_add(if was_done { EVERY } else { APART });
        if was_done {
            self.given_up = verdict == Some(Holding::Gone);
        }
    }

    /// The session stands elsewhere now: nothing of what was heard before counts. Whether
    /// the kernel was told to give it up is known for as long as it has it.
    pub fn moved(&mut self, to: State) {
        match to {
            State::Live if !self.given_up => *self = Self::default(),
            State::Removed => *self = Self::default(),
            State::Live | State::Connecting | State::Foreign | State::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Holding::{Gone, Ours, Unknown};
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// What comes of answers, each at a second of the clock, one second later.
    fn after(answers: &[(u64, Holding)]) -> Next {
        let mut doubt = Doubt::default();
        let mut last = 0;
        for (at, holding) in answers {
            doubt.heard(*holding, "a", seconds(*at));
            last = *at;
        }
        doubt.next(State::Connecting, Some(seconds(3600)), seconds(last + 1))
    }

    #[test]
    fn only_two_definite_answers_some_seconds_apart_give_a_volume_up() {
        for (answers, expected) in [
            (&[(100, Ours)][..], Next::Wait),
            (&[(100, Unknown)], Next::Wait),
            (&[(100, Gone)], Next::Wait),
            (&[(100, Gone), (104, Gone)], Next::Wait),
            (&[(100, Gone), (105, Gone)], Next::GiveUp),
            (&[(100, Gone), (900, Gone)], Next::GiveUp),
            (&[(100, Gone), (105, Unknown)], Next::Wait),
            (
                &[(100, Unknown), (105, Unknown), (900, Unknown)],
                Next::Wait,
            ),
            (&[(100, Gone), (105, Unknown), (135, Gone)], Next::GiveUp),
            (&[(100, Gone), (105, Ours), (135, Gone)], Next::Wait),
            (&[(100, Gone), (105, Gone), (105, Ours)], Next::Wait),
            (&[(100, Unknown), (130, Gone)], Next::Wait),
        ] {
            assert_eq!(after(answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn only_what_the_kernel_has_tried_to_connect_for_a_while_is_asked_about() {
        let doubt = Doubt::default();
        for (state, lost, expected) in [
            (State::Connecting, Some(seconds(9)), Next::Wait),
            (State::Connecting, Some(seconds(10)), Next::Ask),
            (State::Connecting, None, Next::Wait),
            (State::Live, None, Next::Wait),
            (State::Removed, Some(seconds(100)), Next::Wait),
            (State::Foreign, Some(seconds(100)), Next::Wait),
            (State::Unknown, Some(seconds(100)), Next::Wait),
        ] {
            assert_eq!(doubt.next(state, lost, seconds(1000)), expected, "{state}");
        }
    }

    #[test]
    fn it_is_asked_rarely_and_again_soon_after_a_first_no() {
        let lost = Some(seconds(3600));
        let asks = |doubt: &Doubt, at: Duration| doubt.next(State::Connecting, lost, at);
        let mut doubt = Doubt::default();
        for answer in [Ours, Unknown] {
            doubt.heard(answer, "a", seconds(100));
            assert_eq!(asks(&doubt, seconds(122)), Next::Wait, "{answer:?}");
            assert_eq!(asks(&doubt, seconds(138)), Next::Ask, "{answer:?}");
        }
        doubt.heard(Gone, "a", seconds(100));
        assert_eq!(asks(&doubt, seconds(104)), Next::Wait);
        assert_eq!(asks(&doubt, seconds(105)), Next::Ask);
    }

    #[test]
    fn what_was_given_up_is_kept_again_once_it_is_ours() {
        let mut doubt = Doubt::default();
        doubt.heard(Gone, "a", seconds(100));
        doubt.heard(Gone, "a", seconds(105));
        // In vain: not again before the cluster was asked once more.
        doubt.acted(false, seconds(105));
        let next = |doubt: &Doubt, state, at| doubt.next(state, Some(seconds(99)), seconds(at));
        assert_eq!(next(&doubt, State::Connecting, 110), Next::Ask);
        doubt.heard(Gone, "a", seconds(110));
        assert_eq!(next(&doubt, State::Connecting, 110), Next::GiveUp);
        doubt.acted(true, seconds(110));
        // The kernel's last attempt succeeded.
        doubt.moved(State::Live);
        assert_eq!(next(&doubt, State::Live, 150), Next::Ask);
        doubt.heard(Gone, "a", seconds(150));
        assert_eq!(next(&doubt, State::Live, 151), Next::Wait);
        doubt.heard(Ours, "a", seconds(200));
        assert_eq!(next(&doubt, State::Live, 200), Next::Keep);
        doubt.acted(true, seconds(200));
        assert_eq!(next(&doubt, State::Live, 900), Next::Wait);
        doubt.heard(Gone, "a", seconds(1000));
        doubt.moved(State::Live);
        assert_eq!(doubt, Doubt::default(), "what was heard in another outage");
    }
}
