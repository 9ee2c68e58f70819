//! Opening, losing and sharing the SSH session.

use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::{Chain, Failure, Kind};
use rds_csi_routeros::client::RdsClient;
use rds_csi_routeros::{LinkState, Rds, RdsConfig};
use rds_sim::Fault;
use rds_sim::fault::Harm;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fronts::{Volume, reconnected, ssh, ssh_with, variants, write_key};

const PATIENCE: Duration = Duration::from_secs(20);

async fn link(rds: &RdsClient, fits: impl Fn(&LinkState) -> bool) -> LinkState {
    let seen = async {
        loop {
            let state = rds.link();
            if fits(&state) {
                return state;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap()
}

#[tokio::test]
async fn the_session_is_opened_without_being_asked() {
    let front = ssh(variants(&[])).await;
    let state = link(&front.rds, |state| state.connected).await;
    assert_eq!(state.version.as_deref(), Some("7.24.4 (stable)"));
    assert_eq!((state.connects, state.last_error), (1, None));
}

#[tokio::test]
async fn a_hundred_callers_of_an_inventory_cost_three_prints_at_most() {
    let front = ssh(variants(&["exec-latency-ms=30"])).await;
    front.rds.inventory().await.unwrap();
    let before = front.sim.counters().executions;
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let rds = Arc::clone(&front.rds);
        calls.spawn(async move {
            let called = Instant::now();
            assert!(rds.inventory().await.unwrap().began >= called);
        });
    }
    calls.join_all().await;
    assert!(front.sim.counters().executions - before <= 3);
}

#[tokio::test]
async fn commands_run_one_at_a_time() {
    // A second command on the connection would hang.
    let front = ssh(variants(&["exec-latency-ms=5"])).await;
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let rds = Arc::clone(&front.rds);
        calls.spawn(async move {
            let volume = Volume::new(&format!("pvc-{number}"));
            let creation = volume.creation(Bytes::mib(4));
            let owner = Some(&volume.owner);
            let made = rds.apply(&volume.id, &volume.file, owner, &creation);
            made.await.unwrap();
        });
    }
    calls.join_all().await;
    assert_eq!(front.sim.counters().logins, 1);
}

#[tokio::test]
async fn a_crowd_that_reads_volumes_shares_its_round_trips_and_sees_what_one_alone_sees() {
    let front = ssh(variants(&["exec-latency-ms=30"])).await;
    let volumes: Vec<Volume> = (0..100)
        .map(|number| Volume::new(&format!("pvc-{number}")))
        .collect();
    // Every other one is there.
    for volume in volumes.iter().step_by(2) {
        let (owner, creation) = (Some(&volume.owner), volume.creation(Bytes::mib(4)));
        let made = front.rds.apply(&volume.id, &volume.file, owner, &creation);
        made.await.unwrap();
    }
    let before = front.sim.counters().executions;
    let mut calls = JoinSet::new();
    for (number, volume) in volumes.iter().cloned().enumerate() {
        let rds = Arc::clone(&front.rds);
        calls.spawn(async move {
            let state = rds.volume(&volume.id, &volume.file).await.unwrap();
            (number, state)
        });
    }
    let mut states = calls.join_all().await;
    let executions = front.sim.counters().executions - before;
    assert!(executions <= 8, "{executions}");
    states.sort_by_key(|(number, _)| *number);
    for (number, state) in states {
        let volume = &volumes[number];
        let alone = front.rds.volume(&volume.id, &volume.file).await.unwrap();
        assert_eq!(state, alone);
        assert_eq!(
            (state.item.is_some(), state.file_exists),
            (number % 2 == 0, number % 2 == 0)
        );
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_what_was_sent() {
    let front = ssh(variants(&["exec-latency-ms=100"])).await;
    let volume = Volume::new("pvc-1");
    front.rds.inventory().await.unwrap();
    let before = front.sim.counters().executions;
    let creation = volume.creation(rds_csi_core::bytes::Bytes::gib(1));
    let apply = front.rds.apply(&volume.id, &volume.file, None, &creation);
    assert!(timeout(Duration::from_millis(50), apply).await.is_err());
    let state = front.rds.volume(&volume.id, &volume.file).await.unwrap();
    assert!(state.item.is_some_and(|item| item.exported));
    assert_eq!(front.sim.counters().executions - before, 2);
    assert_eq!(front.sim.counters().logins, 1);
}

#[tokio::test]
async fn a_wrong_host_key_is_loud_and_nothing_is_said_to_it() {
    let other = ssh(variants(&[])).await;
    let pinned = other.config.host_keys.clone();
    let front = ssh_with(variants(&[]), |config| config.host_keys = pinned).await;
    let error = front.rds.inventory().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    let text = Chain(&error).to_string();
    let offered = front.sim.host_key().unwrap();
    let offered: rds_csi_routeros::HostKey = offered.parse().unwrap();
    assert!(text.contains("WRONG HOST KEY"), "{text}");
    assert!(text.contains(&offered.fingerprint()), "{text}");
    assert!(
        text.contains(&other.config.host_keys[0].fingerprint()),
        "{text}"
    );
    assert_eq!(front.sim.counters().logins, 0);
    assert!(
        front
            .rds
            .link()
            .last_error
            .unwrap()
            .contains("WRONG HOST KEY")
    );
}

#[tokio::test]
async fn two_host_keys_may_be_pinned_while_they_are_exchanged() {
    let other = ssh(variants(&[])).await;
    let old = other.config.host_keys[0].clone();
    let front = ssh_with(variants(&[]), |config| config.host_keys.insert(0, old)).await;
    assert!(front.rds.inventory().await.is_ok());
}

#[tokio::test]
async fn a_rejected_key_is_a_denial_until_the_file_holds_the_right_one() {
    let other = ssh(variants(&[])).await;
    let front = ssh_with(variants(&[]), |config| {
        write_key(&config.key_file, other.sim.client_key().unwrap());
    })
    .await;
    let error = front.rds.inventory().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error:?}");
    write_key(&front.config.key_file, front.sim.client_key().unwrap());
    // The next attempt is due by itself.
    let state = link(&front.rds, |state| state.connected).await;
    assert_eq!(state.last_error, None);
    assert!(front.rds.inventory().await.is_ok());
}

#[tokio::test]
async fn while_backing_off_the_reason_comes_at_once() {
    let front = ssh(variants(&[])).await;
    front
        .sim
        .inject(Fault::RefuseConnections { refuse: true })
        .unwrap();
    front.rds.inventory().await.ok();
    front.sim.inject(Fault::CutConnections).unwrap();
    link(&front.rds, |state| !state.connected).await;
    front.rds.inventory().await.unwrap_err();
    let asked = Instant::now();
    for _ in 0..50 {
        let error = front.rds.inventory().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
        let text = Chain(&error).to_string();
        assert!(text.contains("next attempt in"), "{text}");
    }
    assert!(asked.elapsed() < Duration::from_millis(700));
    front
        .sim
        .inject(Fault::RefuseConnections { refuse: false })
        .unwrap();
    link(&front.rds, |state| state.connected).await;
}

#[tokio::test]
async fn a_dropped_connection_is_replaced_by_the_next_call() {
    let front = ssh(variants(&[])).await;
    for connects in 1..4 {
        front.rds.inventory().await.unwrap();
        assert_eq!(front.rds.link().connects, connects);
        front.sim.inject(Fault::CutConnections).unwrap();
        link(&front.rds, |state| !state.connected).await;
    }
}

#[tokio::test]
async fn a_session_that_the_device_ends_for_idleness_is_replaced_by_the_next_call() {
    let front = ssh(variants(&["idle-seconds=1"])).await;
    for connects in 1..3 {
        front.rds.inventory().await.unwrap();
        assert_eq!(front.rds.link().connects, connects);
        link(&front.rds, |state| !state.connected).await;
    }
}

#[tokio::test]
async fn a_session_that_ends_while_nobody_asks_is_replaced_without_being_asked() {
    let front = ssh_with(variants(&[]), |config| {
        config.idle_reconnect = Duration::from_millis(50);
    })
    .await;
    for connects in 1..4 {
        link(&front.rds, |state| {
            state.connected && state.connects == connects
        })
        .await;
        front.sim.inject(Fault::CutConnections).unwrap();
    }
}

#[tokio::test]
async fn a_deadline_closes_the_connection() {
    let front = ssh_with(variants(&[]), |config| {
        config.command_timeout = Duration::from_millis(300);
    })
    .await;
    let volume = Volume::new("pvc-1");
    reconnected(front.rds.as_ref(), &volume).await;
    let hang = Fault::next(Harm::Hang { effect: false });
    front.sim.inject(hang).unwrap();
    let error = front.rds.inventory().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    reconnected(front.rds.as_ref(), &volume).await;
    let only_the_new_one = async {
        while front.sim.counters().open != 1 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, only_the_new_one).await.unwrap();
    assert_eq!(front.sim.counters().logins, 2);
}

#[tokio::test]
async fn a_device_that_reboots_is_found_again() {
    let front = ssh(variants(&[])).await;
    front.rds.inventory().await.unwrap();
    let reboot = Fault::Reboot {
        down_ms: 300,
        mount_ms: 0,
        power_cut: false,
    };
    front.sim.inject(reboot).unwrap();
    reconnected(front.rds.as_ref(), &Volume::new("pvc-1")).await;
}

#[tokio::test]
async fn a_device_that_is_too_old_is_refused_unless_allowed() {
    let old = "version=7.20.6 (stable)";
    let front = ssh(variants(&[old])).await;
    let error = front.rds.inventory().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    let text = Chain(&error).to_string();
    assert!(text.contains("7.20.6") && text.contains("7.21"), "{text}");
    let front = ssh_with(variants(&[old]), |config| config.allow_old_version = true).await;
    assert!(front.rds.inventory().await.is_ok());
}

#[tokio::test]
async fn a_start_does_not_wait_for_the_device_and_a_drop_ends_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = ssh(variants(&[])).await;
    let config = RdsConfig {
        // Accepts and never speaks.
        address: listener.local_addr().unwrap().into(),
        connect_timeout: Duration::from_millis(300),
        ..front.config.clone()
    };
    let tracker = TaskTracker::new();
    let rds = RdsClient::start(config.clone(), &tracker, CancellationToken::new());
    let error = rds.inventory().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    drop(rds);
    tracker.close();
    timeout(PATIENCE, tracker.wait()).await.unwrap();

    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    let rds = RdsClient::start(config, &tracker, token.clone());
    token.cancel();
    tracker.close();
    timeout(PATIENCE, tracker.wait()).await.unwrap();
    assert_eq!(rds.inventory().await.unwrap_err().kind(), Kind::Unreachable);
}

#[tokio::test]
async fn no_key_is_ever_shown() {
    let front = ssh(variants(&[])).await;
    front.rds.inventory().await.unwrap();
    let shown = format!("{:?} {:?}", front.rds, front.config);
    let key = front.sim.client_key().unwrap();
    let line = key.lines().nth(2).unwrap();
    assert!(!shown.contains(line) && !shown.contains("PRIVATE"));
}
