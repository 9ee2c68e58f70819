//! Which volumes two nodes have for a live migration, and how each of these went.
//!
//! Everything here follows from looks at the cluster, and nothing is decided by it: a
//! migration is told to people and counted. It ends when one of the two nodes is left, or when
//! both have the volume for the next one, as where a machine goes back at once to a node that
//! has not let go of it yet. How it went its object says; while that could not be read, or says
//! that the machine is still on its way to the node that is left, nothing is told. Whoever
//! begins to look in the middle sees the rest, of migrations that are over too: that they have
//! begun was for whoever looked before to tell, and since when is what the attachments say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::observation::Migration;
use super::verdict::HandOver;

mod course;
mod hand_over;

use course::{Course, Step};
pub use hand_over::hand_over;

/// The nodes that have each volume, by its PersistentVolume.
pub type Holders = BTreeMap<String, BTreeSet<String>>;

/// What a look shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Who has what.
    pub holders: Holders,
    /// Every migration of the [namespaces that matter](Migrations::namespaces). One whose list
    /// was not read whole is not among them.
    pub migrations: BTreeMap<String, Vec<Migration>>,
}

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
    /// The machine has arrived, whoever has the volume by now.
    Completed {
        /// How long both had it.
        after: Duration,
    },
    /// The machine has not arrived, or what has arrived does not run.
    Failed {
        /// How long both had it.
        after: Duration,
        /// Who has it then.
        left: Left,
    },
}

/// Which of two nodes has a volume once a migration has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The target, as where a post-copy breaks off.
    Target,
    /// The source, or neither: the target has let go.
    Source,
    /// Both: the next migration began before the target had let go.
    Both,
}

impl Migrations {
    /// How many there are.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// The namespaces whose migrations are to be read with a look: how those that are followed
    /// went is seen there.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        let all = self.active.values();
        all.map(|course| course.namespace().to_owned()).collect()
    }

    /// The volumes that two nodes have and of which it is not known for what, or may be for
    /// another migration by now.
    #[must_use]
    pub fn unknown(&self, seen: &Seen) -> Vec<String> {
        let two = seen.holders.iter().filter(|(_, nodes)| nodes.len() == 2);
        let is_known = |(volume, nodes): &(&String, &BTreeSet<String>)| {
            let course = self.active.get(*volume);
            match course.filter(|course| course.is_between(nodes)) {
                Some(course) => !course.may_be_followed(seen),
                None => self.others.get(*volume) == Some(*nodes),
            }
        };
        two.filter(|held| !is_known(held))
            .map(|(volume, _)| volume.clone())
            .collect()
    }

    /// Takes a look in, with what was found out about the [unknown](Self::unknown) volumes.
    /// `now` is the time since any moment, always the same.
    pub fn look(
        &mut self,
        seen: &Seen,
        found: impl IntoIterator<Item = Found>,
        now: Duration,
    ) -> Vec<Told> {
        let mut told = Vec::new();
        let nobody = BTreeSet::new();
        let Seen { holders, .. } = seen;
        let found: Vec<Found> = found.into_iter().collect();
        let found_of = |volume: &str| {
            let found = found.iter().find(|found| found.volume == volume)?;
            found.hand_over.as_ref()
        };
        let earlier = self.earlier.get_or_insert_with(|| holders.clone());
        for known in [&mut *earlier, &mut self.others] {
            known.retain(|volume, nodes| holders.get(volume) == Some(nodes));
        }
        self.active.retain(|volume, course| {
            let nodes = holders.get(volume).unwrap_or(&nobody);
            let next = found_of(volume).filter(|next| course.is_followed_by(next, nodes, seen));
            let (change, is_over) = match course.look(nodes, next, seen, now) {
                Step::On(change) => (change, false),
                Step::Over(change) => (change, true),
            };
            if is_over {
                // What comes next begins before our eyes, on the same nodes as it may be.
                earlier.remove(volume);
            }
            told.extend(change.map(|change| Told {
                volume: volume.clone(),
                hand_over: course.hand_over.clone(),
                change,
            }));
            !is_over
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
        if self.active.contains_key(&volume) {
            return None;
        }
        let mut earlier = self.earlier.iter();
        let is_earlier = earlier.any(|earlier| earlier.contains_key(&volume));
        let before = if is_earlier { age } else { Duration::ZERO };
        let course = Course::new(hand_over.clone(), before, now);
        self.active.insert(volume.clone(), course);
        (!is_earlier).then_some(Told {
            volume,
            hand_over,
            change: Change::Started,
        })
    }
}

#[cfg(test)]
mod tests;
