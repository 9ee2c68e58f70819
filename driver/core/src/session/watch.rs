//! One session, followed through its states from look to look.

use std::fmt;
use std::time::Duration;

use super::Sight;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It does I/O.
    Live,
    /// The kernel is trying to connect it again.
    Connecting,
    /// The kernel has given it up.
    Removed,
    /// Something else is connected in its place.
    Foreign,
    /// It could not be looked at.
    Unknown,
}

impl State {
    /// Every state, for metrics that show them all.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Connecting,
        Self::Removed,
        Self::Foreign,
        Self::Unknown,
    ];

    /// One lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Connecting => "connecting",
            Self::Removed => "removed",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&Sight> for State {
    fn from(sight: &Sight) -> Self {
        match sight {
            Sight::Live(_) => Self::Live,
            Sight::Waiting(_) => Self::Connecting,
            Sight::Absent => Self::Removed,
            Sight::Foreign(_) => Self::Foreign,
            Sight::Unknown(_) => Self::Unknown,
        }
    }
}

/// A session that changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// From where.
    pub from: State,
    /// To where.
    pub to: State,
    /// What was seen, in words; empty where the state says it all.
    pub seen: String,
    /// What it means to whoever uses the volume.
    pub change: Change,
}

/// What a transition means to whoever uses the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// I/O waits or fails from now on.
    Lost,
    /// I/O works again, after so long. Consumers of another device are not served by
    /// that alone: they are to be recovered.
    Restored {
        /// How long it did not, as far as was seen.
        after: Duration,
    },
    /// The loss goes on in another way, or only the look at it has changed.
    Same,
}

/// One session, followed from look to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    state: State,
    /// Since when the state is what it is.
    since: Duration,
    /// Since when I/O is known not to work.
    lost: Option<Duration>,
    /// For how long it had not by then, as an earlier process saw it.
    before: Duration,
}

impl Watch {
    /// A session that was staged just now, or found staged by a new process, at a time
    /// of the caller's clock. It counts as live until a look shows otherwise.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self {
            state: State::Live,
            since: now,
            lost: None,
            before: Duration::ZERO,
        }
    }

    /// A session that an earlier process has seen lost so long ago, and not restored. It is
    /// not known how it stands until it is looked at.
    #[must_use]
    pub const fn lost_before(before: Duration, now: Duration) -> Self {
        Self {
            state: State::Unknown,
            since: now,
            lost: Some(now),
            before,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// For how long it has stood there.
    #[must_use]
    pub fn in_state_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// For how long I/O has not worked; `None` where it does, or where nobody knows.
    #[must_use]
    pub fn lost_for(&self, now: Duration) -> Option<Duration> {
        let here = self.lost.map(|lost| now.saturating_sub(lost))?;
        Some(here.saturating_add(self.before))
    }

    /// Takes in one look. `None` where the state is what it was.
    ///
    /// A failed look changes nothing about what is known of I/O: it neither loses a
    /// volume nor restores one.
    pub fn look(&mut self, sight: &Sight, now: Duration) -> Option<Transition> {
        let (from, to) = (self.state, State::from(sight));
        if from == to {
            return None;
        }
        (self.state, self.since) = (to, now);
        let change = match (to, self.lost_for(now)) {
            (State::Unknown, _) | (State::Live, None) => Change::Same,
            (State::Live, Some(after)) => {
                self.lost = None;
                Change::Restored { after }
            }
            (State::Connecting | State::Removed | State::Foreign, None) => {
                (self.lost, self.before) = (Some(now), Duration::ZERO);
                Change::Lost
            }
            (State::Connecting | State::Removed | State::Foreign, Some(_)) => Change::Same,
        };
        let seen = match sight {
            Sight::Live(namespace) => namespace.name.clone(),
            Sight::Waiting(words) | Sight::Foreign(words) | Sight::Unknown(words) => words.clone(),
            Sight::Absent => String::new(),
        };
        Some(Transition {
            from,
            to,
            seen,
            change,
        })
    }
}
