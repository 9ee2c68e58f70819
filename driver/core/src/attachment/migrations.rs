//! Which volumes two nodes have for a live migration, and how each of these went.
//!
//! Everything here follows from looks at the cluster, and nothing is decided by it: a
//! migration is told to people and counted, and it ends when one of the two nodes is left,
//! whoever says whatever. Whoever begins to look in the middle sees the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::exception::Moment;
use super::judge::{Request, judge};
use super::mode::{Modes, Seat};
use super::observation::{Observations, Standing, Unread};
use super::verdict::{HandOver, Verdict};

/// Says for which live migration two nodes have a volume, if it is for one: what would be
/// said if one of the two asked again.
///
/// # Errors
/// [`Unread`] where a part is needed that is not known.
pub fn hand_over(seen: &Observations, now: &Moment) -> Result<Option<HandOver>, Unread> {
    let holders: BTreeSet<&str> = seen
        .attachments
        .iter()
        .filter(|standing| standing.holds())
        .map(|standing| standing.attachment.node.as_str())
        .collect();
    let (2, Some(node)) = (holders.len(), holders.last()) else {
        return Ok(None);
    };
    let is_other = |standing: &&Standing| standing.attachment.node != *node;
    let others = Observations {
        attachments: seen.attachments.iter().filter(is_other).cloned().collect(),
        ..seen.clone()
    };
    let request = Request {
        node,
        access: None,
        seat: Seat::Driver,
        modes: &Modes::default(),
        now,
    };
    match judge(&request, &others).verdict {
        Verdict::AllowAsMigration(hand_over) => Ok(Some(hand_over)),
        Verdict::Unknown(unread) => Err(unread),
        Verdict::Allow(_) | Verdict::Deny(_) => Ok(None),
    }
}

/// The nodes that have each volume, by its PersistentVolume.
pub type Holders = BTreeMap<String, BTreeSet<String>>;

/// What two nodes have volumes for, by PersistentVolume.
#[derive(Debug, Default)]
pub struct Migrations {
    active: BTreeMap<String, Course>,
    /// What is for no migration, with the nodes that have it: it is asked about again when
    /// these change.
    others: Holders,
}

#[derive(Debug)]
struct Course {
    hand_over: HandOver,
    since: Duration,
    is_long: bool,
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
    /// The target is left.
    Completed {
        /// How long both had it.
        after: Duration,
    },
    /// The target is not left.
    Failed {
        /// How long both had it.
        after: Duration,
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

    /// Takes a look in: who has what, and for which migrations the unknown ones are, or that
    /// they are for none. `now` is the time since any moment, always the same.
    pub fn look(
        &mut self,
        holders: &Holders,
        found: impl IntoIterator<Item = (String, Option<HandOver>)>,
        now: Duration,
    ) -> Vec<Told> {
        let mut told = Vec::new();
        let nobody = BTreeSet::new();
        self.others
            .retain(|volume, nodes| holders.get(volume) == Some(nodes));
        self.active.retain(|volume, course| {
            let nodes = holders.get(volume).unwrap_or(&nobody);
            let change = course.look(nodes, now);
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
        for (volume, hand_over) in found {
            let Some(hand_over) = hand_over else {
                if let Some(nodes) = holders.get(&volume) {
                    self.others.insert(volume, nodes.clone());
                }
                continue;
            };
            told.push(Told {
                volume: volume.clone(),
                hand_over: hand_over.clone(),
                change: Change::Started,
            });
            let course = Course {
                hand_over,
                since: now,
                is_long: false,
            };
            self.active.insert(volume, course);
        }
        told
    }
}

impl Course {
    fn look(&mut self, nodes: &BTreeSet<String>, now: Duration) -> Option<Change> {
        let HandOver {
            source,
            target,
            timeout,
            ..
        } = &self.hand_over;
        let after = now.saturating_sub(self.since);
        match (nodes.contains(source), nodes.contains(target)) {
            (true, true) if !self.is_long && timeout.is_some_and(|most| after > most) => {
                self.is_long = true;
                Some(Change::TakesLong { after })
            }
            (true, true) => None,
            (false, true) => Some(Change::Completed { after }),
            (_, false) => Some(Change::Failed { after }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::judge::tests::sample::{Change as Cluster, cluster};
    use crate::attachment::observation::Part;

    const PV: &str = "pv";

    fn move_to(target: &str) -> HandOver {
        HandOver {
            migration: "vms/move".to_owned(),
            uid: "move-uid".to_owned(),
            machine: "web".to_owned(),
            source: "a".to_owned(),
            target: target.to_owned(),
            timeout: Some(Duration::from_secs(60)),
        }
    }

    fn have(nodes: &[&str]) -> Holders {
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        [(PV.to_owned(), nodes)].into()
    }

    fn look(migrations: &mut Migrations, nodes: &[&str], at: u64) -> Vec<Change> {
        let holders = have(nodes);
        let found: Vec<_> = migrations
            .unknown(&holders)
            .into_iter()
            .map(|volume| (volume, Some(move_to(nodes[1]))))
            .collect();
        let told = migrations.look(&holders, found, Duration::from_secs(at));
        told.into_iter().map(|told| told.change).collect()
    }

    #[test]
    fn a_migration_is_told_when_it_begins_and_when_it_ends_and_once_when_it_is_long() {
        let mut migrations = Migrations::default();
        assert_eq!(look(&mut migrations, &["a"], 0), []);
        assert_eq!(look(&mut migrations, &["a", "b"], 5), [Change::Started]);
        assert_eq!(look(&mut migrations, &["a", "b"], 65), []);
        let after = Duration::from_secs(61);
        assert_eq!(
            look(&mut migrations, &["a", "b"], 66),
            [Change::TakesLong { after }]
        );
        assert_eq!(look(&mut migrations, &["a", "b"], 90), []);
        assert_eq!(migrations.active(), 1);
        let after = Duration::from_secs(95);
        assert_eq!(
            look(&mut migrations, &["b"], 100),
            [Change::Completed { after }]
        );
        assert_eq!(migrations.active(), 0);
    }

    #[test]
    fn one_that_leaves_the_source_or_nobody_has_failed() {
        let after = Duration::from_secs(5);
        for left in [&["a"][..], &[]] {
            let mut migrations = Migrations::default();
            look(&mut migrations, &["a", "b"], 0);
            assert_eq!(look(&mut migrations, left, 5), [Change::Failed { after }]);
        }
    }

    #[test]
    fn two_back_to_back_are_two() {
        let mut migrations = Migrations::default();
        look(&mut migrations, &["a", "b"], 0);
        let after = Duration::from_secs(5);
        assert_eq!(
            look(&mut migrations, &["b", "c"], 5),
            [Change::Completed { after }]
        );
        assert_eq!(look(&mut migrations, &["b", "c"], 10), [Change::Started]);
    }

    #[test]
    fn what_is_for_no_migration_is_asked_about_again_when_its_nodes_change() {
        let mut migrations = Migrations::default();
        let (first, second) = (have(&["a", "b"]), have(&["a", "c"]));
        assert_eq!(migrations.unknown(&first), [PV]);
        let none = [(PV.to_owned(), None)];
        assert_eq!(migrations.look(&first, none.clone(), Duration::ZERO), []);
        assert_eq!(migrations.unknown(&first), [""; 0]);
        assert_eq!(migrations.unknown(&second), [PV]);
        migrations.look(&second, [], Duration::ZERO);
        assert_eq!(migrations.unknown(&first), [PV]);
    }

    #[test]
    fn what_two_nodes_have_a_volume_for_is_judged_from_either() {
        let now = Moment::last();
        let moving = cluster(&[Cluster::Has("b")]);
        let found = hand_over(&moving, &now).unwrap().unwrap();
        assert_eq!((found.source.as_str(), found.target.as_str()), ("a", "b"));
        assert_eq!(hand_over(&cluster(&[]), &now), Ok(None));
        assert_eq!(
            hand_over(&cluster(&[Cluster::Has("b"), Cluster::NoLabel]), &now),
            Ok(None)
        );
        let unread = Observations {
            pods: Default::default(),
            ..moving
        };
        let unread = hand_over(&unread, &now).unwrap_err();
        assert_eq!((unread.part, unread.why), (Part::Pods, None));
    }
}
