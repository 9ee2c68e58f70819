//! A migration after another one, where nodes that have the volume still have it.

use rstest::rstest;

use super::*;

#[test]
fn two_back_to_back_are_two() {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Scheduling")]);
    follower.for_move("mig2", "b", "c");
    let both = [completed("mig1", 5), started("mig2")];
    assert_eq!(follower.look(&["b", "c"], 5), both);
}

/// Both nodes have the volume all the time.
#[rstest]
#[case::is_under_way("Scheduling")]
#[case::is_over_by_now("Succeeded")]
fn one_that_goes_back_at_once_is_another_one(#[case] phase: &str) {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Succeeded")]);
    assert_eq!(follower.look(&["a", "b"], 5), []);
    follower.are(&[("mig1", "Succeeded"), ("mig2", phase)]);
    // Its pod is not there yet.
    assert_eq!(follower.look(&["a", "b"], 10), []);
    follower.for_move("mig2", "b", "a");
    let both = [completed("mig1", 15), started("mig2")];
    assert_eq!(follower.look(&["a", "b"], 15), both);
    assert_eq!(follower.look(&["a", "b"], 20), []);
    assert_eq!(follower.look(&["a", "b"], 76), [long("mig2", 61)]);
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Succeeded")]);
    assert_eq!(follower.look(&["a"], 80), [completed("mig2", 65)]);
}

#[test]
fn one_that_goes_back_and_does_not_arrive_leaves_the_machine_where_it_was() {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Running")]);
    follower.for_move("mig2", "b", "a");
    follower.look(&["a", "b"], 5);
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Failed")]);
    assert_eq!(follower.look(&["a", "b"], 10), []);
    let expected = [failed("mig2", 10, Left::Source)];
    assert_eq!(follower.look(&["b"], 15), expected);
}

/// It is tried again before the target of the first try has let go.
#[rstest]
#[case::failed(&[("mig1", "Failed"), ("mig2", "Running")])]
#[case::aborted(&[("mig2", "Running")])]
fn one_that_is_tried_again_at_once_has_failed_first(#[case] phases: &[(&str, &str)]) {
    let mut follower = Follower::of_one();
    follower.are(phases);
    follower.for_move("mig2", "a", "b");
    let both = [failed("mig1", 5, Left::Both), started("mig2")];
    assert_eq!(follower.look(&["a", "b"], 5), both);
    follower.are(&[("mig2", "Succeeded")]);
    assert_eq!(follower.look(&["b"], 10), [completed("mig2", 5)]);
}

/// The machine was there, or the next one would not begin there; nobody said so.
#[test]
fn of_one_that_is_deleted_and_goes_back_nobody_can_say_how_it_went() {
    let mut follower = Follower::of_one();
    follower.are(&[("mig2", "Running")]);
    follower.for_move("mig2", "b", "a");
    assert_eq!(follower.look(&["a", "b"], 5), [started("mig2")]);
}

/// The target is left to the next one before this one is said to be over.
#[test]
fn of_one_that_nobody_ended_nothing_is_told_when_the_next_begins_elsewhere() {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Running"), ("mig2", "Running")]);
    follower.for_move("mig2", "b", "c");
    assert_eq!(follower.look(&["b", "c"], 5), [started("mig2")]);
    assert_eq!(follower.migrations.active(), 1);
}

/// Each question is several requests.
#[rstest]
#[case::it_goes_on(Some(&[("mig1", "Running"), ("mig2", "Pending")][..]))]
#[case::there_is_no_other(Some(&[("mig1", "Succeeded")][..]))]
#[case::there_are_those_of_before(Some(&[("mig0", "Succeeded"), ("mig1", "Succeeded")][..]))]
#[case::it_was_aborted(Some(&[("mig0", "Succeeded")][..]))]
#[case::it_is_being_deleted(Some(&[("mig1", "leaving"), ("mig2", "Pending")][..]))]
#[case::nothing_could_be_read(None)]
fn nobody_asks_for_the_next_one_while(#[case] phases: Option<&[(&str, &str)]>) {
    let mut follower = Follower::of_one();
    follower.objects = None;
    if let Some(phases) = phases {
        follower.are(phases);
    }
    assert_eq!(follower.unknown(&["a", "b"]), [""; 0]);
}

#[test]
fn the_migration_of_another_machine_is_not_the_next_one() {
    for phases in [
        &[("mig2", "Running"), ("mig1", "Succeeded")][..],
        // It was aborted.
        &[("mig2", "Running")],
    ] {
        let mut follower = Follower::of_one();
        assert_eq!(follower.look(&["a", "b"], 5), []);
        follower.are(phases);
        assert_eq!(follower.unknown(&["a", "b"]), [PV]);
        follower.objects.as_mut().unwrap()[0].machine = "another".to_owned();
        assert_eq!(follower.unknown(&["a", "b"]), [""; 0]);
    }
}

/// The pod that has brought the machine to its node says so for as long as it is there.
#[test]
fn a_migration_of_before_is_not_the_next_one() {
    let mut follower = Follower::of_one();
    follower.are(&[
        ("mig0", "Succeeded"),
        ("mig1", "Succeeded"),
        ("mig2", "Pending"),
    ]);
    follower.for_move("mig0", "b", "a");
    assert_eq!(follower.look(&["a", "b"], 5), []);
    assert_eq!(follower.look(&["b"], 10), [completed("mig1", 10)]);
}

/// Whoever looked before has told how the first one went, and that the second one has begun.
#[test]
fn whoever_takes_over_after_the_turn_tells_the_rest_of_the_second_one_alone() {
    let mut follower = Follower::default();
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Running")]);
    follower.for_move("mig2", "b", "a");
    assert_eq!(follower.look(&["a", "b"], 100), []);
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Succeeded")]);
    assert_eq!(follower.look(&["a"], 110), [completed("mig2", 30)]);
}

/// Nobody has told of the turn then.
#[test]
fn whoever_takes_over_before_the_turn_tells_of_both() {
    let mut follower = Follower::default();
    follower.are(&[("mig1", "Succeeded")]);
    follower.for_move("mig1", "a", "b");
    assert_eq!(follower.look(&["a", "b"], 100), []);
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Running")]);
    follower.for_move("mig2", "b", "a");
    let both = [completed("mig1", 25), started("mig2")];
    assert_eq!(follower.look(&["a", "b"], 105), both);
    follower.are(&[("mig1", "Succeeded"), ("mig2", "Succeeded")]);
    assert_eq!(follower.look(&["a"], 110), [completed("mig2", 5)]);
}
