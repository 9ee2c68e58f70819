//! For which live migration two nodes have a volume.

use std::collections::BTreeSet;

use super::super::exception::Moment;
use super::super::judge::{Request, judge};
use super::super::mode::{Modes, Seat};
use super::super::observation::{KubeVirt, Observations, Part, Standing, Unread};
use super::super::pod::{Pod, Role};
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
    let KubeVirt::Present {
        machines,
        migrations,
    } = seen.kubevirt.whole(Part::KubeVirt)?
    else {
        return Ok(None);
    };
    let there = seen.users(target)?;
    let there = if there.is_empty() {
        ended(seen, pods, target)
    } else {
        there
    };
    let found = there.into_iter().find_map(|pod| {
        let (uid, migration) = machine_of(pods, pod)?;
        Some((&pod.namespace, uid, migration?))
    });
    let Some((namespace, uid, made_for)) = found else {
        return Ok(None);
    };
    let machine = machines.iter().find(|machine| machine.uid == uid);
    let migration = migrations.iter().find(|found| found.uid == made_for);
    let pair = migration.zip(machine);
    let moves_another = pair.is_some_and(|(moves, machine)| moves.machine != machine.name);
    // The halves of a decentralised one are two machines.
    let is_one = migration.is_none_or(|found| found.decentralised.is_none());
    let is_stranger =
        |pod: &&Pod| machine_of(pods, pod).is_none_or(|(other, _)| is_one && other != uid);
    if moves_another || seen.users(source)?.iter().any(is_stranger) {
        return Ok(None);
    }
    let name = migration.map_or(made_for, |found| &found.name);
    Ok(Some(HandOver {
        migration: format!("{namespace}/{name}"),
        uid: made_for.to_owned(),
        machine: machine.map_or(uid, |machine| &machine.name).to_owned(),
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

/// The UID of the machine that a pod is part of, and that of the migration that it was made
/// for; those of a hot-plug pod are its launcher's.
fn machine_of<'a>(pods: &'a [Pod], pod: &'a Pod) -> Option<(&'a str, Option<&'a str>)> {
    let launcher = match &pod.role {
        Role::HotPlug { launcher } => pods.iter().find(|found| found.uid == *launcher)?,
        _ => pod,
    };
    let Role::Launcher { machine } = &launcher.role else {
        return None;
    };
    let migration = pod.migration.as_deref().or(launcher.migration.as_deref());
    Some((machine, migration))
}
