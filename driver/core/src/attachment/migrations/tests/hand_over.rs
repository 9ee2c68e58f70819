//! What two nodes have a volume for, by what pods and migrations there are.

use rstest::rstest;

use super::super::*;
use crate::attachment::exception::Moment;
use crate::attachment::judge::tests::sample::{Change as Cluster, cluster, on_way};
use crate::attachment::observation::{KubeVirt, Migration, Observations, Part, Phase, Reading};
use crate::attachment::pod::{Pod, Role};

#[test]
fn what_two_nodes_have_a_volume_for_is_judged_from_either() {
    let now = Moment::last();
    let moving = cluster(&[Cluster::Has("b")]);
    let found = hand_over(&moving, None, &now).unwrap().unwrap();
    assert_eq!((found.source.as_str(), found.target.as_str()), ("a", "b"));
    assert_eq!(hand_over(&cluster(&[]), None, &now), Ok(None));
    assert_eq!(
        hand_over(&cluster(&[Cluster::Has("b"), Cluster::NoLabel]), None, &now),
        Ok(None)
    );
    let unread = Observations {
        pods: Default::default(),
        ..moving
    };
    let unread = hand_over(&unread, None, &now).unwrap_err();
    assert_eq!((unread.part, unread.why), (Part::Pods, None));
}

/// What two nodes have the volume of the sample for, after changes.
fn found_of(changes: &[Cluster], younger: Option<&str>) -> Option<HandOver> {
    let mut all = vec![Cluster::Has("b")];
    all.extend_from_slice(changes);
    let seen = cluster(&all);
    hand_over(&seen, younger, &Moment::last()).unwrap()
}

#[rstest]
#[case::succeeded(&[Cluster::Phase("Succeeded")])]
#[case::failed(&[Cluster::Phase("Failed")])]
#[case::aborted(&[Cluster::Aborting])]
#[case::its_source_has_ended(&[Cluster::Phase("Succeeded"), Cluster::PodOver("a")])]
#[case::its_source_is_gone(&[Cluster::Phase("Succeeded"), Cluster::NoPodOn("a")])]
#[case::its_target_has_ended(&[Cluster::Phase("Failed"), Cluster::PodOver("b")])]
#[case::its_source_is_lost(&[Cluster::NotReady("a")])]
#[case::it_was_a_disk_that_was_plugged(&[Cluster::Phase("Succeeded"), Cluster::HotPlugged])]
fn a_migration_that_is_over_is_known_by_the_pod_that_was_made_for_it(#[case] changes: &[Cluster]) {
    for younger in [None, Some("b")] {
        assert_eq!(found_of(changes, younger), Some(on_way()));
    }
    assert_eq!(found_of(changes, Some("a")), None, "nobody moved there");
}

#[test]
fn one_that_is_deleted_is_named_by_its_uid() {
    let expected = HandOver {
        migration: "vms/uid-mig".to_owned(),
        ..on_way()
    };
    let changes = [Cluster::NoMigration, Cluster::NoMachine];
    for changes in [&changes[..1], &changes] {
        assert_eq!(found_of(changes, Some("b")), Some(expected.clone()));
    }
}

#[rstest]
#[case::it_was_made_for_none(&[Cluster::NoLabel])]
#[case::it_moves_another(&[Cluster::MovesAnother])]
#[case::it_moves_another_and_its_own_is_gone(&[Cluster::MovesAnother, Cluster::NoMachine])]
#[case::another_machine_is_there(&[Cluster::AnotherMachine])]
#[case::something_else_is_there(&[Cluster::Beside("a", Role::Other)])]
#[case::a_copy_is_taken_there(&[Cluster::Beside("a", Role::Reader), Cluster::NoPodOn("b")])]
#[case::the_pod_is_gone(&[Cluster::NoPodOn("b")])]
#[case::there_is_no_kubevirt(&[Cluster::KubeVirt(KubeVirt::Absent)])]
fn what_two_nodes_have_for_no_migration_is_not_taken_for_a_past_one(#[case] changes: &[Cluster]) {
    let mut all = vec![];
    if !changes
        .iter()
        .any(|change| matches!(change, Cluster::KubeVirt(_)))
    {
        all.push(Cluster::Phase("Succeeded"));
    }
    all.extend_from_slice(changes);
    assert_eq!(found_of(&all, Some("b")), None);
    assert_eq!(found_of(&all, None), None);
}

/// The pods and the migrations, to be changed.
fn parts(seen: &mut Observations) -> (&mut Vec<Pod>, &mut Vec<Migration>) {
    match (&mut seen.pods, &mut seen.kubevirt) {
        (Reading::Complete(pods), Reading::Complete(KubeVirt::Present { migrations, .. })) => {
            (pods, migrations)
        }
        unread => panic!("{unread:?}"),
    }
}

/// The machine has come to a by a migration of before.
#[test]
fn of_two_that_were_made_for_migrations_the_younger_one_is_the_target() {
    let mut seen = cluster(&[Cluster::Has("b"), Cluster::Phase("Succeeded")]);
    let (pods, _) = parts(&mut seen);
    pods[0].migration = Some("uid-earlier".to_owned());
    let found = |younger| hand_over(&seen, younger, &Moment::last()).unwrap();
    assert_eq!(found(Some("b")), Some(on_way()));
    assert_eq!(found(None), None, "nobody knows");
    assert_eq!(
        found(Some("a")).map(|found| found.uid),
        Some("uid-earlier".to_owned())
    );
}

/// The sample after the machine has gone from `a` to `b` and back at once: `b` let go of nothing
/// yet, and the pod on `a` was made for a migration that was made at that moment.
fn gone_back(made: i64) -> Observations {
    let mut seen = cluster(&[Cluster::Has("b"), Cluster::Phase("Succeeded")]);
    for (standing, created) in seen.attachments.iter_mut().zip([100, 200, 200]) {
        standing.attachment.created = Some(created);
    }
    let (pods, migrations) = parts(&mut seen);
    let home = Pod {
        name: "home".to_owned(),
        uid: "uid-home".to_owned(),
        migration: Some("uid-back".to_owned()),
        ..pods[0].clone()
    };
    pods[0].phase = Phase::Over;
    pods.push(home);
    migrations[0].created = Some(150);
    let back = Migration {
        name: "back".to_owned(),
        uid: "uid-back".to_owned(),
        created: Some(made),
        ..migrations[0].clone()
    };
    migrations.push(back);
    seen
}

fn on_way_back() -> HandOver {
    HandOver {
        migration: "vms/back".to_owned(),
        uid: "uid-back".to_owned(),
        source: "b".to_owned(),
        target: "a".to_owned(),
        timeout: None,
    }
}

#[test]
fn a_migration_that_was_made_when_both_had_the_volume_may_go_to_the_elder_one() {
    let found = |seen: &Observations| hand_over(seen, Some("b"), &Moment::last()).unwrap();
    assert_eq!(found(&gone_back(300)), Some(on_way_back()));
    // The one that had brought the machine to a, before it went to b.
    assert_eq!(found(&gone_back(90)), Some(on_way()));
    let mut under_way = gone_back(300);
    let (_, migrations) = parts(&mut under_way);
    migrations[1].phase = "Running".to_owned();
    assert_eq!(found(&under_way), Some(on_way_back()));
}

/// It has gone there, back, and there again, and neither node has let go.
#[rstest]
#[case::arrived("Succeeded")]
#[case::failed("Failed")]
fn a_migration_that_goes_to_the_younger_one_again_is_the_last(#[case] phase: &str) {
    let mut seen = gone_back(300);
    let (pods, migrations) = parts(&mut seen);
    let again = Migration {
        name: "again".to_owned(),
        uid: "uid-again".to_owned(),
        phase: phase.to_owned(),
        created: Some(400),
        ..migrations[0].clone()
    };
    migrations.push(again);
    for pod in &mut *pods {
        pod.phase = Phase::Over;
    }
    pods.push(Pod {
        name: "again".to_owned(),
        uid: "uid-pod-again".to_owned(),
        migration: Some("uid-again".to_owned()),
        phase: Phase::Running,
        ..pods[1].clone()
    });
    let found = hand_over(&seen, Some("b"), &Moment::last()).unwrap();
    assert_eq!(found.unwrap().migration, "vms/again");
}

/// Both pods on `a` were made for a migration: the one before, and the one back, which failed.
#[test]
fn of_pods_that_have_ended_the_one_of_the_last_migration_counts() {
    let mut seen = gone_back(300);
    let (pods, migrations) = parts(&mut seen);
    pods[0].migration = Some("uid-before".to_owned());
    pods[2].phase = Phase::Over;
    migrations[1].phase = "Failed".to_owned();
    let before = Migration {
        uid: "uid-before".to_owned(),
        created: Some(90),
        ..migrations[0].clone()
    };
    migrations.push(before);
    let found = |seen: &Observations| hand_over(seen, Some("b"), &Moment::last()).unwrap();
    assert_eq!(found(&seen), Some(on_way_back()));
}
