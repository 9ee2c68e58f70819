//! What is due for whom, and for every order of events that a lost node is shut out before
//! another one uses the volume.

use proptest::prelude::*;

use super::*;
use crate::attachment::grant::{Grant, VolumeAttachment};

fn attachment(node: &str, attached: bool) -> VolumeAttachment {
    VolumeAttachment {
        name: format!("va-{node}"),
        uid: format!("uid-{node}"),
        node: node.into(),
        persistent_volume: "pvc-1".into(),
        attached,
        leaving: false,
    }
}

fn fence(record: &str, attachments: &[VolumeAttachment], node: &str) -> Fence {
    let observed = Observed {
        persistent_volume: "pvc-1",
        record: Record::parse(record),
        attachments,
    };
    observed.fence(node)
}

fn left(node: &str) -> Lost {
    Lost {
        attachment: format!("uid-{node}"),
        node: node.to_owned(),
    }
}

#[test]
fn whoever_went_without_letting_go_is_shut_out_before_the_next_one() {
    let next = [attachment("b", false)];
    assert_eq!(fence("uid-b@b", &next, "b"), Fence::Clear);
    let due = Fence::Due {
        epoch: Epoch::of("uid-b uid-a"),
        record: Record::parse("uid-b@b"),
        lost: vec![left("a")],
    };
    assert_eq!(fence("uid-a@a,uid-b@b", &next, "b"), due);
    // An entry of an earlier release names no node.
    let old = fence("old,uid-b@b", &next, "b");
    assert_eq!(old, Fence::Clean(Record::parse("uid-b@b")));
    // Who is known to have let go is not.
    let released = fence("uid-a@a=released,uid-b@b", &next, "b");
    assert_eq!(released, Fence::Clean(Record::parse("uid-b@b")));
    // Of its own earlier attachment nothing is to be feared, and a pod may be running on it.
    let own = fence("uid-0@b,uid-b@b", &next, "b");
    assert_eq!(own, Fence::Clean(Record::parse("uid-b@b")));
    // But who else may write is shut out whatever that costs the node.
    let beside = fence("uid-0@b,uid-a@a,uid-b@b", &next, "b");
    assert_eq!(beside, due);
}

#[test]
fn an_export_that_ended_begins_anew_where_nobody_is_on_it() {
    let restart = |attachments: &[VolumeAttachment]| {
        let observed = Observed {
            persistent_volume: "pvc-1",
            record: Record::default(),
            attachments,
        };
        observed.restart("b")
    };
    assert_eq!(restart(&[attachment("b", false)]), Some(Epoch::of("uid-b")));
    assert_eq!(restart(&[attachment("b", true)]), None);
    assert_eq!(
        restart(&[attachment("a", true), attachment("b", false)]),
        None
    );
}

#[test]
fn an_export_that_is_used_is_not_ended() {
    let target = [attachment("b", true)];
    let in_use = Fence::InUse {
        lost: vec![left("a")],
    };
    assert_eq!(fence("uid-a@a,uid-b@b", &target, "b"), in_use);
    let joined = [attachment("b", true), attachment("c", false)];
    assert_eq!(fence("uid-a@a,uid-b@b,uid-c@c", &joined, "c"), in_use);
    let leaves = VolumeAttachment {
        leaving: true,
        ..attachment("b", true)
    };
    let joined = [leaves, attachment("c", false)];
    assert_eq!(fence("uid-a@a,uid-b@b,uid-c@c", &joined, "c"), in_use);
}

#[test]
fn of_two_that_were_granted_the_second_waits_for_the_fence_of_the_first() {
    let both = [attachment("b", false), attachment("c", false)];
    let asked = fence("uid-a@a,uid-b@b,uid-c@c", &both, "c");
    assert_eq!(asked, Fence::Underway { node: "b".into() });
}

#[test]
fn the_modes_are_read_by_their_names() {
    for mode in Fencing::ALL {
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    let error = "on".parse::<Fencing>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "fencing \"on\" is unknown: off, record or enforce"
    );
}

/// What may happen to a volume for one node, in any order.
#[derive(Debug, Clone)]
enum Event {
    /// A node that holds nothing asks, if nobody else has an attachment.
    Wish(usize),
    /// The call about the attachment takes its next step.
    Step,
    /// The controller dies.
    Crash,
    /// A node that was told connects under the name it was told.
    Connect(usize),
    /// A node that has lost its session, or waits, tries again under the name it knows.
    Reconnect(usize),
    /// A node lets go, and its attachment is released and goes.
    Release(usize),
    /// An attachment goes, and its node runs on.
    Lose(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = || 0usize..3;
    let event = prop_oneof![
        3 => node().prop_map(Event::Wish),
        8 => Just(Event::Step),
        1 => Just(Event::Crash),
        3 => node().prop_map(Event::Connect),
        2 => node().prop_map(Event::Reconnect),
        1 => node().prop_map(Event::Release),
        2 => node().prop_map(Event::Lose),
    ];
    proptest::collection::vec(event, 0..100)
}

#[derive(Debug, Default)]
struct Host {
    /// The name that it was told last.
    told: Option<String>,
    session: bool,
}

#[derive(Debug, Default)]
struct World {
    record: Record,
    attachments: Vec<VolumeAttachment>,
    made: u32,
    /// The epoch of the export; none before the first.
    export: String,
    hosts: [Host; 3],
    /// What the call about to be answered has done: granted, exported.
    call: (bool, bool),
}

const NODES: [&str; 3] = ["a", "b", "c"];

impl World {
    fn observed(&self) -> Observed<'_> {
        Observed {
            persistent_volume: "pvc-1",
            record: self.record.clone(),
            attachments: &self.attachments,
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Wish(n) if self.attachments.is_empty() => {
                self.made += 1;
                let uid = format!("{}", self.made);
                let made = attachment(NODES[*n], false);
                self.attachments.push(VolumeAttachment { uid, ..made });
                self.call = (false, false);
            }
            Event::Step => self.step(),
            Event::Crash => self.call = (false, false),
            Event::Connect(n) => {
                let host = &mut self.hosts[*n];
                let has_it = self.attachments.first();
                let may = has_it.is_some_and(|found| found.attached && found.node == NODES[*n]);
                host.session |= may && host.told.as_ref() == Some(&self.export);
            }
            Event::Reconnect(n) => {
                let host = &mut self.hosts[*n];
                host.session |= host.told.as_ref() == Some(&self.export);
            }
            Event::Release(n) => {
                let held = self.attachments.first();
                if let Some(own) = held.filter(|found| found.node == NODES[*n]).cloned() {
                    // Kubelet ended the session, which its kernel does not open again.
                    self.hosts[*n] = Host::default();
                    if let Some(record) = self.record.released(&own.uid) {
                        self.record = record;
                    }
                    self.attachments.clear();
                }
            }
            Event::Lose(n) => self.attachments.retain(|found| found.node != NODES[*n]),
            Event::Wish(_) => {}
        }
    }

    /// ControllerPublishVolume: the grant, the fence, the answer.
    fn step(&mut self) {
        let Some(own) = self
            .attachments
            .first()
            .filter(|own| !own.attached)
            .cloned()
        else {
            return;
        };
        let n = NODES.iter().position(|node| **node == own.node).unwrap();
        if !self.call.0 {
            if let Grant::Write(record) = self.observed().grant(&own.node) {
                self.record = record;
            }
            self.call.0 = true;
            return;
        }
        match self.observed().fence(&own.node) {
            Fence::Due { epoch, .. } if !self.call.1 => {
                let epoch = epoch.to_string();
                if self.export != epoch {
                    self.export = epoch;
                    for host in &mut self.hosts {
                        host.session = false;
                    }
                }
                self.call.1 = true;
            }
            Fence::Due { record, .. } | Fence::Clean(record) => self.record = record,
            Fence::Clear => {
                self.hosts[n].told = Some(self.export.clone());
                self.attachments[0].attached = true;
            }
            other @ (Fence::InUse { .. } | Fence::Underway { .. }) => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn no_two_nodes_have_a_session_and_whoever_has_the_volume_can_connect(events in events()) {
        let mut world = World::default();
        for event in &events {
            world.happen(event);
            let open = world.hosts.iter().filter(|host| host.session).count();
            let attached = world.attachments.iter().any(|found| found.attached);
            if attached {
                prop_assert!(open <= 1, "{world:?}");
                let n = NODES.iter().position(|node| *node == world.attachments[0].node).unwrap();
                prop_assert_eq!(world.hosts[n].told.as_ref(), Some(&world.export));
                let others = world.hosts.iter().enumerate().filter(|(other, _)| *other != n);
                for (_, host) in others {
                    prop_assert!(!host.session, "{world:?}");
                    prop_assert!(host.told.as_ref() != Some(&world.export), "{world:?}");
                }
            }
        }
    }
}
