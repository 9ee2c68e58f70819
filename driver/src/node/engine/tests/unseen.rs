//! What no look of the engine shows, or what looks as if it were well.

use super::recovery::stage_another;
use super::*;
use crate::node::tests::identity;

#[tokio::test(start_paused = true)]
async fn a_device_that_was_replaced_between_two_looks_is_handed_on() {
    for used in Use::ALL {
        let lab = published(used).await;
        let cluster = Told::new(Says::Attached);
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.host.lose(&lab.nqn);
            lab.connect_as(identity("node-1"), &lab.nqn).await;
            seconds(10).await;
        })
        .await;
        assert!(lab.is_whole(used).await, "{used:?}");
        let reasons = cluster.reasons();
        assert_eq!(reasons, [event::DEVICE_REPLACED], "{used:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_raw_volume_that_kubelet_stages_again_first_gets_its_targets_back() {
    let lab = published(Use::Block).await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.host.lose(&lab.nqn);
        Box::pin(lab.stage(Use::Block)).await.unwrap();
        assert_eq!(lab.path(TARGET).await, PathState::Absent);
        seconds(10).await;
    })
    .await;
    assert!(lab.is_whole(Use::Block).await);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_kubelet_stages_again_in_vain_is_still_watched() {
    let lab = published(Use::Block).await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.array.set_exported(&lab.nqn, false);
        lab.host.lose(&lab.nqn);
        Box::pin(lab.stage(Use::Block)).await.unwrap_err();
        let record = lab.node.registry.get(&lab.id).await.unwrap().unwrap();
        assert_eq!(record.staged_at.as_deref(), Some(Path::new(STAGING)));
        seconds(60).await;
        lab.array.set_exported(&lab.nqn, true);
        seconds(60).await;
    })
    .await;
    assert!(lab.is_whole(Use::Block).await);
}

#[tokio::test(start_paused = true)]
async fn a_raw_target_that_was_passed_over_does_not_stay_with_another_volume() {
    let mut lab = published(Use::Block).await;
    // A process that keeps no number.
    lab.restart();
    lab.array.set_exported(&lab.nqn, false);
    lab.host.lose(&lab.nqn);
    // Somebody works on the volume while another one gets its number.
    let guard = lab.node.locks.try_lock(lab.id.as_str()).unwrap();
    let other = stage_another(&lab).await;
    drop(guard);
    let nqn = lab.node.nqn(&other).await.unwrap();
    let device = live(lab.node.seen(&nqn).await.unwrap(), &nqn).unwrap();
    let number = device.namespace.number;
    assert_eq!(
        lab.path(TARGET).await,
        PathState::Block(number),
        "the test tries nothing"
    );
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        assert_eq!(lab.path(TARGET).await, PathState::Absent);
        lab.array.set_exported(&lab.nqn, true);
        seconds(60).await;
    })
    .await;
    assert!(lab.is_whole(Use::Block).await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_lasts_is_not_opened_without_end() {
    let lab = published(EXT4).await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        let connects = lab.count("connect");
        lab.host.lose(&lab.nqn);
        for _ in 0..6000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            // Two hosts of one identity do this to each other.
            if lab.host.connected().contains(lab.nqn.as_str()) {
                seconds(1).await;
                lab.host.lose(&lab.nqn);
            }
        }
        let attempts = lab.count("connect") - connects;
        assert!((10..60).contains(&attempts), "{attempts} attempts");
        // One that lasted is connected at once when it is lost.
        seconds(120).await;
        lab.host.lose(&lab.nqn);
        seconds(5).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_read_at_first_are_read_later() {
    let lab = published(EXT4).await;
    let sessions = lab.state_directory().join("sessions");
    let away = lab.state_directory().join("away");
    std::fs::rename(&sessions, &away).unwrap();
    // No directory: listing it is an error, and no absence.
    std::fs::write(&sessions, "").unwrap();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(10).await;
        std::fs::remove_file(&sessions).unwrap();
        std::fs::rename(&away, &sessions).unwrap();
        seconds(5).await;
        lab.host.lose(&lab.nqn);
        seconds(10).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
}

#[tokio::test(start_paused = true)]
async fn a_filesystem_that_died_on_a_living_device_is_told_of_once_and_left() {
    let lab = published(EXT4).await;
    let cluster = Told::new(Says::Attached);
    let before = lab.host.mount_table();
    let failures = |cluster: &Told| {
        let reasons = cluster.reasons();
        let failed = reasons
            .iter()
            .filter(|reason| **reason == event::RECOVERY_FAILED);
        failed.count()
    };
    beside(&lab, &cluster, async {
        // Without any outage that is seen: the pool of the device was full.
        seconds(5).await;
        lab.host.shut_down(&lab.nqn);
        seconds(600).await;
        assert_eq!(failures(&cluster), 1);
        let told = cluster.message(event::RECOVERY_FAILED);
        assert!(told.contains("Delete all pods"), "{told}");
        // And after one, soon.
        lab.host.set_state(&lab.nqn, &ControllerState::Connecting);
        seconds(10).await;
        lab.host.set_state(&lab.nqn, &ControllerState::Live);
        seconds(5).await;
        assert_eq!(failures(&cluster), 2);
    })
    .await;
    assert_eq!(lab.host.mount_table(), before);
    let looks = lab.count("has_shut_down");
    assert!((8..20).contains(&looks), "{looks}");
}

/// As if twenty minutes more had passed since a volume was lost: the calendar does not
/// follow the time of tests.
fn twenty_minutes_pass(lab: &Lab) {
    let path = lab.state_directory().join("outages.json");
    let mut noted: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for since in noted["lost"].as_object_mut().unwrap().values_mut() {
        *since = (since.as_u64().unwrap() - 20 * 60 * 1000).into();
    }
    std::fs::write(&path, noted.to_string()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_goes_on_through_a_restart_of_the_plugin() {
    for lost_as in [None, Some(ControllerState::Connecting)] {
        let mut lab = published(EXT4).await;
        let cluster = Told::new(Says::Attached);
        beside(&lab, &cluster, async {
            seconds(5).await;
            match &lost_as {
                None => {
                    lab.array.set_reachable(&lab.nqn, false);
                    lab.host.lose(&lab.nqn);
                }
                Some(state) => lab.host.set_state(&lab.nqn, state),
            }
            seconds(5).await;
        })
        .await;
        twenty_minutes_pass(&lab);
        lab.restart();
        beside(&lab, &cluster, async {
            seconds(5).await;
            lab.array.set_reachable(&lab.nqn, true);
            if lost_as.is_some() {
                lab.host.set_state(&lab.nqn, &ControllerState::Live);
            }
            seconds(10).await;
        })
        .await;
        let mut reasons = cluster.reasons();
        reasons.retain(|reason| *reason != event::DEVICE_REPLACED);
        assert_eq!(
            reasons,
            [event::CONNECTION_FAILURE, event::CONNECTION_RECOVERY]
        );
        let told = cluster.message(event::CONNECTION_RECOVERY);
        let after: f64 = told
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .unwrap();
        assert!((1200.0..1212.0).contains(&after), "{told}");
        let page = lab.node.metrics.encode().unwrap();
        for line in [
            "rds_csi_nvme_session_losses_total 0",
            "rds_csi_nvme_session_outage_seconds_count 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
        }
        let left = lab.state_directory().join("outages.json");
        assert!(!left.exists(), "it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_cannot_be_written_down_holds_up_nobody() {
    let lab = published(EXT4).await;
    std::fs::create_dir(lab.state_directory().join("outages.json")).unwrap();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.host.lose(&lab.nqn);
        seconds(10).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_unstaged_while_it_is_looked_at_keeps_no_number() {
    let mut lab = published(Use::Block).await;
    lab.restart();
    lab.unpublish().await.unwrap();
    lab.publish(Use::Block).await.unwrap();
    lab.restart();
    let guard = lab.node.locks.try_lock(lab.id.as_str()).unwrap();
    let recovered = recover::recover(&lab.node, None, &lab.id).await;
    assert_eq!(recovered, Ok(None));
    assert!(!lab.node.keeps(&lab.id), "without the volume's guard");
    drop(guard);
    recover::recover(&lab.node, None, &lab.id).await.unwrap();
    assert!(lab.node.keeps(&lab.id));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_is_told_of_and_left_alone() {
    let lab = published(EXT4).await;
    let shows = |count: usize| {
        let page = lab.node.metrics.encode().unwrap();
        let line = format!("rds_csi_nvme_sessions_unused {count}");
        page.lines().any(|found| found == line)
    };
    let nqn = |name: &str| -> Nqn { format!("nqn.2000-02.com.mikrotik:{name}").parse().unwrap() };
    let (left, root) = (nqn("pvc-left"), nqn("node-root"));
    for nqn in [&left, &root] {
        lab.array.export(nqn, Bytes::gib(1), Medium::Blank);
    }
    lab.connect_as(identity("firmware"), &root).await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(150).await;
        assert!(shows(0), "neither the staged one nor the machine's own");
        lab.connect_as(identity("node-1"), &left).await;
        seconds(50).await;
        assert!(shows(0), "it may be on its way to be staged");
        seconds(100).await;
        assert!(shows(1));
        assert_eq!(lab.host.connected().len(), 3);
        lab.host.lose(&left);
        seconds(100).await;
        assert!(shows(0));
    })
    .await;
    assert_eq!(lab.count("disconnect"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_its_namespace_is_asked_for_it_again() {
    let lab = published(EXT4).await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        // Found by nobody unless he looks for it.
        lab.array
            .set_namespace_delay(&lab.nqn, Duration::from_secs(3600));
        lab.host.lose(&lab.nqn);
        seconds(60).await;
    })
    .await;
    assert!(lab.is_whole(EXT4).await);
}
