//! How migrations end, by who is left and by what their objects say.

use rstest::rstest;

use super::*;

/// A machine may be stopped as soon as it has arrived, or be back before anybody looks.
#[rstest]
#[case::on_the_target(&["b"])]
#[case::stopped(&[])]
#[case::back_again(&["a"])]
#[case::elsewhere(&["c"])]
fn one_that_has_succeeded_is_completed_whoever_is_left(#[case] left: &[&str]) {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Succeeded")]);
    assert_eq!(follower.look(left, 5), [completed("mig1", 5)]);
    assert_eq!(follower.migrations.active(), 0);
}

/// A post-copy that breaks off leaves the machine where it went.
#[rstest]
#[case::back(&["a"], Left::Source)]
#[case::stopped(&[], Left::Source)]
#[case::post_copy(&["b"], Left::Target)]
fn one_that_has_failed_has_failed_wherever_it_is(#[case] nodes: &[&str], #[case] left: Left) {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Failed")]);
    assert_eq!(follower.look(nodes, 5), [failed("mig1", 5, left)]);
}

#[test]
fn one_whose_target_alone_has_let_go_has_failed_though_it_does_not_know_it_yet() {
    let mut follower = Follower::of_one();
    let expected = [failed("mig1", 5, Left::Source)];
    assert_eq!(follower.look(&["a"], 5), expected);
}

/// An aborted migration is deleted.
#[test]
fn one_that_is_deleted_and_leaves_the_source_has_failed() {
    let mut follower = Follower::of_one();
    follower.are(&[]);
    let expected = [failed("mig1", 5, Left::Source)];
    assert_eq!(follower.look(&["a"], 5), expected);
}

/// KubeVirt deletes the migrations of a machine that is deleted, those that have arrived too.
#[rstest]
#[case::on_the_target(&["b"])]
#[case::stopped(&[])]
#[case::elsewhere(&["c"])]
fn of_one_that_is_deleted_and_leaves_the_source_too_nobody_can_say_how_it_went(
    #[case] left: &[&str],
) {
    let mut follower = Follower::of_one();
    follower.are(&[]);
    assert_eq!(follower.look(left, 5), []);
    assert_eq!(follower.migrations.active(), 0);
}

/// With its machine gone, its finalizer may stay for as long.
#[rstest]
#[case::no_node_has_the_disk(&[], 0)]
#[case::the_target_has_it(&["b"], 1)]
fn one_that_is_being_deleted_is_waited_for_where_a_machine_may_be(
    #[case] left: &[&str],
    #[case] active: usize,
) {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "leaving")]);
    assert_eq!(follower.look(left, 5), []);
    assert_eq!(follower.migrations.active(), active);
}

#[test]
fn one_that_is_being_deleted_has_failed_once_the_source_alone_has_the_disk() {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "leaving")]);
    assert_eq!(follower.look(&["a", "b"], 5), []);
    let expected = [failed("mig1", 10, Left::Source)];
    assert_eq!(follower.look(&["a"], 10), expected);
}

#[test]
fn one_that_was_seen_to_succeed_has_done_so_though_it_is_deleted_then() {
    let mut follower = Follower::of_one();
    follower.are(&[("mig1", "Succeeded")]);
    assert_eq!(follower.look(&["a", "b"], 5), []);
    follower.are(&[]);
    assert_eq!(follower.look(&["b"], 10), [completed("mig1", 10)]);
}

/// That both have it no more is not how long it took to be told so.
#[rstest]
#[case::arrived(&["b"])]
#[case::stopped(&[])]
fn of_one_that_is_not_said_to_be_over_nothing_is_told(#[case] left: &[&str]) {
    let mut follower = Follower::of_one();
    assert_eq!(follower.look(left, 5), []);
    assert_eq!(follower.look(left, 10), []);
    assert_eq!(follower.migrations.active(), 1);
    follower.are(&[("mig1", "Succeeded")]);
    assert_eq!(follower.look(left, 15), [completed("mig1", 5)]);
}

#[rstest]
#[case::arrived(&["b"], "Succeeded", completed("mig1", 5))]
#[case::post_copy(&["b"], "Failed", failed("mig1", 5, Left::Target))]
#[case::stopped(&[], "Succeeded", completed("mig1", 5))]
#[case::back(&["a"], "Failed", failed("mig1", 5, Left::Source))]
fn of_one_whose_object_cannot_be_read_nothing_is_told(
    #[case] left: &[&str],
    #[case] phase: &str,
    #[case] expected: (String, Change),
) {
    let mut follower = Follower::of_one();
    follower.objects = None;
    assert_eq!(follower.look(left, 5), []);
    assert_eq!(follower.look(left, 10), []);
    assert_eq!(follower.migrations.active(), 1);
    follower.are(&[("mig1", phase)]);
    assert_eq!(follower.look(left, 15), [expected]);
}
