//! Looks at one volume, and what two nodes have it for.

use super::*;

mod hand_over;

const PV: &str = "pv";

fn move_to(target: &str) -> HandOver {
    HandOver {
        migration: "vms/move".to_owned(),
        uid: "move-uid".to_owned(),
        source: "a".to_owned(),
        target: target.to_owned(),
        timeout: Some(Duration::from_secs(60)),
    }
}

fn have(nodes: &[&str]) -> Holders {
    let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
    [(PV.to_owned(), nodes)].into()
}

/// How old the younger attachment is wherever it is asked.
const AGE: Duration = Duration::from_secs(20);

fn found(volume: String, hand_over: Option<HandOver>) -> Found {
    Found {
        volume,
        hand_over,
        age: AGE,
    }
}

fn look(migrations: &mut Migrations, nodes: &[&str], at: u64) -> Vec<Change> {
    look_after(migrations, nodes, at, &[])
}

/// The same where these migrations have failed.
fn look_after(
    migrations: &mut Migrations,
    nodes: &[&str],
    at: u64,
    failed: &[&str],
) -> Vec<Change> {
    let holders = have(nodes);
    let found: Vec<_> = migrations
        .unknown(&holders)
        .into_iter()
        .map(|volume| found(volume, Some(move_to(nodes[1]))))
        .collect();
    let failed = failed.iter().map(|&uid| uid.to_owned()).collect();
    let told = migrations.look(&holders, found, &failed, Duration::from_secs(at));
    told.into_iter().map(|told| told.change).collect()
}

/// One that looks since before anything happens.
fn from_the_start() -> Migrations {
    let mut migrations = Migrations::default();
    assert_eq!(look(&mut migrations, &["a"], 0), []);
    migrations
}

#[test]
fn a_migration_is_told_when_it_begins_and_when_it_ends_and_once_when_it_is_long() {
    let mut migrations = from_the_start();
    assert_eq!(look(&mut migrations, &["a", "b"], 5), [Change::Started]);
    assert_eq!(look(&mut migrations, &["a", "b"], 65), []);
    let after = Duration::from_secs(61);
    assert_eq!(
        look(&mut migrations, &["a", "b"], 66),
        [Change::TakesLong { after }]
    );
    assert_eq!(look(&mut migrations, &["a", "b"], 90), []);
    assert_eq!(migrations.active(), 1);
    let after = Duration::from_secs(95);
    assert_eq!(
        look(&mut migrations, &["b"], 100),
        [Change::Completed { after }]
    );
    assert_eq!(migrations.active(), 0);
}

#[test]
fn one_that_leaves_the_source_or_nobody_has_failed() {
    let after = Duration::from_secs(5);
    for left in [&["a"][..], &[]] {
        let mut migrations = from_the_start();
        look(&mut migrations, &["a", "b"], 0);
        let moved = false;
        let failed = Change::Failed { after, moved };
        assert_eq!(look(&mut migrations, left, 5), [failed]);
    }
}

/// A post-copy that breaks off leaves the machine where it went.
#[test]
fn one_that_leaves_the_target_after_a_failure_has_failed_too() {
    for (uids, moved) in [(&["move-uid"][..], true), (&["other-uid"], false)] {
        let mut migrations = from_the_start();
        look(&mut migrations, &["a", "b"], 0);
        assert_eq!(migrations.arrived(&have(&["a", "b"])).count(), 0);
        assert_eq!(migrations.arrived(&have(&["a"])).count(), 0);
        let arrived = have(&["b"]);
        let arrived: Vec<_> = migrations.arrived(&arrived).collect();
        assert_eq!(arrived, [&move_to("b")]);
        let after = Duration::from_secs(5);
        let expected = match moved {
            true => Change::Failed { after, moved },
            false => Change::Completed { after },
        };
        assert_eq!(look_after(&mut migrations, &["b"], 5, uids), [expected]);
    }
}

/// Another one looked before: it has told that the migration has begun.
#[test]
fn whoever_begins_to_look_in_the_middle_tells_the_rest_and_goes_by_the_attachments() {
    let mut migrations = Migrations::default();
    assert_eq!(look(&mut migrations, &["a", "b"], 1000), []);
    assert_eq!(migrations.active(), 1);
    assert_eq!(look(&mut migrations, &["a", "b"], 1040), []);
    let after = Duration::from_secs(61);
    assert_eq!(
        look(&mut migrations, &["a", "b"], 1041),
        [Change::TakesLong { after }]
    );
    let after = AGE + Duration::from_secs(50);
    assert_eq!(
        look(&mut migrations, &["b"], 1050),
        [Change::Completed { after }]
    );
    // The next one begins before its eyes.
    assert_eq!(look(&mut migrations, &["b", "c"], 1055), [Change::Started]);
    let (after, moved) = (Duration::from_secs(5), false);
    assert_eq!(
        look(&mut migrations, &["b"], 1060),
        [Change::Failed { after, moved }]
    );
}

#[test]
fn what_could_not_be_read_at_the_first_look_had_begun_before_it_all_the_same() {
    let mut migrations = Migrations::default();
    let both = have(&["a", "b"]);
    let at = Duration::from_secs(5);
    assert_eq!(migrations.look(&both, [], &BTreeSet::new(), at), []);
    assert_eq!(look(&mut migrations, &["a", "b"], 10), []);
    assert_eq!(migrations.active(), 1);
}

#[test]
fn two_back_to_back_are_two() {
    let mut migrations = from_the_start();
    look(&mut migrations, &["a", "b"], 0);
    let after = Duration::from_secs(5);
    assert_eq!(
        look(&mut migrations, &["b", "c"], 5),
        [Change::Completed { after }]
    );
    assert_eq!(look(&mut migrations, &["b", "c"], 10), [Change::Started]);
}

#[test]
fn what_is_for_no_migration_is_asked_about_again_when_its_nodes_change() {
    let mut migrations = Migrations::default();
    let (first, second) = (have(&["a", "b"]), have(&["a", "c"]));
    assert_eq!(migrations.unknown(&first), [PV]);
    let none = [found(PV.to_owned(), None)];
    let (nobody, at) = (BTreeSet::new(), Duration::ZERO);
    assert_eq!(migrations.look(&first, none, &nobody, at), []);
    assert_eq!(migrations.unknown(&first), [""; 0]);
    assert_eq!(migrations.unknown(&second), [PV]);
    migrations.look(&second, [], &nobody, at);
    assert_eq!(migrations.unknown(&first), [PV]);
}
