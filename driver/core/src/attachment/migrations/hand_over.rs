//! For which live migration two nodes have a volume.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::super::exception::Moment;
use super::super::judge::{Request, judge};
use super::super::mode::{Modes, Seat};
use super::super::observation::{KubeVirt, Migration, Observations, Part, Standing, Unread};
use super::super::pod::{OfMachine, Pod};
use super::super::verdict::{HandOver, Verdict};

/// Says for which live migration two nodes have a volume, if it is for one: what would be
/// said if one of the two asked again, and where that is no because the migration is over, what
/// the pod says that was made for it. `younger` is the node whose attachment is the younger one,
/// where that is known: nobody moves to the other, unless both had the volume when the migration
/// was made already, as where a machine goes back at once to a node that has not let go, and none
/// was made since that goes there again.
///
/// # Errors
/// [`Unread`] where a part is needed that is not known.
pub fn hand_over(
    seen: &Observations,
    younger: Option<&str>,
    now: &Moment,
) -> Result<Option<HandOver>, Unread> {
    let holders: BTreeSet<&str> = seen
        .attachments
        .iter()
        .filter(|standing| standing.holds())
        .map(|standing| standing.attachment.node.as_str())
        .collect();
    let mut nodes = holders.iter().copied();
    let (2, Some(first), Some(node)) = (holders.len(), nodes.next(), nodes.next()) else {
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
        Verdict::Allow(_) => Ok(None),
        Verdict::Deny(_) => {
            let (there, back) = (past(seen, first, node)?, past(seen, node, first)?);
            Ok(likely([there, back], seen, younger))
        }
    }
}

/// A migration that a pod was made for, and its object if that is there.
struct Past<'a> {
    hand_over: HandOver,
    object: Option<&'a Migration>,
}

/// Which one of two migrations, one each way, two nodes have the volume for.
fn likely(
    ways: [Option<Past<'_>>; 2],
    seen: &Observations,
    younger: Option<&str>,
) -> Option<HandOver> {
    let mut found: Vec<Past<'_>> = ways.into_iter().flatten().collect();
    if let Some(younger) = younger {
        let holders = seen.attachments.iter().filter(|standing| standing.holds());
        let attached = holders.filter_map(|standing| standing.attachment.created);
        let is_there = |past: &Past<'_>| past.hand_over.target == younger;
        // And it may have gone there once more.
        let there = found.iter().filter(|past| is_there(past));
        let there = there.filter_map(|past| past.object?.created);
        let since = attached.chain(there).max();
        let is_later = |past: &Past<'_>| {
            let object = past.object;
            object.is_some_and(|object| object.is_later_than(since))
        };
        let goes_back = found.iter().any(|past| !is_there(past) && is_later(past));
        found.retain(|past| is_there(past) != goes_back);
    }
    // Where both could be the target, nobody knows.
    let last = found.pop().filter(|_| found.is_empty());
    last.map(|past| past.hand_over)
}

/// The migration that a pod on the target was made for, whatever has become of it.
fn past<'a>(
    seen: &'a Observations,
    source: &str,
    target: &str,
) -> Result<Option<Past<'a>>, Unread> {
    let pods = seen.pods.whole(Part::Pods)?;
    let KubeVirt::Present { migrations, .. } = seen.kubevirt.whole(Part::KubeVirt)? else {
        return Ok(None);
    };
    let there = seen.users(target)?;
    let there = if there.is_empty() {
        ended(seen, pods, target)
    } else {
        there
    };
    let object_of = |uid: &str| migrations.iter().find(|found| found.uid == uid);
    let made = there.into_iter().filter_map(|pod| {
        let part = OfMachine::by(pods, pod)?;
        let made_for = part.migration?;
        Some((&pod.namespace, part, made_for, object_of(made_for)))
    });
    // Pods that have ended stay, those of the migrations before among them.
    let last = made.min_by_key(|(_, _, _, found)| Reverse(found.and_then(|found| found.created)));
    let Some((namespace, part, made_for, object)) = last else {
        return Ok(None);
    };
    let moves_another = object.is_some_and(|found| found.machine != part.name);
    // The halves of a decentralised one are two machines.
    let is_one = object.is_none_or(|found| found.decentralised.is_none());
    let is_stranger = |pod: &&Pod| {
        OfMachine::by(pods, pod).is_none_or(|other| is_one && other.machine != part.machine)
    };
    if moves_another || seen.users(source)?.iter().any(is_stranger) {
        return Ok(None);
    }
    let name = object.map_or(made_for, |found| &found.name);
    let hand_over = HandOver {
        migration: format!("{namespace}/{name}"),
        uid: made_for.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        timeout: seen.volume.migration_timeout,
    };
    Ok(Some(Past { hand_over, object }))
}

/// The pods of the claim on a node that have ended.
fn ended<'a>(seen: &Observations, pods: &'a [Pod], node: &str) -> Vec<&'a Pod> {
    let claim = seen.volume.claim.as_ref();
    let used = |pod: &&Pod| claim.is_some_and(|claim| pod.uses(claim)) && pod.node == node;
    let over = |pod: &&Pod| pod.phase.is_over();
    pods.iter().filter(used).filter(over).collect()
}
