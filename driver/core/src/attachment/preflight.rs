//! Whether a migration that somebody asks for can arrive: told when it is asked for.
//!
//! Without this, a migration whose target cannot have a disk hangs for a quarter of an hour
//! and then fails, with the reason in an event on a pod that is gone by then. The rule is
//! about what is there now; the target's attachments are judged when they are asked for.

use super::judge::{WayOut, name_in_command};
use super::observation::{Observations, Standing, Volume};
use super::verdict::{Denial, Object, Rule};

/// A disk of the machine that is to move, on a volume of this driver.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Its name in the machine.
    pub name: &'a str,
    /// What is known of its volume. Attachments are enough; nodes and pods make the answer
    /// more helpful.
    pub seen: &'a Observations,
    /// Whether KubeVirt copies it to another claim on the way, as in a volume migration
    /// (`status.migratedVolumes`): the target never has this volume then.
    pub copied: bool,
}

/// A disk that holds a migration up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("disk {disk}: {denial}")]
pub struct Obstacle {
    /// The disk's name in the machine.
    pub disk: String,
    /// What is wrong with it.
    pub denial: Denial,
}

/// Every disk that keeps a migration from arriving; none is best. Whether they are a refusal
/// or a warning is the caller's choice: an evacuation is never refused.
///
/// The two halves of a `decentralised` migration have claims of their own, so their disks
/// need not be for many nodes.
#[must_use]
pub fn preflight(decentralised: bool, disks: &[Disk<'_>]) -> Vec<Obstacle> {
    let shared = disks.iter().filter(|disk| !disk.copied);
    let obstacle = |disk: &Disk<'_>| {
        let denial = disk_denial(decentralised, disk.seen)?;
        Some(Obstacle {
            disk: disk.name.chars().take(63).collect(),
            denial,
        })
    };
    shared.filter_map(obstacle).collect()
}

fn disk_denial(decentralised: bool, seen: &Observations) -> Option<Denial> {
    let volume = &seen.volume;
    if !decentralised && !volume.is_migratable() {
        let mode = if volume.is_block {
            "Block"
        } else {
            "Filesystem"
        };
        return Some(Denial {
            rule: Rule::SingleNode,
            why: format!(
                "a live migration needs ReadWriteMany with volumeMode Block, and its volume has {} with {mode}",
                volume.access_modes.join(", ")
            ),
            object: claim_or_volume(seen),
            next: copy_it(volume),
            held: false,
        });
    }
    let (first, second) = two_nodes(&seen.attachments)?;
    let way_out = WayOut::of_several(seen, first, &[second]);
    Some(Denial {
        rule: Rule::TwoNodes,
        why: format!(
            "nodes {} and {} have its volume already, and the target would be a third",
            first.attachment.node, second.attachment.node
        ),
        object: way_out.object,
        // An attachment that was refused is asked for again, and a migration is not.
        next: way_out.once.unwrap_or(way_out.next),
        held: false,
    })
}

/// Two attachments to different nodes, if there are: the same two however they were listed. One
/// that is only wished for comes true in a moment, or is refused for as long as its pod waits.
fn two_nodes(attachments: &[Standing]) -> Option<(&Standing, &Standing)> {
    let mut all: Vec<&Standing> = attachments.iter().filter(|found| found.holds()).collect();
    all.sort_by(|one, other| one.attachment.node.cmp(&other.attachment.node));
    let [first, rest @ ..] = all.as_slice() else {
        return None;
    };
    let other = |standing: &&&Standing| standing.attachment.node != first.attachment.node;
    Some((first, rest.iter().find(other)?))
}

fn copy_it(volume: &Volume) -> String {
    let kubectl = match &volume.claim {
        Some(claim) => format!(
            "kubectl get pvc -n {} {} -o yaml",
            name_in_command(&claim.namespace),
            name_in_command(&claim.name)
        ),
        None => format!(
            "kubectl get pv {} -o yaml",
            name_in_command(&volume.persistent_volume)
        ),
    };
    format!(
        "Copy it to a claim that has both, with spec.updateVolumesStrategy: Migration, or stop the machine to move it. To begin a claim like it: {kubectl}"
    )
}

fn claim_or_volume(seen: &Observations) -> Object {
    match &seen.volume.claim {
        Some(claim) => Object {
            kind: "PersistentVolumeClaim",
            namespace: Some(claim.namespace.clone()),
            name: claim.name.clone(),
        },
        None => Object {
            kind: "PersistentVolume",
            namespace: None,
            name: seen.volume.persistent_volume.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::attachment::judge::tests::sample::{Change, cluster};
    use crate::attachment::observation::{Claim, Volume, VolumeAttachment};
    use crate::attachment::pod::Role;

    fn seen(modes: &[&str], is_block: bool, nodes: &[&str]) -> Observations {
        let standing = |node: &&str| Standing {
            attachment: VolumeAttachment {
                name: format!("va-{node}"),
                uid: format!("uid-{node}"),
                node: (*node).to_owned(),
                persistent_volume: "pv".to_owned(),
                attached: true,
                leaving: *node == "leaves",
                created: None,
            },
            granted: true,
        };
        Observations {
            volume: Volume {
                claim: Some(Claim {
                    namespace: "vms".to_owned(),
                    name: "root".to_owned(),
                }),
                access_modes: modes.iter().map(|mode| (*mode).to_owned()).collect(),
                is_block,
                ..Volume::default()
            },
            attachments: nodes.iter().map(standing).collect(),
            ..Observations::default()
        }
    }

    const MANY: &[&str] = &["ReadWriteMany"];
    const ONE: &[&str] = &["ReadWriteOnce"];

    #[rstest]
    #[case::fine(MANY, true, &["a"], None)]
    #[case::not_attached(MANY, true, &[], None)]
    #[case::twice_the_same(MANY, true, &["a", "a"], None)]
    #[case::for_one(ONE, true, &["a"], Some("PersistentVolumeClaim vms/root is in the way"))]
    #[case::filesystem(MANY, false, &["a"], Some("ReadWriteMany with Filesystem"))]
    #[case::two(MANY, true, &["a", "b"], Some("nodes a and b have its volume already"))]
    #[case::left_over(MANY, true, &["leaves", "b"], Some("VolumeAttachment va-leaves is in the way"))]
    #[case::left_over(MANY, true, &["a", "leaves"], Some("It is on its way out. Ask again once it is gone: kubectl wait --for=delete volumeattachment/va-leaves"))]
    fn a_disk_holds_a_migration_up(
        #[case] modes: &[&str],
        #[case] is_block: bool,
        #[case] nodes: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let seen = seen(modes, is_block, nodes);
        let disk = Disk {
            name: "disk0",
            seen: &seen,
            copied: false,
        };
        let found = preflight(false, &[disk]);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        if let (Some(obstacle), Some(part)) = (found.first(), expected) {
            let message = obstacle.to_string();
            assert!(!message.contains("by itself"), "{message}");
            assert!(
                message.starts_with("disk disk0: ") && message.contains(part),
                "{message}"
            );
        }
        let copied = Disk {
            copied: true,
            ..disk
        };
        assert_eq!(preflight(false, &[copied]), []);
    }

    #[test]
    fn every_disk_in_the_way_is_told_and_halves_need_not_be_for_many() {
        let (one, two) = (seen(ONE, true, &["a"]), seen(MANY, true, &["a", "b"]));
        let disks = [("x", &one), ("y", &two)].map(|(name, seen)| Disk {
            name,
            seen,
            copied: false,
        });
        let names = |found: Vec<Obstacle>| -> Vec<_> {
            found.into_iter().map(|obstacle| obstacle.disk).collect()
        };
        assert_eq!(names(preflight(false, &disks)), ["x", "y"]);
        assert_eq!(names(preflight(true, &disks)), ["y"]);
    }

    /// A pod that nobody reviewed waits for the volume, and is refused it.
    #[test]
    fn a_wish_holds_nothing_up() {
        let seen = cluster(&[Change::Wish("c")]);
        let disk = Disk {
            name: "disk0",
            seen: &seen,
            copied: false,
        };
        assert_eq!(preflight(false, &[disk]), []);
    }

    #[rstest]
    #[case::a_clone(&[Change::NoPodOn("b"), Change::Beside("b", Role::Reader)], "Pod vms/beside-b")]
    #[case::a_clone(&[Change::NoPodOn("a"), Change::Beside("a", Role::Reader)], "Pod vms/beside-a")]
    #[case::left_over(&[Change::NoPodOn("a")], "VolumeAttachment va-a")]
    #[case::on_its_way_out(&[Change::NoPodOn("a"), Change::Leaving("b")], "VolumeAttachment va-b")]
    #[case::two_machines(&[], "Pod vms/launcher-b")]
    #[case::a_promise(&[Change::Attached("a", false), Change::Attached("b", true)], "Pod vms/launcher-a")]
    #[case::lost(&[Change::NoPodOn("a"), Change::NotReady("a")], "Node a")]
    #[case::off(&[Change::NoPodOn("a"), Change::NotReady("a"), Change::Tainted("a")], "VolumeAttachment va-a")]
    fn the_machine_that_is_to_move_is_not_in_its_own_way(
        #[case] changes: &[Change],
        #[case] object: &str,
    ) {
        let mut seen = cluster(&[&[Change::Granted("b", true)], changes].concat());
        for _ in 0..2 {
            let disk = Disk {
                name: "disk0",
                seen: &seen,
                copied: false,
            };
            let told = preflight(false, &[disk])[0].to_string();
            let expected = format!("({object} is in the way)");
            assert!(told.contains("nodes a and b have"), "{told}");
            assert!(told.contains(&expected), "{told}");
            // Nobody asks for it a second time.
            assert!(!told.contains("It goes on "), "{told}");
            assert!(!told.contains("by itself"), "{told}");
            seen.attachments.reverse();
        }
    }
}
