//! The four recordings, each with what the webhook and the driver say to its attachments,
//! what is told of its migrations, and who has which disk in the end.

use rds_csi_tests::recording::{BACK_TO_BACK, Event, FAILS, HOT_PLUGGED, SUCCEEDS};

use crate::replay::Replay;
use crate::stand::{A, B, C, Stand};

/// Plays a recording, of which this is told, and `left` is who has its disks at its end.
async fn play(
    stand: &Stand,
    name: &'static str,
    recording: &str,
    told: &[&str],
    left: (&[&str], &[&str]),
) {
    let mut replay = Replay::new(stand, name);
    for line in recording.lines() {
        let line = replay.here(line);
        if let Some(event) = Event::read(&line).unwrap() {
            replay.event(event).await;
        }
    }
    let told: Vec<String> = told.iter().map(|line| line.replace('~', name)).collect();
    assert_eq!(replay.told, told);
    let (disks, nodes) = left;
    for disk in disks {
        assert_eq!(stand.nodes_with(disk).await, nodes, "{disk}");
    }
}

async fn succeeds(stand: &Stand) {
    let expected = [
        "2.1 ~-root alone-a alone",
        "5.64 ~-root alone-b ~-mig1 from alone-a to alone-b",
    ];
    let left: (&[&str], &[&str]) = (&["good-root"], &[B]);
    play(stand, "good", SUCCEEDS, &expected, left).await;
    let (started, completed) = (
        stand.started(A, B, "good-mig1"),
        stand.completed(A, B, "good-mig1"),
    );
    stand.told("good-root", &[started, completed]).await;
}

async fn fails(stand: &Stand) {
    let (root, migration) = ("bad-root", "bad-mig1");
    let expected = [
        "1.46 ~-root alone-a alone",
        "3.48 ~-root alone-b ~-mig1 from alone-a to alone-b",
    ];
    // Nothing is taken from anybody because a migration is over, and nobody else gets in,
    // until the target's pod ends, which it had not when the recording did.
    let left: (&[&str], &[&str]) = (&[root], &[A, B]);
    play(stand, "bad", FAILS, &expected, left).await;
    let words = "two is the most that a live migration needs";
    stand.refused(root, C, words).await;
    let started = stand.started(A, B, migration);
    stand.told(root, std::slice::from_ref(&started)).await;
    stand.pod_is("virt-launcher-vm1-c6q5x", "Failed").await;
    stand.lets_go(root, B).await;
    assert_eq!(stand.nodes_with(root).await, [A]);
    let failed = stand.failed(B, migration);
    stand.told(root, &[started, failed]).await;
}

/// In the recording three nodes had the disk for 0.7 s.
async fn back_to_back(stand: &Stand) {
    let expected = [
        "2.1 ~-root alone-a alone",
        "4.63 ~-root alone-b ~-mig1 from alone-a to alone-b",
        "7.64 migration ~-mig2 two-nodes",
        "11.7 ~-root alone-c two-nodes",
        "12.42 ~-root alone-c ~-mig2 from alone-b to alone-c",
    ];
    let left: (&[&str], &[&str]) = (&["two-root"], &[C]);
    play(stand, "two", BACK_TO_BACK, &expected, left).await;
    let told = [
        stand.started(A, B, "two-mig1"),
        stand.completed(A, B, "two-mig1"),
        stand.started(B, C, "two-mig2"),
        stand.completed(B, C, "two-mig2"),
    ];
    stand.told("two-root", &told).await;
}

async fn hot_plugged(stand: &Stand) {
    let expected = [
        "1.57 ~-root alone-b alone",
        "4.02 ~-data alone-b alone",
        "9.47 ~-root alone-a ~-mig1 from alone-b to alone-a",
        "10.37 ~-data alone-a ~-mig1 from alone-b to alone-a",
    ];
    let disks = ["plug-root", "plug-data"];
    let left: (&[&str], &[&str]) = (&disks, &[A]);
    play(stand, "plug", HOT_PLUGGED, &expected, left).await;
    for disk in disks {
        let (started, completed) = (
            stand.started(B, A, "plug-mig1"),
            stand.completed(B, A, "plug-mig1"),
        );
        stand.told(disk, &[started, completed]).await;
    }
}

#[tokio::test]
async fn what_was_recorded_goes_as_it_went_and_no_third_node_gets_in() {
    let disks = [
        "good-root",
        "bad-root",
        "two-root",
        "plug-root",
        "plug-data",
    ];
    let stand = Stand::open("sequences-recorded", &disks).await;
    tokio::join!(
        succeeds(&stand),
        fails(&stand),
        back_to_back(&stand),
        hot_plugged(&stand)
    );
    stand.close().await;
}
