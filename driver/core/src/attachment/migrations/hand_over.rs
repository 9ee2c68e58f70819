//! For which live migration two nodes have a volume.

use std::collections::BTreeSet;

use super::super::exception::Moment;
use super::super::judge::{Request, judge};
use super::super::mode::{Modes, Seat};
use super::super::observation::{KubeVirt, Observations, Part, Standing, Unread};
use super::super::pod::{OfMachine, Pod};
use super::super::verdict::{HandOver, Verdict};

/// Says for which live migration two nodes have a volume, if it is for one: what would be
/// said if one of the two asked again, and where that is no because the migration is over, what
/// the pod says that was made for it. `younger` is the node whose attachment is the younger one,
/// where that is known: nobody moves to the other.
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
            let ways = [(first, node), (node, first)];
            let possible = ways
                .into_iter()
                .filter(|(_, target)| younger.is_none_or(|younger| younger == *target));
            let mut found = Vec::new();
            for (source, target) in possible {
                found.extend(past(seen, source, target)?);
            }
            // Where both could be the target, nobody knows.
            Ok(found.pop().filter(|_| found.is_empty()))
        }
    }
}

/// The migration that a pod on the target was made for, whatever has become of it.
fn past(seen: &Observations, source: &str, target: &str) -> Result<Option<HandOver>, Unread> {
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
    let found = there.into_iter().find_map(|pod| {
        let part = OfMachine::by(pods, pod)?;
        Some((&pod.namespace, part, part.migration?))
    });
    let Some((namespace, part, made_for)) = found else {
        return Ok(None);
    };
    let migration = migrations.iter().find(|found| found.uid == made_for);
    let moves_another = migration.is_some_and(|found| found.machine != part.name);
    // The halves of a decentralised one are two machines.
    let is_one = migration.is_none_or(|found| found.decentralised.is_none());
    let is_stranger = |pod: &&Pod| {
        OfMachine::by(pods, pod).is_none_or(|other| is_one && other.machine != part.machine)
    };
    if moves_another || seen.users(source)?.iter().any(is_stranger) {
        return Ok(None);
    }
    let name = migration.map_or(made_for, |found| &found.name);
    Ok(Some(HandOver {
        migration: format!("{namespace}/{name}"),
        uid: made_for.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        timeout: seen.volume.migration_timeout,
    }))
}

/// The pods of the claim on a node that have ended.
fn ended<'a>(seen: &Observations, pods: &'a [Pod], node: &str) -> Vec<&'a Pod> {
    let claim = seen.volume.claim.as_ref();
    let used = |pod: &&Pod| claim.is_some_and(|claim| pod.uses(claim)) && pod.node == node;
    let over = |pod: &&Pod| pod.phase.is_over();
    pods.iter().filter(used).filter(over).collect()
}
