//! The rule for every cluster that a test can think of, and the protocol around it for
//! every order of reads, writes, crashes and deletions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::attachment::observation::{Observations, Volume};
use crate::attachment::{Denial, Mode, Modes, Request, Rule, Seat, Verdict, judge};

const PV: &str = "pvc-1";

fn wish(node: &str) -> VolumeAttachment {
    VolumeAttachment {
        name: format!("va-{node}"),
        uid: format!("uid-{node}"),
        node: node.into(),
        persistent_volume: PV.into(),
        attached: false,
        leaving: false,
        created: None,
    }
}

fn attached(node: &str) -> VolumeAttachment {
    VolumeAttachment {
        attached: true,
        ..wish(node)
    }
}

/// Why a node got nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum No {
    NotAsked(GrantError),
    Denied(Denial),
}

/// What ControllerPublishVolume does. Who may be second is for the tests of the rule.
fn decide(observed: &Observed<'_>, shared: bool, node: &str) -> Result<Grant, No> {
    observed.asked_by(node).map_err(No::NotAsked)?;
    let mode = if shared {
        "ReadWriteMany"
    } else {
        "ReadWriteOnce"
    };
    let seen = Observations {
        volume: Volume {
            persistent_volume: PV.to_owned(),
            access_modes: vec![mode.to_owned()],
            is_block: true,
            ..Volume::default()
        },
        attachments: observed.standing(),
        ..Observations::default()
    };
    let modes = Modes::default()
        .with(Rule::SameMachine, Mode::Audit)
        .with(Rule::NodeLoss, Mode::Audit);
    let request = Request {
        node,
        access: None,
        seat: Seat::Driver,
        modes: &modes,
        now: &"2026-06-01T00:00:00Z".parse().unwrap(),
    };
    match judge(&request, &seen).verdict {
        Verdict::Allow(_) => Ok(observed.grant(node, None, false)),
        Verdict::Deny(denial) => Err(No::Denied(denial)),
        other => panic!("{other:?}"),
    }
}

fn ask(
    attachments: &[VolumeAttachment],
    record: &str,
    shared: bool,
    node: &str,
) -> Result<Grant, No> {
    let observed = Observed {
        persistent_volume: PV,
        record: Record::parse(record),
        attachments,
    };
    decide(&observed, shared, node)
}

fn denied(asked: Result<Grant, No>) -> Denial {
    match asked {
        Err(No::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

fn write(record: &str) -> Result<Grant, No> {
    Ok(Grant::Write(Record::parse(record)))
}

#[test]
fn of_two_wishes_that_nobody_answered_yet_the_first_asked_wins_whichever_it_is() {
    let both = [wish("a"), wish("b")];
    assert_eq!(ask(&both, "", false, "a"), write("uid-a@a"));
    assert_eq!(ask(&both, "", false, "b"), write("uid-b@b"));
    let denial = denied(ask(&both, "uid-b@b", false, "a"));
    assert_eq!(denial.rule, Rule::SingleNode);
    assert_eq!(denial.object.name, "va-b");
    assert_eq!(ask(&both, "uid-b@b", false, "b"), Ok(Grant::Stands));
    // What an earlier release wrote gets its node.
    assert_eq!(ask(&both, "uid-b", false, "b"), write("uid-b@b"));
}

#[test]
fn an_attachment_that_came_true_counts_without_a_record() {
    let both = [attached("a"), wish("b")];
    for record in ["", "uid-b", "whatever,,", "uid-a"] {
        let denial = denied(ask(&both, record, false, "b"));
        assert!(denial.why.contains("node a has"), "{record}: {denial}");
    }
}

#[test]
fn a_record_of_attachments_that_are_gone_holds_nothing_and_is_kept() {
    let asked = ask(&[wish("b")], "uid-a@a,old", false, "b");
    assert_eq!(asked, write("uid-a@a,old,uid-b@b"));
    let another_of_the_same_name = VolumeAttachment {
        uid: "uid-2".into(),
        ..wish("b")
    };
    let asked = ask(&[another_of_the_same_name], "uid-b", false, "b");
    assert_eq!(asked, write("uid-b,uid-2@b"));
}

/// Another driver attached it, of which the record knows nothing: without an entry nobody would
/// miss it.
#[test]
fn who_is_attached_without_a_word_is_recorded_with_the_next_grant() {
    let both = [attached("a"), wish("b")];
    assert_eq!(ask(&both, "", true, "b"), write("uid-a@a,uid-b@b"));
}

/// The record written for a node, and whether it says that the node only reads.
fn granted(
    attachments: &[VolumeAttachment],
    record: &str,
    identity: Option<NodeIdentity>,
    reader: bool,
) -> (String, bool) {
    let observed = Observed {
        persistent_volume: PV,
        record: Record::parse(record),
        attachments,
    };
    let granted = match observed.grant("b", identity, reader) {
        Grant::Stands => observed,
        Grant::Write(record) => Observed { record, ..observed },
    };
    (granted.record.to_string(), granted.only_reads("b"))
}

/// Its node was told so with its attachment, and hears nothing else while that stands.
#[test]
fn who_was_granted_a_volume_to_read_only_reads_until_the_attachment_is_gone() {
    let both = [attached("a"), wish("b")];
    let machine = |uid| NodeIdentity::of(uid, "", "uid");
    let (first, reads) = granted(&both, "uid-a@a", machine("one"), true);
    assert!(reads && first.ends_with("=reader"), "{first}");
    let alone = [attached("b")];
    for (attachments, identity) in [
        (&both[..], machine("one")),
        (&alone[..], machine("one")),
        (&alone[..], machine("two")),
        (&alone[..], None),
    ] {
        let (again, reads) = granted(attachments, &first, identity, false);
        assert!(reads, "{again}");
        let released = Record::parse(&again).released("uid-b").unwrap();
        let (again, reads) = granted(attachments, &released.to_string(), identity, false);
        assert!(reads && !again.contains("=released"), "{again}");
        let lost = Record::parse(&again).lost(&wish("b")).unwrap_or_default();
        assert!(lost.entry("uid-b").is_none_or(|entry| entry.reader));
    }
    let another = VolumeAttachment {
        uid: "uid-2".into(),
        ..wish("b")
    };
    let (next, reads) = granted(&[another], &first, machine("one"), false);
    assert!(!reads, "{next}");
    // What was granted before anybody told readers apart.
    let (before, reads) = granted(&both, "uid-a@a,uid-b@b", None, false);
    assert!(!reads, "{before}");
    // A yes to a machine that came true for nobody, said anew to who reads.
    let (anew, reads) = granted(&both, "uid-a@a,uid-b@b", None, true);
    assert!(reads, "{anew}");
}

/// Its attachment may come true still, as far as anybody knows.
#[test]
fn who_has_let_go_holds_the_volume_until_its_attachment_is_gone() {
    let both = [wish("a"), wish("b")];
    let denial = denied(ask(&both, "uid-a@a=released", false, "b"));
    assert_eq!(denial.rule, Rule::SingleNode);
    let again = ask(&both, "uid-a@a=released", false, "a");
    assert_eq!(again, write("uid-a@a"));
}

#[test]
fn a_shared_block_volume_goes_to_two_and_no_third() {
    let all = [wish("a"), wish("b"), wish("c")];
    assert_eq!(ask(&all, "uid-a", true, "b"), write("uid-a@a,uid-b@b"));
    let denial = denied(ask(&all, "uid-a,uid-b", true, "c"));
    assert_eq!(denial.rule, Rule::TwoNodes);
    assert!(denial.why.contains("nodes a and b"), "{denial}");
    let leaving = VolumeAttachment {
        leaving: true,
        ..attached("a")
    };
    let denial = denied(ask(&[leaving, attached("b"), wish("c")], "", true, "c"));
    assert_eq!(denial.rule, Rule::TwoNodes);
}

#[test]
fn a_node_without_a_lasting_wish_gets_nothing() {
    let refused = ask(&[attached("a")], "", true, "b").unwrap_err();
    let node = "b".to_owned();
    assert_eq!(refused, No::NotAsked(GrantError::NotAsked { node }));
    let leaving = VolumeAttachment {
        leaving: true,
        ..wish("a")
    };
    let denial = denied(ask(std::slice::from_ref(&leaving), "uid-a", false, "a"));
    assert_eq!(denial.rule, Rule::Leaving);
    let remade = [
        leaving,
        VolumeAttachment {
            uid: "uid-2".into(),
            ..wish("a")
        },
    ];
    assert_eq!(ask(&remade, "uid-a", false, "a"), write("uid-2@a,uid-a@a"));
}

#[test]
fn two_persistent_volumes_of_one_volume_do_not_share_it() {
    let other = VolumeAttachment {
        persistent_volume: "by-hand".into(),
        ..wish("b")
    };
    let refused = ask(&[wish("a"), other], "", true, "a").unwrap_err();
    let No::NotAsked(error) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("by-hand"), "{error}");
}

#[test]
fn the_name_of_an_attachment_says_whose_it_is() {
    let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
    let driver = DriverName::default();
    // printf '%s' "<volume><driver>node-a" | sha256sum
    let made = VolumeAttachment {
        name: "csi-88eb478182d8a84947c7a4b5a1ac3912018537ba7c30d25c93647a1ab2afb575".into(),
        ..wish("node-a")
    };
    assert!(made.is_named_after(&id, &driver));
    let elsewhere = VolumeAttachment {
        node: "node-b".into(),
        ..made
    };
    assert!(!elsewhere.is_named_after(&id, &driver));
    assert!(!wish("node-a").is_named_after(&id, &driver));
}

#[test]
fn a_node_names_a_volume_by_driver_and_handle() {
    let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
    assert_eq!(
        name_on_nodes(&id, &DriverName::default()),
        "kubernetes.io/csi/rds.csi.srvlab.io^pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"
    );
}

/// What may happen in a cluster, in any order.
#[derive(Debug, Clone)]
enum Event {
    /// The attach-detach controller wishes.
    Wish(usize),
    /// The attacher asks, in some process of the driver.
    Ask(usize),
    /// One of the calls under way takes its next step.
    Step(usize),
    /// One of the calls under way dies.
    Crash(usize),
    /// The attacher saves that an attachment came true, where it was told so.
    Save(usize),
    /// An attachment is deleted to its end.
    Delete(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (0usize..4).prop_map(Event::Wish),
        3 => (0usize..4).prop_map(Event::Ask),
        9 => (0usize..6).prop_map(Event::Step),
        1 => (0usize..6).prop_map(Event::Crash),
        1 => (0usize..4).prop_map(Event::Save),
        1 => (0usize..4).prop_map(Event::Delete),
    ];
    proptest::collection::vec(event, 0..80)
}

/// A call of ControllerPublishVolume: it reads the PersistentVolume, then the
/// attachments, then writes over the version that it read.
struct Call {
    node: String,
    read: Option<(u32, Record)>,
    listed: Option<Vec<VolumeAttachment>>,
}

#[derive(Default)]
struct Cluster {
    version: u32,
    record: Record,
    attachments: Vec<VolumeAttachment>,
    calls: Vec<Call>,
    made: u32,
    /// UIDs for which somebody was told yes.
    told: BTreeSet<String>,
}

impl Cluster {
    fn happen(&mut self, event: &Event, shared: bool) {
        let node = |number: &usize| ["a", "b", "c", "d"][*number].to_owned();
        match event {
            Event::Wish(number) => self.wish(&node(number)),
            Event::Ask(number) => self.calls.push(Call {
                node: node(number),
                read: None,
                listed: None,
            }),
            Event::Step(number) if *number < self.calls.len() => self.step(*number, shared),
            Event::Crash(number) if *number < self.calls.len() => {
                self.calls.remove(*number);
            }
            Event::Step(_) | Event::Crash(_) => {}
            Event::Save(number) => {
                let node = node(number);
                for attachment in &mut self.attachments {
                    attachment.attached |=
                        attachment.node == node && self.told.contains(&attachment.uid);
                }
            }
            Event::Delete(number) => {
                let node = node(number);
                self.attachments
                    .retain(|attachment| attachment.node != node);
            }
        }
    }

    fn wish(&mut self, node: &str) {
        if self.attachments.iter().all(|found| found.node != node) {
            self.made += 1;
            let uid = format!("{node}{}", self.made);
            self.attachments
                .push(VolumeAttachment { uid, ..wish(node) });
        }
    }

    fn step(&mut self, number: usize, shared: bool) {
        let call = &mut self.calls[number];
        let Some((version, record)) = call.read.clone() else {
            call.read = Some((self.version, self.record.clone()));
            return;
        };
        let Some(listed) = call.listed.clone() else {
            call.listed = Some(self.attachments.clone());
            return;
        };
        let call = self.calls.remove(number);
        let observed = Observed {
            persistent_volume: PV,
            record,
            attachments: &listed,
        };
        let granted = decide(&observed, shared, &call.node);
        match granted {
            Ok(Grant::Stands) => {}
            Ok(Grant::Write(record)) if version == self.version => {
                self.version += 1;
                self.record = record;
            }
            Ok(Grant::Write(_)) | Err(_) => return,
        }
        let own = listed.into_iter().filter(|found| found.node == call.node);
        self.told.extend(own.map(|found| found.uid));
    }

    /// The nodes that may use the volume: told so, under a wish that stands.
    fn holders(&self) -> usize {
        let told = |found: &&VolumeAttachment| self.told.contains(&found.uid);
        self.attachments.iter().filter(told).count()
    }
}

proptest! {
    #[test]
    fn no_order_of_events_gives_a_volume_to_too_many(events in events(), shared in any::<bool>()) {
        let mut cluster = Cluster::default();
        for event in &events {
            cluster.happen(event, shared);
            prop_assert!(cluster.holders() <= 1 + usize::from(shared), "{:?}", cluster.told);
        }
    }

    /// Nobody waits for ever: once the calls under way are over, whoever is alone and
    /// asks is granted.
    #[test]
    fn what_is_free_is_granted(events in events(), shared in any::<bool>()) {
        let mut cluster = Cluster::default();
        for event in &events {
            cluster.happen(event, shared);
        }
        cluster.calls.clear();
        cluster.attachments.retain(|found| found.node == "a");
        cluster.wish("a");
        cluster.happen(&Event::Ask(0), shared);
        for _ in 0..3 {
            cluster.happen(&Event::Step(0), shared);
        }
        prop_assert_eq!(cluster.holders(), 1);
    }

    #[test]
    fn a_record_reads_back(
        entries in proptest::collection::btree_map(
            "[0-9a-f-]{1,36}",
            (proptest::option::of("[a-z0-9.-]{0,20}"), proptest::option::of("[a-z]{1,9}"), any::<bool>(), any::<bool>()),
            0..4,
        ),
    ) {
        let entry = |(uid, (node, machine, reader, released)): (_, (Option<_>, Option<String>, _, _))| {
            let machine = machine.filter(|_| node.is_some());
            let identity = machine.and_then(|machine| NodeIdentity::of(&machine, "", "uid"));
            (uid, Entry { node, identity, reader, released })
        };
        let record = Record(entries.into_iter().map(entry).collect());
        prop_assert_eq!(Record::parse(&record.to_string()), record);
    }
}
