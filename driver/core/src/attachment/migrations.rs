//! Which volumes two nodes have for a live migration, and how each of these went.
//!
//! Everything here follows from looks at the cluster, and nothing is decided by it: a
//! migration is told to people and counted, and it ends when one of the two nodes is left,
//! whoever says whatever. Whoever begins to look in the middle sees the rest, of migrations
//! that are over too: that they have begun was for whoever looked before to tell, and since
//! when is what the attachments say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::verdict::HandOver;

mod hand_over;

pub use hand_over::hand_over;

/// The nodes that have each volume, by its PersistentVolume.
pub type Holders = BTreeMap<String, BTreeSet<String>>;

/// What two nodes have volumes for, by PersistentVolume.
#[derive(Debug, Default)]
pub struct Migrations {
    active: BTreeMap<String, Course>,
    /// What is for no migration, with the nodes that have it: it is asked about again when
    /// these change.
    others: Holders,
    /// What two nodes had at the first look already, once that was taken.
    earlier: Option<Holders>,
}

#[derive(Debug)]
struct Course {
    hand_over: HandOver,
    /// When it was seen first.
    seen: Duration,
    /// For how long it had gone on by then.
    before: Duration,
    is_long: bool,
}

/// What was found out about a volume that two nodes have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The PersistentVolume.
    pub volume: String,
    /// The migration that they have it for, or that it is for none.
    pub hand_over: Option<HandOver>,
    /// How old the younger of their attachments is: both have had it for that long at most.
    pub age: Duration,
}

/// What a look has shown of a volume's migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The PersistentVolume.
    pub volume: String,
    /// The migration.
    pub hand_over: HandOver,
    /// What happened.
    pub change: Change,
}

/// See [`Told`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Both nodes have the volume now.
    Started,
    /// Both have had it for longer than was thought good.
    TakesLong {
        /// For how long.
        after: Duration,
    },
    /// The target is left, and nobody says that it has failed.
    Completed {
        /// How long both had it.
        after: Duration,
    },
    /// The target is not left, or is after a failure.
    Failed {
        /// How long both had it.
        after: Duration,
        /// Whether the target is left all the same, as where a post-copy breaks off.
        moved: bool,
    },
}

impl Migrations {
    /// How many there are.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// The volumes that two nodes have and of which it is not known for what.
    #[must_use]
    pub fn unknown(&self, holders: &Holders) -> Vec<String> {
        let two = holders.iter().filter(|(_, nodes)| nodes.len() == 2);
        let is_known = |(volume, nodes): &(&String, &BTreeSet<String>)| {
            self.active.contains_key(*volume) || self.others.get(*volume) == Some(*nodes)
        };
        two.filter(|held| !is_known(held))
            .map(|(volume, _)| volume.clone())
            .collect()
    }

    /// The migrations of which only the target is left, where these nodes have the volumes: how
    /// they went is to be read before the look is taken in.
    pub fn arrived(&self, holders: &Holders) -> impl Iterator<Item = &HandOver> {
        let is_left = |(volume, course): &(&String, &Course)| {
            let nodes = holders.get(*volume);
            let HandOver { source, target, .. } = &course.hand_over;
            nodes.is_some_and(|nodes| !nodes.contains(source) && nodes.contains(target))
        };
        let arrived = self.active.iter().filter(is_left);
        arrived.map(|(_, course)| &course.hand_over)
    }

    /// Takes a look in: who has what, what was found out about the unknown ones, and the UIDs
    /// of migrations that have failed, of those that [have arrived](Self::arrived) at least.
    /// `now` is the time since any moment, always the same.
    pub fn look(
        &mut self,
        holders: &Holders,
        found: impl IntoIterator<Item = Found>,
        failed: &BTreeSet<String>,
        now: Duration,
    ) -> Vec<Told> {
        let mut told = Vec::new();
        let nobody = BTreeSet::new();
        let earlier = self.earlier.get_or_insert_with(|| holders.clone());
        for known in [earlier, &mut self.others] {
            known.retain(|volume, nodes| holders.get(volume) == Some(nodes));
        }
        self.active.retain(|volume, course| {
            let nodes = holders.get(volume).unwrap_or(&nobody);
            let change = course.look(nodes, failed, now);
            told.extend(change.map(|change| Told {
                volume: volume.clone(),
                hand_over: course.hand_over.clone(),
                change,
            }));
            !matches!(
                change,
                Some(Change::Completed { .. } | Change::Failed { .. })
            )
        });
        for found in found {
            told.extend(self.learn(found, holders, now));
        }
        told
    }

    fn learn(&mut self, found: Found, holders: &Holders, now: Duration) -> Option<Told> {
        let Found {
            volume,
            hand_over,
            age,
        } = found;
        let Some(hand_over) = hand_over else {
            let nodes = holders.get(&volume)?.clone();
            self.others.insert(volume, nodes);
            return None;
        };
        let mut earlier = self.earlier.iter();
        let is_earlier = earlier.any(|earlier| earlier.contains_key(&volume));
        let course = Course {
            hand_over: hand_over.clone(),
            seen: now,
            before: if is_earlier { age } else { Duration::ZERO },
            is_long: false,
        };
        self.active.insert(volume.clone(), course);
        (!is_earlier).then_some(Told {
            volume,
            hand_over,
            change: Change::Started,
        })
    }
}

impl Course {
    fn look(
        &mut self,
        nodes: &BTreeSet<String>,
        failed: &BTreeSet<String>,
        now: Duration,
    ) -> Option<Change> {
        let HandOver {
            source,
            target,
            timeout,
            uid,
            ..
        } = &self.hand_over;
        let after = self.before + now.saturating_sub(self.seen);
        match (nodes.contains(source), nodes.contains(target)) {
            (true, true) if !self.is_long && timeout.is_some_and(|most| after > most) => {
                self.is_long = true;
                Some(Change::TakesLong { after })
            }
            (true, true) => None,
            (false, true) if !failed.contains(uid) => Some(Change::Completed { after }),
            (_, moved) => Some(Change::Failed { after, moved }),
        }
    }
}

#[cfg(test)]
mod tests;
