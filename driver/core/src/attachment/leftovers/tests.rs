//! Looks at an attachment whose node is away, in every order, and what they lead to.

use super::*;
use crate::attachment::observation::Phase;

fn attachment(node: &str) -> VolumeAttachment {
    VolumeAttachment {
        name: format!("va-{node}"),
        uid: format!("uid-{node}"),
        node: node.to_owned(),
        persistent_volume: "pv".to_owned(),
        attached: true,
        leaving: false,
        created: None,
    }
}

fn nodes(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A look at a moment that takes no time.
fn look_at(
    leftovers: &mut Leftovers,
    attachments: &[VolumeAttachment],
    names: &[&str],
    at: u64,
) -> Vec<Step> {
    let now = Duration::from_secs(at);
    let steps = leftovers.look(&Seen {
        attachments,
        nodes: &nodes(names),
        began: now,
        ended: now,
        at: moment(at),
    });
    steps.into_iter().map(|(_, step)| step).collect()
}

fn moment(at: u64) -> Moment {
    let (hours, minutes, seconds) = (at / 3600, at / 60 % 60, at % 60);
    let text = format!("2026-10-01T{hours:02}:{minutes:02}:{seconds:02}Z");
    text.parse().unwrap()
}

/// Looks each minute until a moment; what the last one leads to.
fn until(leftovers: &mut Leftovers, found: &[VolumeAttachment], from: u64, to: u64) -> Vec<Step> {
    let mut last = Vec::new();
    for at in (from..=to).step_by(60) {
        last = look_at(leftovers, found, &["here"], at);
        if at < to {
            assert_eq!(last, [], "at {at}");
        }
    }
    last
}

#[test]
fn what_is_left_is_cleared_after_ten_minutes_and_that_is_said_until_it_leaves() {
    let (mut leftovers, mut found) = (Leftovers::default(), [attachment("gone")]);
    assert_eq!(until(&mut leftovers, &found, 60, 660), [Step::Clear]);
    assert_eq!(leftovers.count(), 1);
    assert_eq!(
        look_at(&mut leftovers, &found, &["here"], 720),
        [Step::Clear]
    );
    found[0].leaving = true;
    assert_eq!(look_at(&mut leftovers, &found, &["here"], 780), []);
    assert_eq!(look_at(&mut leftovers, &[], &["here"], 840), []);
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn it_is_told_since_when_its_node_is_away_and_for_how_long_at_least() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    let mut last = Vec::new();
    // Each look takes five seconds.
    for at in (0..=660).step_by(60) {
        last = leftovers.look(&Seen {
            attachments: &found,
            nodes: &nodes(&["here"]),
            began: Duration::from_secs(at),
            ended: Duration::from_secs(at + 5),
            at: moment(at),
        });
        assert!(at != 600 || last.is_empty(), "595 s are not enough");
    }
    let expected = Leftover {
        attachment: found[0].clone(),
        since: moment(0),
        after: Duration::from_secs(655),
    };
    assert_eq!(last, [(expected, Step::Clear)]);
}

#[test]
fn after_a_hole_in_the_looks_it_is_told_since_when_they_go_on() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    until(&mut leftovers, &found, 0, 540);
    until(&mut leftovers, &found, 900, 1440);
    let now = Duration::from_secs(1500);
    let last = leftovers.look(&Seen {
        attachments: &found,
        nodes: &nodes(&["here"]),
        began: now,
        ended: now,
        at: moment(1500),
    });
    assert_eq!(last[0].0.since, moment(900));
    assert_eq!(last[0].0.after, Duration::from_secs(600));
}

#[test]
fn a_node_that_comes_back_and_one_that_is_there_begin_anew() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    until(&mut leftovers, &found, 0, 540);
    assert_eq!(look_at(&mut leftovers, &found, &["here", "gone"], 600), []);
    assert_eq!(leftovers.count(), 0);
    assert_eq!(until(&mut leftovers, &found, 660, 1260), [Step::Clear]);
    let there = [attachment("here")];
    assert_eq!(until(&mut leftovers, &there, 1320, 3000), []);
}

#[test]
fn another_attachment_of_the_same_name_begins_anew() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    until(&mut leftovers, &found, 0, 540);
    let uid = "uid-of-the-next".to_owned();
    let next = [VolumeAttachment {
        uid,
        ..attachment("gone")
    }];
    assert_eq!(until(&mut leftovers, &next, 600, 1200), [Step::Clear]);
}

#[test]
fn a_list_of_no_nodes_is_not_believed() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    until(&mut leftovers, &found, 0, 540);
    for at in (600..3600).step_by(60) {
        assert_eq!(look_at(&mut leftovers, &found, &[], at), []);
    }
    assert_eq!(until(&mut leftovers, &found, 3600, 4200), [Step::Clear]);
}

#[test]
fn what_is_not_understood_stays() {
    let odd = [
        VolumeAttachment {
            persistent_volume: String::new(),
            ..attachment("gone")
        },
        attachment("gone,metadata.name=x"),
        attachment(""),
    ];
    let mut leftovers = Leftovers::default();
    assert_eq!(until(&mut leftovers, &odd, 0, 1200), []);
}

#[test]
fn one_that_is_leaving_is_only_told_of_and_once() {
    let mut leftovers = Leftovers::default();
    let mut found = [attachment("gone")];
    found[0].leaving = true;
    assert_eq!(until(&mut leftovers, &found, 0, 600), [Step::Hangs]);
    assert!(!leftovers.is_news("uid-gone"));
    assert_eq!(until(&mut leftovers, &found, 660, 3600), []);
    assert_eq!(leftovers.count(), 1);
}

#[test]
fn it_hangs_by_the_time_that_it_leaves_and_not_that_its_node_is_away() {
    let mut leftovers = Leftovers::default();
    let mut found = [attachment("gone")];
    until(&mut leftovers, &found, 0, 540);
    assert!(leftovers.is_news("uid-gone"), "a pod was in the way");
    found[0].leaving = true;
    assert_eq!(until(&mut leftovers, &found, 600, 1200), [Step::Hangs]);
    assert_eq!(look_at(&mut leftovers, &found, &["here"], 9000), []);
    assert_eq!(until(&mut leftovers, &found, 9060, 9900), []);
}

#[test]
fn that_one_stays_is_news_once() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    assert!(!leftovers.is_news("uid-gone"), "nobody knows of it");
    until(&mut leftovers, &found, 0, 600);
    assert!(leftovers.is_news("uid-gone"));
    assert!(!leftovers.is_news("uid-gone"));
}

#[test]
fn a_clearing_without_an_answer_is_told_when_it_is_seen() {
    let going = VolumeAttachment {
        leaving: true,
        ..attachment("gone")
    };
    // Leaving, gone, leaving while the node is back, and the first after a long outage.
    for (after, names, at) in [
        (vec![going.clone()], &["here"][..], 660),
        (vec![], &["here"], 660),
        (vec![going.clone()], &["here", "gone"], 660),
        (vec![going], &["here"], 6600),
    ] {
        let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
        until(&mut leftovers, &found, 0, 600);
        leftovers.answered("uid-gone", false);
        assert_eq!(
            look_at(&mut leftovers, &after, names, at),
            [Step::Cleared],
            "{after:?} {names:?} {at}"
        );
        assert_eq!(look_at(&mut leftovers, &after, names, at + 60), []);
    }
}

#[test]
fn a_clearing_that_did_nothing_before_the_node_came_back_is_not_told() {
    let (mut leftovers, found) = (Leftovers::default(), [attachment("gone")]);
    until(&mut leftovers, &found, 0, 600);
    leftovers.answered("uid-gone", false);
    assert_eq!(look_at(&mut leftovers, &found, &["here", "gone"], 660), []);
}

#[test]
fn a_clearing_that_did_nothing_is_asked_for_again_and_told_by_its_answer() {
    let (mut leftovers, mut found) = (Leftovers::default(), [attachment("gone")]);
    until(&mut leftovers, &found, 0, 600);
    leftovers.answered("uid-gone", false);
    assert_eq!(
        look_at(&mut leftovers, &found, &["here"], 660),
        [Step::Clear]
    );
    leftovers.answered("uid-gone", true);
    found[0].leaving = true;
    assert_eq!(look_at(&mut leftovers, &found, &["here"], 720), []);
    assert_eq!(look_at(&mut leftovers, &[], &["here"], 780), []);
}

fn pod(namespace: &str, node: &str, claims: &[&str], role: Role) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        name: "pod".to_owned(),
        uid: "uid".to_owned(),
        node: node.to_owned(),
        phase: Phase::Over,
        leaving: true,
        role,
        migration: None,
        claims: claims.iter().map(|&claim| claim.to_owned()).collect(),
    }
}

#[test]
fn a_pod_of_the_claim_is_in_the_way_and_so_is_a_machine() {
    let claim = Claim {
        namespace: "vms".to_owned(),
        name: "root".to_owned(),
    };
    let machine = Role::Launcher {
        machine: "uid".to_owned(),
        name: "vm".to_owned(),
    };
    let other = Role::Other;
    for (found, of_claim, of_none) in [
        (pod("vms", "gone", &["root"], other.clone()), true, true),
        (pod("vms", "gone", &["data"], other.clone()), false, true),
        (pod("web", "gone", &["root"], other.clone()), false, true),
        (pod("vms", "gone", &[], other.clone()), false, false),
        (pod("vms", "gone", &[], machine.clone()), true, true),
        (pod("web", "gone", &[], machine), false, true),
        (pod("vms", "here", &["root"], other), false, false),
    ] {
        let pods = [found];
        let keeps = |claim| in_the_way("gone", claim, &pods).is_some();
        assert_eq!(keeps(Some(&claim)), of_claim, "{pods:?}");
        assert_eq!(keeps(None), of_none, "{pods:?}");
    }
}

mod absence;
