//! What is due for whom, and for every order of events that a lost node is shut out before
//! another one uses the volume.

use proptest::prelude::*;

use super::*;
use crate::attachment::grant::{Grant, VolumeAttachment};
use crate::attachment::observation::Node;
use crate::attachment::release::LetGo;

fn attachment(node: &str, attached: bool) -> VolumeAttachment {
    VolumeAttachment {
        name: format!("va-{node}"),
        uid: format!("uid-{node}"),
        node: node.into(),
        persistent_volume: "pvc-1".into(),
        attached,
        leaving: false,
        created: None,
    }
}

/// Who a node is on that machine, by that Node object.
fn identity(machine: &str, object: &str) -> Option<NodeIdentity> {
    NodeIdentity::of(machine, "", object)
}

fn fence(record: &str, attachments: &[VolumeAttachment], node: &str) -> Fence {
    let observed = Observed {
        persistent_volume: "pvc-1",
        record: Record::parse(record),
        attachments,
    };
    observed.fence(node, identity(node, "now"))
}

/// An entry of a node as it was granted, by another Node object of the same machine.
fn granted(uid: &str, node: &str) -> String {
    format!("{uid}@{node}/{}", identity(node, "then").unwrap())
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
    let before = granted("uid-0", "b");
    let own = fence(&format!("{before},uid-b@b"), &next, "b");
    assert_eq!(own, Fence::Clean(Record::parse("uid-b@b")));
    // But who else may write is shut out whatever that costs the node.
    let beside = fence(&format!("{before},uid-a@a,uid-b@b"), &next, "b");
    assert_eq!(beside, due);
}

/// A machine was replaced by one of the same name, or nobody noted which one it was.
#[test]
fn who_only_has_the_name_of_the_lost_one_shuts_it_out() {
    let next = [attachment("b", false)];
    let due = Fence::Due {
        epoch: Epoch::of("uid-b uid-0"),
        record: Record::parse("uid-b@b"),
        lost: vec![Lost {
            attachment: "uid-0".to_owned(),
            node: "b".to_owned(),
        }],
    };
    let another = identity("another", "then").unwrap();
    let replaced = format!("uid-0@b/{another},uid-b@b");
    assert_eq!(fence(&replaced, &next, "b"), due);
    assert_eq!(fence("uid-0@b,uid-b@b", &next, "b"), due);
    assert_eq!(fence("uid-0@b/unreadable,uid-b@b", &next, "b"), due);
    let let_go = format!("uid-0@b/{another}=released,uid-b@b");
    let clean = Fence::Clean(Record::parse("uid-b@b"));
    assert_eq!(fence(&let_go, &next, "b"), clean);
    // A node that does not say who it is now, either.
    let observed = Observed {
        persistent_volume: "pvc-1",
        record: Record::parse(&format!("{},uid-b@b", granted("uid-0", "b"))),
        attachments: &next,
    };
    assert_eq!(observed.fence("b", None), due);
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
    /// The call about the attachment takes its next step. If it is the last one, the answer
    /// arrives or is lost.
    Step(bool),
    /// The controller dies.
    Crash,
    /// A node that was told connects under the name it was told.
    Connect(usize),
    /// A machine that has lost its session, or waits, tries again under the name it knows.
    Reconnect(usize),
    /// A node lets go, and its attachment is released and goes.
    Release(usize),
    /// An attachment goes, and its node runs on.
    Lose(usize),
    /// A node is cut off, and a new machine is registered under its name, or the same one by
    /// another Node object.
    Replace(usize, bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = || 0usize..3;
    let event = prop_oneof![
        3 => node().prop_map(Event::Wish),
        8 => any::<bool>().prop_map(Event::Step),
        1 => Just(Event::Crash),
        3 => node().prop_map(Event::Connect),
        2 => (0usize..9).prop_map(Event::Reconnect),
        1 => node().prop_map(Event::Release),
        2 => node().prop_map(Event::Lose),
        2 => (node(), any::<bool>()).prop_map(|(node, same)| Event::Replace(node, same)),
    ];
    proptest::collection::vec(event, 0..100)
}

#[derive(Debug, Default)]
struct Host {
    /// The name that it was told last.
    told: Option<String>,
    session: bool,
}

#[derive(Debug)]
struct World {
    record: Record,
    attachments: Vec<VolumeAttachment>,
    made: u32,
    /// The epoch of the export; none before the first.
    export: String,
    /// Every machine there ever was.
    hosts: Vec<Host>,
    /// Of each node the machine, and how often its Node object was made anew.
    nodes: [(usize, u32); 3],
    /// The machine that the attachment came true on.
    holder: Option<usize>,
    /// The epoch that is due as the call knows, and whether the export is of it.
    call: Option<(Epoch, bool)>,
}

const NODES: [&str; 3] = ["a", "b", "c"];

fn number(node: &str) -> usize {
    NODES.iter().position(|found| *found == node).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            record: Record::default(),
            attachments: Vec::new(),
            made: 0,
            export: String::new(),
            hosts: NODES.map(|_| Host::default()).into(),
            nodes: [(0, 0), (1, 0), (2, 0)],
            holder: None,
            call: None,
        }
    }

    fn observed(&self) -> Observed<'_> {
        Observed {
            persistent_volume: "pvc-1",
            record: self.record.clone(),
            attachments: &self.attachments,
        }
    }

    fn identity(&self, n: usize) -> Option<NodeIdentity> {
        let (machine, object) = self.nodes[n];
        identity(&machine.to_string(), &object.to_string())
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Wish(n) if self.attachments.is_empty() => {
                self.made += 1;
                let uid = format!("{}", self.made);
                let made = attachment(NODES[*n], false);
                self.attachments.push(VolumeAttachment { uid, ..made });
                self.holder = None;
                self.call = None;
            }
            Event::Step(arrives) => self.step(*arrives),
            Event::Crash => self.call = None,
            Event::Connect(n) => {
                // Whatever comes to a node that has the volume asks nobody.
                let may = self.holder == Some(self.nodes[*n].0);
                let host = &mut self.hosts[self.nodes[*n].0];
                let has_it = self.attachments.first().filter(|_| may);
                let may = has_it.is_some_and(|found| found.attached && found.node == NODES[*n]);
                host.session |= may && host.told.as_ref() == Some(&self.export);
            }
            Event::Reconnect(machine) => {
                let all = self.hosts.len();
                let host = &mut self.hosts[machine % all];
                host.session |= host.told.as_ref() == Some(&self.export);
            }
            Event::Release(n) => self.release(*n),
            Event::Lose(n) => self.attachments.retain(|found| found.node != NODES[*n]),
            Event::Replace(n, same) => {
                self.nodes[*n].1 += 1;
                if !same {
                    self.nodes[*n].0 = self.hosts.len();
                    self.hosts.push(Host::default());
                }
            }
            Event::Wish(_) => {}
        }
    }

    /// The node says that it does not use the volume. A kubelet that has an object of its own
    /// still has ended the session, which its kernel does not open again; one whose object was
    /// made anew may not have come to name the volume yet.
    fn release(&mut self, n: usize) {
        let held = self.attachments.first();
        let Some(own) = held.filter(|found| found.node == NODES[n]).cloned() else {
            return;
        };
        let identity = self.identity(n);
        let node = Node {
            ready: true,
            identity,
            ..Node::default()
        };
        let entry = self.record.entry(&own.uid);
        let knows = entry.is_some_and(|entry| entry.identity == identity);
        if knows {
            self.hosts[self.nodes[n].0] = Host::default();
        }
        let record = if LetGo::NotInUse(node).is_certain(&own, entry) {
            self.record.released(&own.uid)
        } else {
            self.record.lost(&own)
        };
        if let Some(record) = record {
            self.record = record;
        }
        self.attachments.clear();
    }

    /// ControllerPublishVolume: a decision, and if something is due the renewal and another.
    fn step(&mut self, arrives: bool) {
        let own = self.attachments.first().filter(|own| !own.attached);
        let Some(own) = own.cloned() else { return };
        let n = number(&own.node);
        let identity = self.identity(n);
        let granted = match self.observed().grant(&own.node, identity, false) {
            Grant::Stands => self.record.clone(),
            Grant::Write(record) => record,
        };
        self.record = granted;
        match (self.observed().fence(&own.node, identity), &self.call) {
            (Fence::Due { epoch, record, .. }, Some((due, true))) if epoch == *due => {
                self.answer(n, record, arrives);
            }
            (Fence::Due { epoch, .. }, Some((due, false))) if epoch == *due => {
                let name = epoch.to_string();
                if self.export != name {
                    self.export = name;
                    for host in &mut self.hosts {
                        host.session = false;
                    }
                }
                self.call = Some((epoch, true));
            }
            (Fence::Due { epoch, .. }, _) => self.call = Some((epoch, false)),
            (Fence::Clean(record), _) => self.answer(n, record, arrives),
            (Fence::Clear, _) => self.answer(n, self.record.clone(), arrives),
            (other, _) => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, n: usize, record: Record, arrives: bool) {
        self.record = record;
        self.call = None;
        if arrives {
            let machine = self.nodes[n].0;
            self.hosts[machine].told = Some(self.export.clone());
            self.holder = Some(machine);
            self.attachments[0].attached = true;
        }
    }
}

proptest! {
    #[test]
    fn no_two_machines_have_a_session_and_whoever_has_the_volume_can_connect(events in events()) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
            let attached = world.attachments.iter().any(|found| found.attached);
            if let Some(holder) = world.holder.filter(|_| attached) {
                prop_assert_eq!(world.hosts[holder].told.as_ref(), Some(&world.export));
                let others = world.hosts.iter().enumerate().filter(|(other, _)| *other != holder);
                for (_, host) in others {
                    prop_assert!(!host.session, "{world:?}");
                    prop_assert!(host.told.as_ref() != Some(&world.export), "{world:?}");
                }
            }
        }
    }
}
