//! One migration from its first look to its last.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Change, Left, Seen};
use crate::attachment::observation::Migration;
use crate::attachment::verdict::HandOver;

/// A migration that is followed.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) hand_over: HandOver,
    /// When it was seen first.
    seen: Duration,
    /// For how long it had gone on by then.
    before: Duration,
    is_long: bool,
    /// For how long both had the volume, once that is over.
    both: Option<Duration>,
    /// Its object as it was last seen, or when it first said how it ended: it may be deleted before
    /// all is told.
    last: Option<Migration>,
}

/// What its object says of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It goes on.
    Open,
    /// It is being deleted and is not over. Where its machine is gone, it may stay like this.
    Leaving,
    Succeeded,
    Failed,
    /// There is no such object: nobody can say whether it has arrived.
    Gone,
}

impl State {
    fn of(object: &Migration) -> Self {
        if object.has_succeeded() {
            Self::Succeeded
        } else if object.has_failed() {
            Self::Failed
        } else if object.leaving {
            Self::Leaving
        } else {
            Self::Open
        }
    }
}

/// What has become of a migration.
pub(super) enum Step {
    /// It is followed further.
    On(Option<Change>),
    /// It is not, and this is what there is to be told of its end.
    Over(Option<Change>),
}

impl Course {
    /// One that is seen for the first time and had gone on for a while.
    pub(super) fn new(hand_over: HandOver, before: Duration, now: Duration) -> Self {
        Self {
            hand_over,
            seen: now,
            before,
            is_long: false,
            both: None,
            last: None,
        }
    }

    /// Where its object is.
    pub(super) fn namespace(&self) -> &str {
        let migration = &self.hand_over.migration;
        let split = migration.split_once('/');
        split.map_or(migration.as_str(), |(namespace, _)| namespace)
    }

    /// Whether its source and its target have the volume.
    pub(super) fn is_between(&self, nodes: &BTreeSet<String>) -> bool {
        nodes.contains(&self.hand_over.source) && nodes.contains(&self.hand_over.target)
    }

    /// Whether both may have the volume for another migration: this one is over, and its machine
    /// has one that was made later.
    pub(super) fn may_be_followed(&self, seen: &Seen) -> bool {
        self.later(seen).next().is_some()
    }

    /// Whether nodes have the volume for another migration, where this is what was found. On
    /// nodes that have not changed that is believed of a later one only: their pods tell of those
    /// before, too.
    pub(super) fn is_followed_by(
        &self,
        next: &HandOver,
        nodes: &BTreeSet<String>,
        seen: &Seen,
    ) -> bool {
        let is_another = next.uid != self.hand_over.uid;
        let is_later = || self.later(seen).any(|later| later.uid == next.uid);
        is_another && (!self.is_between(nodes) || is_later())
    }

    /// Once this one is over, the migrations that may have come after it. A machine has one
    /// at a time.
    fn later<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = &'a Migration> {
        let state = self.state(seen);
        let is_over = !matches!(state, None | Some(State::Open | State::Leaving));
        let all = seen.migrations.get(self.namespace()).filter(|_| is_over);
        let own = self.object(seen).or(self.last.as_ref());
        all.into_iter().flatten().filter(move |other| match own {
            Some(own) => {
                let is_its = other.machine == own.machine && other.uid != own.uid;
                is_its && (other.is_live() || other.is_later_than(own.created))
            }
            None => other.is_live(),
        })
    }

    /// Its object, where that is there and could be read.
    fn object<'a>(&self, seen: &'a Seen) -> Option<&'a Migration> {
        let mut all = seen.migrations.get(self.namespace())?.iter();
        all.find(|found| found.uid == self.hand_over.uid)
    }

    /// What its object says, where that is known.
    fn state(&self, seen: &Seen) -> Option<State> {
        let now = || {
            seen.migrations.get(self.namespace())?;
            Some(self.object(seen).map_or(State::Gone, State::of))
        };
        self.end().or_else(now)
    }

    /// How it ended, if its object has said so.
    fn end(&self) -> Option<State> {
        let last = self.last.as_ref().map(State::of);
        last.filter(|state| matches!(state, State::Succeeded | State::Failed))
    }

    /// Takes a look in: who has the volume, and for which migration if that is another one.
    pub(super) fn look(
        &mut self,
        nodes: &BTreeSet<String>,
        next: Option<&HandOver>,
        seen: &Seen,
        now: Duration,
    ) -> Step {
        let state = self.state(seen);
        if self.end().is_none() {
            self.last = self.object(seen).cloned().or_else(|| self.last.take());
        }
        let so_far = self.before + now.saturating_sub(self.seen);
        if self.is_between(nodes) && next.is_none() {
            return Step::On(self.takes_long(so_far));
        }
        let after = *self.both.get_or_insert(so_far);
        self.ends(state, nodes, next, after)
    }

    /// What becomes of it once they do not both have the volume for it any more; for `after` they had.
    fn ends(
        &self,
        state: Option<State>,
        nodes: &BTreeSet<String>,
        next: Option<&HandOver>,
        after: Duration,
    ) -> Step {
        let HandOver { source, target, .. } = &self.hand_over;
        let (source_has, target_has) = (nodes.contains(source), nodes.contains(target));
        let left = match (source_has, target_has) {
            (true, true) => Left::Both,
            (false, true) => Left::Target,
            (_, false) => Left::Source,
        };
        let failed = Step::Over(Some(Change::Failed { after, left }));
        let is_with_source = source_has && !target_has;
        let begins_again = next.is_some_and(|next| next.source == *source);
        // Without its object nobody can say whether a machine has arrived that is there, is where
        // the next one takes it from, or has been stopped by now.
        let may_have_arrived = !source_has || target_has && !begins_again;
        match state {
            Some(State::Succeeded) => Step::Over(Some(Change::Completed { after })),
            Some(State::Gone) if may_have_arrived => Step::Over(None),
            Some(State::Failed | State::Gone) => failed,
            // A machine that runs has its disk.
            Some(State::Open | State::Leaving) if is_with_source => failed,
            Some(State::Open | State::Leaving) if next.is_some() => Step::Over(None),
            Some(State::Leaving) if !source_has && !target_has => Step::Over(None),
            None | Some(State::Open | State::Leaving) => Step::On(None),
        }
    }

    fn takes_long(&mut self, after: Duration) -> Option<Change> {
        let timeout = self.hand_over.timeout;
        let is_news = !self.is_long && timeout.is_some_and(|most| after > most);
        self.is_long |= is_news;
        is_news.then_some(Change::TakesLong { after })
    }
}
