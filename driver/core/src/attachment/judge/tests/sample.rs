//! A machine on node a that migrates to b, and what may be different about it.

use super::*;
use crate::attachment::observation::{Claim, VolumeAttachment};
use crate::attachment::pod::Pod;
use crate::attachment::verdict::HandOver;

pub(in crate::attachment) const NOW: &str = "2026-06-01T12:00:00Z";

/// What differs from the sample.
#[derive(Debug, Clone)]
pub(in crate::attachment) enum Change {
    Phase(&'static str),
    Aborting,
    NoMigration,
    MovesAnother,
    NoMachine,
    MachineOver,
    NoLabel,
    AnotherMachine,
    Joined,
    SenderOver,
    BesideOther(&'static str),
    Beside(&'static str, Role),
    NoPodOn(&'static str),
    PodLeaving(&'static str),
    PodOver(&'static str),
    KubeVirt(KubeVirt),
    KubeVirtUnread,
    PodsUnread,
    NodeUnread(&'static str),
    NotReady(&'static str),
    Tainted(&'static str),
    NoNode(&'static str),
    Attached(&'static str, bool),
    Granted(&'static str, bool),
    Leaving(&'static str),
    Wish(&'static str),
    Has(&'static str),
    Modes(&'static [&'static str]),
    Filesystem,
    NoClaim,
    Exception(&'static str),
    HotPlugged,
    NoLauncher,
    Swapped,
}

pub(in crate::attachment) fn standing(node: &str) -> Standing {
    Standing {
        attachment: VolumeAttachment {
            name: format!("va-{node}"),
            uid: format!("uid-{node}"),
            node: node.to_owned(),
            persistent_volume: "pv".to_owned(),
            attached: true,
            leaving: false,
            created: None,
        },
        granted: true,
    }
}

fn wish(node: &str) -> Standing {
    let mut wish = standing(node);
    wish.attachment.attached = false;
    wish.granted = false;
    wish
}

pub(in crate::attachment) fn pod(name: &str, node: &str, role: Role) -> Pod {
    Pod {
        namespace: "vms".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        node: node.to_owned(),
        phase: Phase::Running,
        leaving: false,
        role,
        migration: None,
        claims: vec!["root".to_owned()],
    }
}

fn launcher(node: &str, machine: &str) -> Pod {
    pod(&format!("launcher-{node}"), node, part_of(machine))
}

/// The role of the pod of a machine that is called like its UID.
pub(super) fn part_of(machine: &str) -> Role {
    Role::Launcher {
        machine: machine.to_owned(),
        name: machine.trim_start_matches("uid-").to_owned(),
    }
}

fn machine(name: &str, uid: &str) -> Machine {
    Machine {
        namespace: "vms".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        is_over: false,
    }
}

fn migration(name: &str, machine: &str) -> Migration {
    Migration {
        namespace: "vms".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        machine: machine.to_owned(),
        phase: "Scheduling".to_owned(),
        leaving: false,
        decentralised: None,
        created: None,
    }
}

/// What the migration of the sample is.
pub(in crate::attachment) fn on_way() -> HandOver {
    HandOver {
        migration: "vms/mig".to_owned(),
        uid: "uid-mig".to_owned(),
        source: "a".to_owned(),
        target: "b".to_owned(),
        timeout: None,
    }
}

/// The sample: a has the volume, b wishes for it.
pub(in crate::attachment) fn cluster(changes: &[Change]) -> Observations {
    let node = Node {
        ready: true,
        ..Node::default()
    };
    let mut target = launcher("b", "uid-vm");
    target.migration = Some("uid-mig".to_owned());
    let mut seen = Observations {
        volume: Volume {
            persistent_volume: "pv".to_owned(),
            claim: Some(Claim {
                namespace: "vms".to_owned(),
                name: "root".to_owned(),
            }),
            access_modes: vec!["ReadWriteMany".to_owned()],
            is_block: true,
            ..Volume::default()
        },
        attachments: vec![standing("a"), wish("b")],
        nodes: ["a", "b", "c"]
            .map(|name| (name.to_owned(), Reading::Complete(Some(node))))
            .into(),
        pods: Reading::Complete(vec![launcher("a", "uid-vm"), target]),
        kubevirt: Reading::Complete(KubeVirt::Present {
            machines: vec![machine("vm", "uid-vm"), machine("vm-other", "uid-vm-other")],
            migrations: vec![migration("mig", "vm")],
        }),
    };
    for change in changes {
        apply(&mut seen, change);
    }
    seen
}

fn apply(seen: &mut Observations, change: &Change) {
    match change {
        Change::Attached(node, is) => the(seen, node).attachment.attached = *is,
        Change::Granted(node, is) => the(seen, node).granted = *is,
        Change::Leaving(node) => the(seen, node).attachment.leaving = true,
        Change::Wish(node) => seen.attachments.push(wish(node)),
        Change::Has(node) => seen.attachments.push(standing(node)),
        Change::Modes(modes) => {
            seen.volume.access_modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
        }
        Change::Filesystem => seen.volume.is_block = false,
        Change::NoClaim => seen.volume.claim = None,
        Change::Exception(text) => seen.volume.exception = Some((*text).to_owned()),
        Change::Swapped => {
            let pods = pods(seen);
            pods[0].node = "b".to_owned();
            pods[1].node = "a".to_owned();
        }
        Change::NodeUnread(name) => {
            let unread = Reading::Failed("timed out".to_owned());
            seen.nodes.insert((*name).to_owned(), unread);
        }
        Change::NoNode(name) => {
            seen.nodes
                .insert((*name).to_owned(), Reading::Complete(None));
        }
        Change::NotReady(name) => node(seen, name).ready = false,
        Change::Tainted(name) => node(seen, name).out_of_service = true,
        Change::KubeVirt(kubevirt) => seen.kubevirt = Reading::Complete(kubevirt.clone()),
        Change::KubeVirtUnread => seen.kubevirt = Reading::NotYet,
        Change::PodsUnread => seen.pods = Reading::NotYet,
        other => apply_to_pods(seen, other),
    }
}

fn apply_to_pods(seen: &mut Observations, change: &Change) {
    match change {
        Change::NoLabel => pods(seen)[1].migration = None,
        Change::AnotherMachine => {
            pods(seen)[0].role = part_of("uid-vm-other");
        }
        Change::Beside(node, role) => {
            let beside = pod(&format!("beside-{node}"), node, role.clone());
            pods(seen).insert(0, beside);
        }
        Change::BesideOther(node) => {
            let mut beside = launcher(node, "uid-vm-other");
            beside.uid = "uid-beside".to_owned();
            beside.migration = Some("uid-mig".to_owned());
            pods(seen).push(beside);
        }
        Change::NoPodOn(node) => pods(seen).retain(|pod| pod.node != *node),
        Change::PodLeaving(node) => on(seen, node).leaving = true,
        Change::PodOver(node) => on(seen, node).phase = Phase::Over,
        Change::HotPlugged => hot_plug(pods(seen)),
        Change::NoLauncher => pods(seen).retain(|pod| pod.name != "launcher-a"),
        other => apply_to_kubevirt(seen, other),
    }
}

/// The launchers use another claim, and a pod for each of them has the volume.
fn hot_plug(pods: &mut Vec<Pod>) {
    for launcher in pods.clone() {
        let uid = launcher.uid.clone();
        let name = format!("hp-{}", launcher.node);
        let mut plugged = pod(&name, &launcher.node, Role::HotPlug { launcher: uid });
        plugged.migration = launcher.migration;
        pods.push(plugged);
    }
    for launcher in pods.iter_mut().take(2) {
        launcher.claims = vec!["another".to_owned()];
    }
}

fn apply_to_kubevirt(seen: &mut Observations, change: &Change) {
    let Reading::Complete(KubeVirt::Present {
        machines,
        migrations,
    }) = &mut seen.kubevirt
    else {
        panic!("{change:?} needs KubeVirt");
    };
    match change {
        Change::Phase(phase) => migrations[0].phase = (*phase).to_owned(),
        Change::Aborting => migrations[0].leaving = true,
        Change::NoMigration => migrations.clear(),
        Change::MovesAnother => migrations[0].machine = "vm-other".to_owned(),
        Change::NoMachine => machines.clear(),
        Change::MachineOver => machines[0].is_over = true,
        Change::Joined => {
            migrations.push(migration("sends", "vm-other"));
            for migration in migrations {
                migration.decentralised = Some("joint".to_owned());
            }
        }
        Change::SenderOver => migrations[1].phase = "Failed".to_owned(),
        other => panic!("{other:?} changes nothing"),
    }
}

fn the<'a>(seen: &'a mut Observations, node: &str) -> &'a mut Standing {
    let mut all = seen.attachments.iter_mut();
    all.find(|standing| standing.attachment.node == node)
        .unwrap()
}

fn node<'a>(seen: &'a mut Observations, name: &str) -> &'a mut Node {
    match seen.nodes.get_mut(name) {
        Some(Reading::Complete(Some(node))) => node,
        other => panic!("{other:?}"),
    }
}

fn pods(seen: &mut Observations) -> &mut Vec<Pod> {
    match &mut seen.pods {
        Reading::Complete(pods) => pods,
        other => panic!("{other:?}"),
    }
}

fn on<'a>(seen: &'a mut Observations, node: &str) -> &'a mut Pod {
    pods(seen).iter_mut().find(|pod| pod.node == node).unwrap()
}

pub(in crate::attachment) fn ask(
    seen: &Observations,
    node: &str,
    seat: Seat,
    modes: &Modes,
) -> Judgement {
    let now = Moment::from_str(NOW).unwrap();
    let request = Request {
        node,
        access: None,
        seat,
        modes,
        now: &now,
    };
    judge(&request, seen)
}
