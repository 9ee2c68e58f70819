//! Machines that go back at once to a node that has not let go of their disk yet.

use rds_csi_cluster::fake::machine::{kubevirt_with, migration};

use super::*;

/// The UID of the migration back.
const BACK: &str = "back-uid";

/// The machine goes back to `a`, which has not let go: both have the volume all the time.
fn turns(cluster: &FakeCluster) {
    cluster.end_pods("a");
    cluster.run(launcher("home", "a", Some(BACK)));
    cluster.kubevirt_is(there_and_back("Running"));
}

/// The machine has arrived, and its migration back, which was made just now, is in a phase.
fn there_and_back(phase: &str) -> KubeVirt {
    let made = |ago: i64| Some(Timestamp::now().as_second() - ago);
    let there = Migration {
        created: made(300),
        ..migration("move", MIGRATION, "Succeeded")
    };
    let back = Migration {
        created: made(0),
        ..migration("back", BACK, phase)
    };
    kubevirt_with(vec![there, back])
}

/// Which of the events on the claim are about the way back.
fn are_of_the_way_back(cluster: &FakeCluster) -> Vec<bool> {
    let posted = cluster.posted().into_iter();
    let is_back = |(_, words): (_, String)| {
        assert_ne!(words.contains("vms/move"), words.contains("vms/back"));
        words.contains("vms/back")
    };
    posted.map(is_back).collect()
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_back_at_once_has_moved_twice() {
    let (cluster, driver, events) = moving();
    let told = told_during(&cluster, driver, events, async {
        begins(&cluster).await;
        turns(&cluster);
        seconds(10).await;
        cluster.kubevirt_is(there_and_back("Succeeded"));
        cluster.delete("b");
        seconds(10).await;
    });
    let expected = [
        event::MIGRATION_STARTED,
        event::MIGRATION_COMPLETED,
        event::MIGRATION_STARTED,
        event::MIGRATION_COMPLETED,
    ];
    assert_eq!(told.await, expected);
    assert_eq!(are_of_the_way_back(&cluster), [false, false, true, true]);
}

/// What was told before is not told again, though the first migration is there to be seen.
#[rstest]
#[case("Running")]
#[case("Succeeded")]
#[tokio::test(start_paused = true)]
async fn whoever_takes_over_after_a_turn_tells_how_the_way_back_went(#[case] phase: &str) {
    let (cluster, driver, events) = moving();
    let first = told_during(&cluster, driver, events, async {
        begins(&cluster).await;
        turns(&cluster);
        seconds(10).await;
    });
    assert_eq!(first.await.len(), 3);
    cluster.age("a", Duration::from_secs(3600));
    cluster.age("b", Duration::from_secs(20));
    cluster.kubevirt_is(there_and_back(phase));
    let (driver, events) = controller(&cluster);
    let second = told_during(&cluster, driver, events, async {
        seconds(3).await;
        cluster.kubevirt_is(there_and_back("Succeeded"));
        cluster.delete("b");
        seconds(10).await;
    });
    assert_eq!(second.await, [event::MIGRATION_COMPLETED]);
    assert_eq!(are_of_the_way_back(&cluster), [false, false, true, true]);
}
