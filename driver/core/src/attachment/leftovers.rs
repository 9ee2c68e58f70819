//! VolumeAttachments of nodes that exist no more, and which of them are to be cleared.
//!
//! Whoever removes a node removes no attachment with it. Kubernetes' attach-detach controller
//! deletes what is left six minutes later, or never where forced detachment is switched off or
//! it does not know of the attachment; until then no other node gets the volume.
//!
//! A node that was not seen once may be one that registers anew, so it must have been away in
//! every look for a while ([`Pace::age`]), by a clock that nobody sets. A look that could not
//! be taken proves nothing, neither before nor after it, and a hole in the looks begins anew.
//! Nothing here judges whether a node has let go: what is cleared is only asked to leave, and
//! [`super::release()`] says whether it may. An attachment that is leaving already is never
//! touched, only told of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::exception::Moment;
use super::observation::{Claim, Pod, Role, VolumeAttachment};
use crate::names::is_object_name;

/// How patiently is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long until the next look.
    pub look: Duration,
    /// For how long a node must have been away before its attachments are cleared. At the
    /// same time one that is leaving is told to hang.
    pub age: Duration,
    /// How long two looks may be apart and still be of one absence. Shorter than `age`, so
    /// that two looks at least have shown it.
    pub gap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(60),
            age: Duration::from_secs(600),
            gap: Duration::from_secs(180),
        }
    }
}

/// What a look has shown; every part of it was read whole.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// Every VolumeAttachment of the driver.
    pub attachments: &'a [VolumeAttachment],
    /// The name of every node, read after the attachments.
    pub nodes: &'a BTreeSet<String>,
    /// When reading began, since any moment, always the same.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// The same for people.
    pub at: Moment,
}

/// A VolumeAttachment of a node that exists no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The attachment.
    pub attachment: VolumeAttachment,
    /// When its node was first seen to be away.
    pub since: Moment,
    /// For how long that has been so, at least.
    pub after: Duration,
}

/// What follows for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is to be cleared unless something is [`in_the_way`].
    Clear,
    /// It was cleared: the answer to that was lost, and now it is going or gone.
    Cleared,
    /// It has been leaving for long and is still there. Said once.
    Hangs,
}

/// The attachments whose nodes are away, by their UIDs.
#[derive(Debug, Default)]
pub struct Leftovers {
    pace: Pace,
    missing: BTreeMap<String, Missing>,
}

#[derive(Debug, Clone)]
struct Missing {
    found: Leftover,
    since: Duration,
    /// When the last look began.
    looked: Duration,
    /// Since when it is seen to leave.
    leaving: Option<Duration>,
    /// Whether it was cleared and nobody said so.
    is_unanswered: bool,
    is_told: bool,
}

impl Leftovers {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        let missing = BTreeMap::new();
        Self { pace, missing }
    }

    /// How many there are, of any age.
    #[must_use]
    pub fn count(&self) -> usize {
        self.missing.len()
    }

    /// Takes a look in, and says what follows. Where one is to be cleared that is said at
    /// each look until it is gone.
    pub fn look(&mut self, seen: &Seen<'_>) -> Vec<(Leftover, Step)> {
        let mut before = std::mem::take(&mut self.missing);
        // Whoever asks runs on a node: a cluster without any was not read, whatever it says.
        if seen.nodes.is_empty() {
            return Vec::new();
        }
        let mut steps = Vec::new();
        let is_left = |found: &&VolumeAttachment| is_leftover(found, seen.nodes);
        for attachment in seen.attachments.iter().filter(is_left) {
            let known = before.remove(&attachment.uid);
            let mut missing = Missing::seen_again(known, attachment, seen, self.pace.gap);
            let step = missing.next(seen, self.pace.age);
            steps.extend(step.map(|step| (missing.found.clone(), step)));
            self.missing.insert(attachment.uid.clone(), missing);
        }
        let is_going = |uid: &String| {
            let mut all = seen.attachments.iter();
            all.find(|found| found.uid == *uid)
                .is_none_or(|found| found.leaving)
        };
        let answered = before
            .into_iter()
            .filter(|(uid, missing)| missing.is_unanswered && is_going(uid))
            .map(|(_, missing)| (missing.found, Step::Cleared));
        steps.extend(answered);
        steps
    }

    /// One was cleared, and the answer came or not. Where it did not, that is told once it is
    /// seen to be so.
    pub fn answered(&mut self, uid: &str, is_answered: bool) {
        if let Some(missing) = self.missing.get_mut(uid) {
            missing.is_unanswered = !is_answered;
        }
    }

    /// Whether people are to be told now that one stays, which they are once.
    pub fn is_news(&mut self, uid: &str) -> bool {
        let missing = self.missing.get_mut(uid);
        missing.is_some_and(|missing| !std::mem::replace(&mut missing.is_told, true))
    }
}

impl Missing {
    fn seen_again(
        known: Option<Self>,
        attachment: &VolumeAttachment,
        seen: &Seen<'_>,
        gap: Duration,
    ) -> Self {
        let mut missing = known.unwrap_or_else(|| Self::first(attachment, seen));
        if seen.ended.saturating_sub(missing.looked) > gap {
            // The node may have been there meanwhile. What was done and told stays so.
            missing.since = seen.ended;
            missing.found.since = seen.at.clone();
        }
        missing.looked = seen.began;
        missing.found.attachment = attachment.clone();
        // From the end of the first look to the beginning of this one, and so not shorter
        // than it was.
        missing.found.after = seen.began.saturating_sub(missing.since);
        missing
    }

    fn first(attachment: &VolumeAttachment, seen: &Seen<'_>) -> Self {
        Self {
            found: Leftover {
                attachment: attachment.clone(),
                since: seen.at.clone(),
                after: Duration::ZERO,
            },
            since: seen.ended,
            looked: seen.began,
            leaving: None,
            is_unanswered: false,
            is_told: false,
        }
    }

    fn next(&mut self, seen: &Seen<'_>, age: Duration) -> Option<Step> {
        if !self.found.attachment.leaving {
            self.leaving = None;
            return (self.found.after >= age).then_some(Step::Clear);
        }
        let leaving = *self.leaving.get_or_insert_with(|| {
            self.is_told = false;
            seen.ended
        });
        if std::mem::take(&mut self.is_unanswered) {
            return Some(Step::Cleared);
        }
        let hangs = seen.began.saturating_sub(leaving) >= age;
        (hangs && !std::mem::replace(&mut self.is_told, true)).then_some(Step::Hangs)
    }
}

/// What names no PersistentVolume, or a node that cannot be, was not made by Kubernetes: it is
/// not understood, and stays.
fn is_leftover(attachment: &VolumeAttachment, nodes: &BTreeSet<String>) -> bool {
    !nodes.contains(&attachment.node)
        && is_object_name(&attachment.node)
        && !attachment.persistent_volume.is_empty()
}

/// The pod that keeps an attachment to `node` from being cleared, of `pods`, which are all
/// that stand there: one of the claim, in whatever phase, or a machine's, which has
/// hot-plugged disks without naming them. Of a volume without a claim nobody knows the pods,
/// so each that uses any claim counts.
#[must_use]
pub fn in_the_way<'a>(node: &str, claim: Option<&Claim>, pods: &'a [Pod]) -> Option<&'a Pod> {
    let is_machine = |pod: &Pod| matches!(pod.role, Role::Launcher { .. });
    let keeps = |pod: &Pod| match claim {
        Some(claim) => pod.uses(claim) || (is_machine(pod) && pod.namespace == claim.namespace),
        None => is_machine(pod) || !pod.claims.is_empty(),
    };
    pods.iter().find(|pod| pod.node == node && keeps(pod))
}

#[cfg(test)]
mod tests;
