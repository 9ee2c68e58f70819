//! What holds for every request and everything that may be observed.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::sample::{ask, cluster, part_of, pod, standing};
use super::*;
use crate::attachment::grant::{Grant, Observed, Record};
use crate::attachment::observation::Part;
use crate::attachment::verdict::LONGEST;

const NODES: [&str; 3] = ["a", "b", "c"];

fn attachments() -> impl Strategy<Value = Vec<Standing>> {
    let one = (select(&NODES[..]), any::<[bool; 3]>()).prop_map(
        |(node, [attached, granted, leaving])| {
            let mut one = standing(node);
            one.attachment.attached = attached;
            one.attachment.leaving = leaving;
            one.granted = granted;
            one
        },
    );
    proptest::collection::vec(one, 0..4)
}

fn node() -> impl Strategy<Value = Reading<Option<Node>>> {
    let there = any::<[bool; 3]>().prop_map(|[ready, out_of_service, in_use]| {
        Reading::Complete(Some(Node {
            ready,
            out_of_service,
            in_use,
            ..Node::default()
        }))
    });
    let working = Reading::Complete(Some(Node {
        ready: true,
        ..Node::default()
    }));
    prop_oneof![
        4 => Just(working),
        4 => there,
        1 => Just(Reading::Complete(None)),
        1 => Just(Reading::Failed("refused".to_owned())),
    ]
}

/// The role of a pod whose author names another machine than the one of that UID.
fn forged() -> Role {
    Role::Launcher {
        machine: "uid-vm".to_owned(),
        name: "vm-other".to_owned(),
    }
}

fn role() -> impl Strategy<Value = Role> {
    let hot_plug = Role::HotPlug {
        launcher: "uid-0".to_owned(),
    };
    prop_oneof![
        6 => Just(part_of("uid-vm")),
        1 => Just(part_of("uid-vm-other")),
        1 => Just(forged()),
        1 => Just(hot_plug),
        1 => Just(Role::Reader),
        1 => Just(Role::Writer),
        1 => Just(Role::Other),
    ]
}

type Drawn = (Role, &'static str, Phase, bool, bool);

fn pods() -> impl Strategy<Value = Vec<crate::attachment::pod::Pod>> {
    let phase = prop_oneof![
        Just(Phase::Running),
        Just(Phase::Pending),
        Just(Phase::Over)
    ];
    let one = (
        role(),
        select(&NODES[..]),
        phase,
        any::<bool>(),
        any::<bool>(),
    );
    let number = |(number, (role, node, phase, leaving, labelled)): (usize, Drawn)| {
        let mut one = pod(&number.to_string(), node, role);
        one.phase = phase;
        one.leaving = leaving;
        one.migration = labelled.then(|| "uid-mig".to_owned());
        one
    };
    let list = proptest::collection::vec(one, 0..5);
    list.prop_map(move |list| list.into_iter().enumerate().map(number).collect())
}

fn observations() -> impl Strategy<Value = Observations> {
    let modes = select(vec![
        "ReadWriteOnce",
        "ReadWriteMany",
        "ReadWriteMany",
        "ReadWriteMany",
    ]);
    let phase = select(vec!["", "Pending", "Running", "Succeeded", "Failed"]);
    let parts = (
        attachments(),
        [node(), node(), node()],
        pods(),
        modes,
        any::<bool>(),
        phase,
    );
    parts.prop_map(|(attachments, nodes, pods, mode, filesystem, phase)| {
        let mut seen = cluster(&[Change::Phase(phase)]);
        seen.attachments = attachments;
        seen.nodes = NODES.map(str::to_owned).into_iter().zip(nodes).collect();
        seen.pods = Reading::Complete(pods);
        seen.volume.access_modes = vec![mode.to_owned()];
        seen.volume.is_block = !(filesystem && mode == "ReadWriteOnce");
        seen
    })
}

/// KubeVirt as whoever asks for these machines sees it.
fn with_machines(kubevirt: &Reading<KubeVirt>, names: &BTreeSet<&str>) -> Reading<KubeVirt> {
    let mut seen = kubevirt.clone();
    if let Reading::Complete(KubeVirt::Present { machines, .. }) = &mut seen {
        machines.retain(|machine| names.contains(machine.name.as_str()));
    }
    seen
}

fn seat() -> impl Strategy<Value = Seat> {
    select(vec![Seat::Admission, Seat::Driver])
}

fn verdict(seen: &Observations, node: &str, seat: Seat) -> Verdict {
    ask(seen, node, seat, &Modes::default()).verdict
}

fn allows(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow(_) | Verdict::AllowAsMigration(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// One more attachment of another node opens no door.
    #[test]
    fn an_attachment_more_allows_nothing_more(seen in observations(), more in attachments(), node in select(&NODES[..])) {
        let before = verdict(&seen, node, Seat::Driver);
        let mut after = seen.clone();
        after.attachments.extend(more.into_iter().filter(|more| more.attachment.node != node));
        prop_assert!(allows(&before) || !allows(&verdict(&after, node, Seat::Driver)), "{before:?}");
    }

    /// The webhook lets nobody pass whom the driver refuses, and refuses nobody on top but for
    /// the sake of a wish that the driver would grant.
    #[test]
    fn the_webhook_refuses_what_the_driver_does_and_the_third_that_would_be(seen in observations(), node in select(&NODES[..])) {
        let [early, last] = [Seat::Admission, Seat::Driver].map(|seat| verdict(&seen, node, seat));
        prop_assert!(allows(&last) || !allows(&early), "{early:?}");
        if let (Verdict::Deny(_), true) = (&early, allows(&last)) {
            let would_be = NODES.into_iter().any(|other| {
                let is_its = |standing: &&Standing| standing.attachment.node == other;
                let own: Vec<_> = seen.attachments.iter().filter(is_its).collect();
                let is_wish = !own.is_empty() && !own.iter().all(|standing| standing.holds());
                other != node && is_wish && allows(&verdict(&seen, other, Seat::Driver))
            });
            prop_assert!(would_be, "{early:?}");
        }
    }

    /// Nor does a pod more that writes, where somebody asked before; but who reads waits for a node
    /// on which nobody is left, and with that pod somebody is.
    #[test]
    fn a_stranger_more_allows_nothing_more(seen in observations(), at in select(&NODES[..]), node in select(&NODES[..])) {
        let asks = seen.users(node).unwrap().iter().any(|pod| !pod.leaving);
        let before = verdict(&seen, node, Seat::Driver);
        let mut after = seen.clone();
        if let Reading::Complete(pods) = &mut after.pods && (asks || at != node) {
            pods.push(pod("stranger", at, Role::Other));
        }
        let after = verdict(&after, node, Seat::Driver);
        prop_assert!(allows(&before) || !allows(&after) || after.is_for_readers(), "{before:?}");
    }

    /// What was allowed and was carried out is allowed again, also once the migration that
    /// it was for is over.
    #[test]
    fn what_stands_is_allowed_again(seen in observations(), node in select(&NODES[..])) {
        let mut seen = seen;
        seen.attachments.retain(|standing| standing.attachment.node != node);
        if allows(&verdict(&seen, node, Seat::Driver)) {
            seen.attachments.push(standing(node));
            prop_assert_eq!(word(&verdict(&seen, node, Seat::Driver)), "stands");
            seen.kubevirt = Reading::Failed("refused".to_owned());
            seen.pods = Reading::NotYet;
            prop_assert_eq!(word(&verdict(&seen, node, Seat::Driver)), "stands");
        }
    }

    /// A yes that has not come true beside another node gives nobody the volume who would not get
    /// it now: its pods may be others by now.
    #[test]
    fn what_has_not_come_true_is_judged_anew(seen in observations(), node in select(&NODES[..])) {
        let with = |granted: bool| {
            let mut seen = seen.clone();
            for own in seen.attachments.iter_mut().filter(|found| found.attachment.node == node) {
                (own.attachment.attached, own.granted) = (false, granted);
            }
            verdict(&seen, node, Seat::Driver)
        };
        let (first, again) = (with(false), with(true));
        prop_assert_eq!(allows(&again), allows(&first), "{:?} {:?}", again, first);
    }

    /// Whatever is seen, an allowed node makes at most two, of which both work, and one
    /// for a volume for one node.
    #[test]
    fn at_most_two_and_the_other_works(seen in observations(), node in select(&NODES[..]), seat in seat()) {
        if allows(&verdict(&seen, node, seat)) {
            let others = NODES.into_iter().filter(|other| {
                let holds = |standing: &Standing| standing.attachment.node == *other && standing.holds();
                *other != node && seen.attachments.iter().any(holds)
            });
            let others: Vec<_> = others.collect();
            prop_assert!(others.len() <= usize::from(seen.volume.is_migratable()));
            let own = seen.attachments.iter().any(|own| own.attachment.node == node && own.attachment.attached);
            for other in others {
                prop_assert!(own || seen.node(other).unwrap().unwrap().ready);
            }
        }
    }

    /// Where nobody who writes is seen on the first node, one that the cluster has forgotten may
    /// still do so: no second writer gets in.
    #[test]
    fn nobody_writes_beside_a_node_whose_writer_is_not_seen(seen in observations(), node in select(&NODES[..])) {
        let mut seen = seen;
        seen.attachments.retain(|standing| standing.attachment.node != node);
        let holder = seen.attachments.iter().find(|standing| standing.holds());
        let holder = holder.map(|standing| standing.attachment.node.clone());
        let writes = |at: &str| seen.users(at).unwrap().iter().any(|pod| pod.role.writes());
        if let Some(holder) = holder && writes(node) && !writes(&holder) {
            prop_assert!(!allows(&verdict(&seen, node, Seat::Driver)), "{seen:?}");
        }
    }

    /// A yes that was written down makes the node's lasting attachment count, changes no
    /// other, and need not be written again.
    #[test]
    fn a_yes_that_is_written_down_holds(seen in observations(), node in select(&NODES[..])) {
        let mut seen = seen;
        seen.attachments.sort_by(|one, other| one.attachment.uid.cmp(&other.attachment.uid));
        seen.attachments.dedup_by(|one, other| one.attachment.uid == other.attachment.uid);
        let attachments: Vec<_> = seen.attachments.iter().map(|found| found.attachment.clone()).collect();
        let granted = seen.attachments.iter().filter(|found| found.granted);
        let granted: Vec<_> = granted.map(|found| found.attachment.uid.as_str()).collect();
        let observed = Observed {
            persistent_volume: "pv",
            record: Record::parse(&granted.join(",")),
            attachments: &attachments,
        };
        prop_assert_eq!(&observed.standing(), &seen.attachments);
        let after = match observed.grant(node, None, false) {
            Grant::Stands => observed.clone(),
            Grant::Write(record) => Observed { record, ..observed.clone() },
        };
        for (before, after) in observed.standing().iter().zip(after.standing()) {
            let is_own = before.attachment.node == node && !before.attachment.leaving;
            let granted = before.granted || is_own || before.attachment.attached;
            prop_assert_eq!(after.granted, granted);
        }
        prop_assert_eq!(after.grant(node, None, false), Grant::Stands);
    }

    /// A part that was not read is never taken for an empty one, and reading it later, of machines
    /// only those that are named, says nothing else than reading all at once; a wrong name lets
    /// nobody in.
    #[test]
    fn what_is_not_read_is_asked_for(seen in observations(), node in select(&NODES[..]), seat in seat()) {
        let at_once = verdict(&seen, node, seat);
        let mut lazy = Observations {
            nodes: Default::default(),
            pods: Reading::NotYet,
            kubevirt: Reading::NotYet,
            ..seen.clone()
        };
        for _ in 0..8 {
            let Verdict::Unknown(unread) = verdict(&lazy, node, seat) else { break };
            match unread.part {
                Part::Node(name) => drop(lazy.nodes.insert(name.clone(), seen.nodes[&name].clone())),
                Part::Pods => lazy.pods = seen.pods.clone(),
                Part::KubeVirt => lazy.kubevirt = with_machines(&seen.kubevirt, &lazy.machines().unwrap()),
            }
        }
        let lazy = verdict(&lazy, node, seat);
        let is_forged = seen.pods.whole(Part::Pods).unwrap().iter().any(|pod| pod.role == forged());
        prop_assert!(word(&lazy) == word(&at_once) || (is_forged && !allows(&lazy)), "{lazy:?}");
    }

    /// However long the names are, and whatever they are made of.
    #[test]
    fn a_refusal_is_bounded_and_its_command_harmless(name in "\\PC{1,900}", changes in select(vec![
        vec![Change::Has("c")], vec![Change::Modes(&["ReadWriteOnce"])], vec![Change::NoLabel],
        vec![Change::NotReady("a")], vec![Change::NoNode("a")], vec![Change::NoPodOn("b")],
        vec![Change::Tainted("a")], vec![Change::NotReady("a"), Change::Tainted("a")],
    ])) {
        let mut seen = cluster(&changes);
        for standing in &mut seen.attachments {
            standing.attachment.name = name.clone();
        }
        if let Reading::Complete(pods) = &mut seen.pods {
            pods.iter_mut().for_each(|pod| pod.name = name.clone());
        }
        let Verdict::Deny(denial) = verdict(&seen, "b", Seat::Driver) else { panic!("{changes:?}") };
        prop_assert!(denial.to_string().chars().count() <= LONGEST);
        let command = denial.next.rsplit("kubectl").next().unwrap();
        prop_assert!(!command.contains(['$', '`', ';', '\n', '|', '&']), "{command}");
    }
}
