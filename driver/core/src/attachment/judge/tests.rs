//! Tables of requests and verdicts; what holds for all of them is in `properties`.

mod properties;
pub(in crate::attachment) mod sample;

use std::str::FromStr as _;

use rstest::rstest;
use sample::{Change, ask, cluster, on_way, pod, standing};

use super::*;
use crate::attachment::observation::{KubeVirt, Machine, Migration, Node, Reading, Volume};
use crate::attachment::pod::{Owner, Phase, Role};
use crate::kind::{Failure as _, Kind};

/// A rule's name where it is refused, or a word for why it is allowed.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(reason) => match reason {
            Reason::Alone => "alone",
            Reason::Stands => "stands",
            Reason::Reader { .. } => "reader",
            Reason::Excepted { .. } => "excepted",
            Reason::Relaxed => "relaxed",
        }
        .to_owned(),
        Verdict::AllowAsMigration(hand_over) => {
            format!("{}>{}", hand_over.source, hand_over.target)
        }
        Verdict::Deny(denial) => denial.rule.to_string(),
        Verdict::Unknown(unread) => format!("unknown {}", unread.part),
    }
}

/// Node b asks while a machine runs on a and migrates to b.
#[rstest]
#[case::migration(&[], "a>b")]
#[case::pending(&[Change::Phase("Pending")], "a>b")]
#[case::no_phase_yet(&[Change::Phase("")], "a>b")]
#[case::later_version(&[Change::Phase("Preflight")], "a>b")]
#[case::over(&[Change::Phase("Succeeded")], "same-machine")]
#[case::failed(&[Change::Phase("Failed")], "same-machine")]
#[case::aborting(&[Change::Aborting], "same-machine")]
#[case::aborted(&[Change::NoMigration], "same-machine")]
#[case::moves_another(&[Change::MovesAnother], "same-machine")]
#[case::machine_gone(&[Change::NoMachine], "same-machine")]
#[case::machine_over(&[Change::MachineOver], "same-machine")]
#[case::no_label(&[Change::NoLabel], "same-machine")]
#[case::another_machine(&[Change::AnotherMachine], "same-machine")]
#[case::decentralised(&[Change::AnotherMachine, Change::Joined], "a>b")]
#[case::sender_gave_up(&[Change::AnotherMachine, Change::Joined, Change::SenderOver], "same-machine")]
#[case::other_machine_beside(&[Change::BesideOther("b")], "same-machine")]
#[case::other_machine_at_the_source(&[Change::BesideOther("a")], "same-machine")]
#[case::foreign_pod_beside(&[Change::Beside("b", Role::Other)], "same-machine")]
#[case::foreign_pod_at_the_source(&[Change::Beside("a", Role::Other)], "same-machine")]
#[case::reader_beside(&[Change::Beside("a", Role::Reader)], "a>b")]
#[case::source_gone(&[Change::NoPodOn("a")], "same-machine")]
#[case::source_forgotten_and_a_reader_there(&[Change::NoPodOn("a"), Change::Beside("a", Role::Reader)], "same-machine")]
#[case::target_gone(&[Change::NoPodOn("b")], "same-machine")]
#[case::target_leaving(&[Change::PodLeaving("b")], "same-machine")]
#[case::source_leaving(&[Change::PodLeaving("a")], "a>b")]
#[case::source_ended(&[Change::PodOver("a")], "same-machine")]
#[case::no_kubevirt(&[Change::KubeVirt(KubeVirt::Absent)], "same-machine")]
#[case::half_kubevirt(&[Change::KubeVirt(KubeVirt::Incomplete { missing: "migrations".into() })], "same-machine")]
#[case::kubevirt_not_read(&[Change::KubeVirtUnread], "unknown the machines and migrations of KubeVirt")]
#[case::pods_not_read(&[Change::PodsUnread], "unknown the pods that use the volume")]
#[case::node_not_read(&[Change::NodeUnread("a")], "unknown node a")]
#[case::source_not_ready(&[Change::NotReady("a")], "node-loss")]
#[case::source_out_of_service(&[Change::NotReady("a"), Change::Tainted("a")], "node-loss")]
#[case::source_still_said_to_be_off(&[Change::Tainted("a")], "node-loss")]
#[case::source_vanished(&[Change::NoNode("a")], "node-loss")]
#[case::target_not_ready(&[Change::NotReady("b")], "a>b")]
#[case::source_only_granted(&[Change::Attached("a", false)], "a>b")]
#[case::source_only_wished(&[Change::Attached("a", false), Change::Granted("a", false)], "alone")]
#[case::source_being_detached(&[Change::Leaving("a")], "a>b")]
#[case::own_being_detached(&[Change::Leaving("b")], "leaving")]
#[case::stands(&[Change::NoMigration, Change::Has("b")], "stands")]
#[case::granted(&[Change::Granted("b", true)], "a>b")]
#[case::granted_for_one_that_is_over(&[Change::NoMigration, Change::Granted("b", true)], "same-machine")]
#[case::granted_and_a_stranger_comes(&[Change::Granted("b", true), Change::Beside("b", Role::Other)], "same-machine")]
#[case::granted_and_the_source_is_lost(&[Change::Granted("b", true), Change::NotReady("a")], "node-loss")]
#[case::both_only_granted(&[Change::NoMigration, Change::Granted("b", true), Change::Attached("a", false)], "same-machine")]
#[case::third_wishes(&[Change::Wish("c")], "a>b")]
#[case::third_has(&[Change::Has("c")], "two-nodes")]
#[case::third_leaves(&[Change::Has("c"), Change::Leaving("c")], "two-nodes")]
#[case::third_leaves_and_own_stands(&[Change::Has("c"), Change::Granted("b", true)], "two-nodes")]
#[case::for_one_node(&[Change::Modes(&["ReadWriteOnce"])], "single-node")]
#[case::for_one_pod(&[Change::Modes(&["ReadWriteOncePod"])], "single-node")]
#[case::for_one_or_many(&[Change::Modes(&["ReadWriteOnce", "ReadWriteMany"])], "a>b")]
#[case::filesystem_for_one(&[Change::Modes(&["ReadWriteOnce"]), Change::Filesystem], "single-node")]
#[case::filesystem_for_many(&[Change::Filesystem], "shared-filesystem")]
#[case::no_claim(&[Change::NoClaim], "same-machine")]
#[case::excepted(&[Change::NoLabel, Change::Exception("2027-01-01T00:00:00Z sql")], "excepted")]
#[case::exception_over(&[Change::NoLabel, Change::Exception("2026-01-01T00:00:00Z sql")], "same-machine")]
#[case::no_exception_beside_a_lost_node(&[Change::NotReady("a"), Change::Exception("2027-01-01T00:00:00Z sql")], "node-loss")]
#[case::no_third_by_exception(&[Change::Has("c"), Change::Exception("2027-01-01T00:00:00Z sql")], "two-nodes")]
#[case::no_second_of_one_by_exception(&[Change::Modes(&["ReadWriteOnce"]), Change::Exception("2027-01-01T00:00:00Z sql")], "single-node")]
#[case::hot_plug(&[Change::HotPlugged], "a>b")]
#[case::hot_plug_without_launcher(&[Change::HotPlugged, Change::NoLauncher], "same-machine")]
#[case::source_made_anew(&[Change::Swapped], "b>a")]
fn a_second_node(#[case] changes: &[Change], #[case] expected: &str) {
    let seen = cluster(changes);
    let judgement = ask(&seen, "b", Seat::Driver, &Modes::default());
    assert_eq!(word(&judgement.verdict), expected, "{judgement:?}");
    assert_eq!(judgement.noted, []);
}

#[rstest]
#[case::clone_of_a_running_machine(Role::Other, Role::Reader, "reader")]
#[case::machine_beside_its_clone(Role::Reader, Role::Other, "same-machine")]
#[case::two_clones(Role::Reader, Role::Reader, "reader")]
#[case::importer(Role::Other, Role::Writer, "same-machine")]
#[case::beside_an_importer(Role::Writer, Role::Other, "same-machine")]
fn who_only_reads_gets_a_second_node_and_nobody_beside_it(
    #[case] there: Role,
    #[case] here: Role,
    #[case] expected: &str,
) {
    let mut seen = cluster(&[Change::KubeVirt(KubeVirt::Absent)]);
    seen.pods = Reading::Complete(vec![pod("p", "a", there), pod("q", "b", here)]);
    let judgement = ask(&seen, "b", Seat::Driver, &Modes::default());
    assert_eq!(word(&judgement.verdict), expected, "{judgement:?}");
}

/// A moment later it has the volume alone, and then its node need not be one that only reads.
#[test]
fn who_reads_waits_for_a_node_on_which_nobody_is_left() {
    let mut seen = cluster(&[Change::KubeVirt(KubeVirt::Absent)]);
    seen.pods = Reading::Complete(vec![pod("q", "b", Role::Reader)]);
    for seat in [Seat::Driver, Seat::Admission] {
        let Verdict::Deny(denial) = ask(&seen, "b", seat, &Modes::default()).verdict else {
            panic!("it is to wait");
        };
        assert!(denial.why.contains("is let go of there first"), "{denial}");
    }
}

/// The webhook hears of a third node before that is granted or attached.
#[rstest]
#[case(&[Change::Attached("a", false), Change::Granted("a", false)], "a>b")]
#[case(&[Change::Wish("c"), Change::Beside("c", Role::Reader)], "two-nodes")]
#[case(&[Change::Wish("c"), Change::Beside("c", Role::Reader), Change::NoNode("c")], "a>b")]
#[case(&[Change::Wish("c"), Change::Beside("c", Role::Reader), Change::Leaving("c")], "a>b")]
#[case(&[Change::Wish("c"), Change::NodeUnread("c")], "unknown node c")]
#[case(&[Change::Has("c"), Change::NoNode("c")], "two-nodes")]
#[case::a_stray_pod(&[Change::Wish("c"), Change::Beside("c", Role::Other)], "a>b")]
#[case::nobody_asks_any_more(&[Change::Wish("c")], "a>b")]
#[case::two_wishes(&[Change::Attached("a", false), Change::Granted("a", false), Change::Wish("c"), Change::Beside("c", Role::Other)], "two-nodes")]
fn the_webhook_counts_wishes_that_would_be_granted(
    #[case] changes: &[Change],
    #[case] expected: &str,
) {
    let judgement = ask(&cluster(changes), "b", Seat::Admission, &Modes::default());
    assert_eq!(word(&judgement.verdict), expected, "{judgement:?}");
}

#[test]
fn a_volume_that_nobody_has_needs_no_readings() {
    let mut seen = Observations {
        attachments: vec![standing("b")],
        ..Observations::default()
    };
    let verdict =
        |seen: &Observations| word(&ask(seen, "b", Seat::Driver, &Modes::default()).verdict);
    assert_eq!(verdict(&seen), "stands");
    seen.attachments.clear();
    assert_eq!(verdict(&seen), "alone");
}

#[test]
fn the_narrowest_access_counts() {
    let seen = cluster(&[]);
    let now = Moment::from_str(sample::NOW).unwrap();
    let request = Request {
        node: "b",
        access: Some(AccessMode::SingleNodeWriter),
        seat: Seat::Driver,
        modes: &Modes::default(),
        now: &now,
    };
    assert_eq!(word(&judge(&request, &seen).verdict), "single-node");
}

#[test]
fn what_is_not_enforced_is_noted_and_the_rest_still_holds() {
    let modes = Modes::default()
        .with(Rule::SameMachine, Mode::Warn)
        .with(Rule::TwoNodes, Mode::Audit);
    let noted = |changes: &[Change], seat| {
        let judgement = ask(&cluster(changes), "b", seat, &modes);
        let modes: Vec<_> = judgement.noted.iter().map(|noted| noted.mode).collect();
        (word(&judgement.verdict), modes)
    };
    let relaxed = "relaxed".to_owned();
    assert_eq!(
        noted(&[Change::NoLabel], Seat::Driver),
        (relaxed.clone(), vec![Mode::Warn])
    );
    assert_eq!(
        noted(&[Change::PodsUnread], Seat::Driver),
        (relaxed.clone(), vec![Mode::Warn])
    );
    assert_eq!(
        noted(&[Change::Has("c")], Seat::Admission),
        (relaxed, vec![Mode::Audit])
    );
    assert_eq!(
        noted(&[Change::Has("c")], Seat::Driver),
        ("two-nodes".to_owned(), vec![])
    );
    let lost = [Change::NotReady("a"), Change::NoLabel];
    assert_eq!(noted(&lost, Seat::Driver), ("node-loss".to_owned(), vec![]));
}

#[rstest]
#[case(&[Change::NotReady("a")], &["kubectl taint node a node.kubernetes.io/out-of-service=nodeshutdown:NoExecute", "Node a"])]
#[case(&[Change::NotReady("a"), Change::Tainted("a")], &["is out of service, and has not let go of it yet (VolumeAttachment va-a is in the way). It goes by itself once Kubernetes has removed the pods of its node", "kubectl describe volumeattachment va-a"])]
#[case::off_and_for_one_node(&[Change::NotReady("a"), Change::Tainted("a"), Change::Modes(&["ReadWriteOnce"])], &["ReadWriteOnce allows one node (VolumeAttachment va-a is in the way). It goes by itself"])]
#[case::off_and_on_its_way_out(&[Change::NotReady("a"), Change::Tainted("a"), Change::Leaving("a")], &["(VolumeAttachment va-a is in the way). It is on its way out"])]
#[case::back_and_still_said_to_be_off(&[Change::Tainted("a")], &["(Node a is in the way). It is ready. If it is well, say so with: kubectl taint node a node.kubernetes.io/out-of-service-"])]
#[case::back_and_on_its_way_out(&[Change::Tainted("a"), Change::Leaving("a")], &["(VolumeAttachment va-a is in the way). It is on its way out"])]
#[case::back_and_for_one_node(&[Change::Tainted("a"), Change::Modes(&["ReadWriteOnce"])], &["Pod vms/launcher-a", "It is free once the machine was stopped or has moved away"])]
#[case(&[Change::NoNode("a")], &["kubectl delete volumeattachment va-a", "certainly off"])]
#[case(&[Change::Has("c"), Change::Leaving("c")], &["nodes a and c", "VolumeAttachment va-c", "asked again by itself"])]
#[case(&[Change::Modes(&["ReadWriteOnce"])], &["node a has the volume and ReadWriteOnce allows one", "Pod vms/launcher-a", "kubectl describe pod -n vms launcher-a"])]
#[case(&[Change::Phase("Failed")], &["pod launcher-b on node b is not for one, as its migration mig is Failed", "Pod vms/launcher-a is in the way"])]
#[case(&[Change::NoMigration], &["exists no more"])]
#[case(&[Change::KubeVirt(KubeVirt::Absent)], &["there is no KubeVirt here"])]
#[case(&[Change::NoLabel, Change::Exception("soon")], &["annotation shared-disk", "no moment"])]
#[case(&[Change::NoPodOn("b")], &["no pod on node b asks for it"])]
#[case(&[Change::NoPodOn("a"), Change::Beside("a", Role::Reader)], &["node a has the volume for pod beside-a, which only reads it", "Pod vms/beside-a is in the way", "kubectl describe pod -n vms beside-a"])]
#[case(&[Change::Filesystem], &["volumeMode: Block"])]
#[case::machine_beside_a_clone(&[Change::Has("c"), Change::Beside("c", Role::Reader)], &["nodes a and c have the volume", "Pod vms/beside-c is in the way", "free once the copy is done"])]
#[case::machine_beside_what_is_left(&[Change::Has("c")], &["VolumeAttachment va-c is in the way"])]
fn a_refusal_names_the_object_and_the_command(#[case] changes: &[Change], #[case] parts: &[&str]) {
    let judgement = ask(&cluster(changes), "b", Seat::Driver, &Modes::default());
    let Verdict::Deny(denial) = judgement.verdict else {
        panic!("{judgement:?}");
    };
    let message = denial.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

#[test]
fn a_refusal_says_whether_to_ask_again() {
    let kind =
        |changes: &[Change]| match ask(&cluster(changes), "b", Seat::Driver, &Modes::default())
            .verdict
        {
            Verdict::Deny(denial) => denial.kind(),
            Verdict::Unknown(unread) => unread.kind(),
            other => panic!("{other:?}"),
        };
    assert_eq!(kind(&[Change::Has("c")]), Kind::Conflict);
    for held in [
        Change::Has("c"),
        Change::NotReady("a"),
        Change::NoMigration,
        Change::Beside("b", Role::Other),
    ] {
        assert_eq!(kind(&[held, Change::Granted("b", true)]), Kind::Unreachable);
    }
    assert_eq!(kind(&[Change::Leaving("b")]), Kind::Busy);
    assert_eq!(kind(&[Change::Filesystem]), Kind::Invalid);
    assert_eq!(kind(&[Change::PodsUnread]), Kind::Unreachable);
}

#[rstest]
#[case(Some(("kubevirt.io/v1", "VirtualMachineInstance")), &[], Role::Launcher { machine: "u".into(), name: "n".into() })]
#[case(Some(("kubevirt.io/v1", "VirtualMachineInstance")), &[("cdi.kubevirt.io", "cdi-clone-source")], Role::Launcher { machine: "u".into(), name: "n".into() })]
#[case(Some(("example.org/v1", "VirtualMachineInstance")), &[], Role::Other)]
#[case(Some(("v1", "Pod")), &[("kubevirt.io", "hotplug-disk")], Role::HotPlug { launcher: "u".into() })]
#[case(Some(("v1", "Pod")), &[], Role::Other)]
#[case(None, &[("kubevirt.io", "virt-launcher"), ("kubevirt.io/created-by", "u")], Role::Other)]
#[case(Some(("export.kubevirt.io/v1beta1", "VirtualMachineExport")), &[], Role::Reader)]
#[case(None, &[("app", "containerized-data-importer"), ("cdi.kubevirt.io", "cdi-clone-source")], Role::Reader)]
#[case(Some(("v1", "PersistentVolumeClaim")), &[("app", "containerized-data-importer")], Role::Writer)]
#[case(Some(("v1", "PersistentVolumeClaim")), &[("app", "containerized-data-importer"), ("cdi.kubevirt.io", "cdi-upload-server")], Role::Writer)]
#[case(Some(("apps/v1", "ReplicaSet")), &[("app", "web")], Role::Other)]
fn a_pod_is_what_its_owner_is(
    #[case] owner: Option<(&str, &str)>,
    #[case] labels: &[(&'static str, &'static str)],
    #[case] role: Role,
) {
    let owner = owner.map(|(api_version, kind)| Owner {
        api_version,
        kind,
        name: "n",
        uid: "u",
    });
    let label = |key: &str| {
        labels
            .iter()
            .find(|(found, _)| *found == key)
            .map(|(_, value)| *value)
    };
    assert_eq!(Role::of(owner.as_ref(), label), role);
}

#[test]
fn a_pod_of_an_unknown_phase_may_write() {
    assert_eq!(Phase::parse("Unknown"), Phase::Running);
    assert_eq!(Phase::parse("Failed"), Phase::Over);
    assert_eq!(Phase::parse(""), Phase::Pending);
}

#[test]
fn a_migrating_machine_is_told_with_its_nodes() {
    let judgement = ask(&cluster(&[]), "b", Seat::Driver, &Modes::default());
    assert_eq!(judgement.verdict, Verdict::AllowAsMigration(on_way()));
}
