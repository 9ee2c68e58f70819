//! Many volumes on one node.

use rds_csi_core::nqn::NqnPrefix;

use super::*;
use crate::node::StageRequest;

const COUNT: usize = 100;

fn id(number: usize) -> VolumeId {
    VolumeId::for_name(&"lab".parse().unwrap(), &format!("volume-{number}"))
}

/// A lab with a hundred raw volumes staged.
async fn staged() -> (Lab, Vec<Nqn>) {
    let lab = Lab::new(Medium::Blank);
    let mut nqns = Vec::new();
    for number in 0..COUNT {
        let id = id(number);
        let nqn = NqnPrefix::default().nqn(&id);
        lab.array.export(&nqn, Bytes::gib(1), Medium::Blank);
        let request = lab.stage_request(Use::Block);
        let mut context = request.context.clone();
        context.nqn = nqn.clone();
        let request = StageRequest {
            id,
            context,
            ..request
        };
        lab.node.stage(&request).await.unwrap();
        nqns.push(nqn);
    }
    (lab, nqns)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_volumes_come_back_without_a_storm() {
    let (lab, nqns) = staged().await;
    let cluster = Told::new(Says::Attached);
    let connected = |lab: &Lab| {
        nqns.iter()
            .filter(|nqn| lab.host.connected().contains(nqn.as_str()))
            .count()
    };
    beside(&lab, &cluster, async {
        seconds(5).await;
        for nqn in &nqns {
            lab.array.set_reachable(nqn, false);
            lab.host.lose(nqn);
        }
        let connects = lab.count("connect");
        seconds(600).await;
        assert_eq!(lab.count("connect"), connects, "asked in vain");
        for nqn in &nqns {
            lab.array.set_reachable(nqn, true);
        }
        until("all are back", || connected(&lab) == COUNT).await;
        assert_eq!(lab.count("connect"), connects + COUNT, "one attempt each");
    })
    .await;
    let lost = cluster
        .reasons()
        .iter()
        .filter(|reason| **reason == event::CONNECTION_FAILURE)
        .count();
    assert_eq!(lost, COUNT);
}

/// The port is open before the exports are: the kernel gives every session up.
#[tokio::test(start_paused = true)]
async fn exports_that_come_back_after_minutes_are_found_within_seconds() {
    let (lab, nqns) = staged().await;
    for lost in [1, COUNT] {
        // The first one stays away.
        let (away, lost) = nqns[..=lost.min(COUNT - 1)].split_first().unwrap();
        beside(&lab, &Told::new(Says::Attached), async {
            seconds(5).await;
            for nqn in lost.iter().chain([away]) {
                lab.array.set_exported(nqn, false);
                lab.host.lose(nqn);
            }
            let connects = lab.count("connect");
            seconds(120).await;
            let attempts = lab.count("connect") - connects;
            assert!(attempts < 120 + 10 * (lost.len() + 1), "{attempts} in vain");
            for nqn in lost {
                lab.array.set_exported(nqn, true);
            }
            let (connects, back) = (lab.count("connect"), Instant::now());
            until("the others are back", || {
                let connected = lab.host.connected();
                lost.iter().all(|nqn| connected.contains(nqn.as_str()))
            })
            .await;
            let after = back.elapsed();
            assert!(after < Duration::from_millis(3250), "{after:?}");
            let attempts = lab.count("connect") - connects;
            assert!(attempts < lost.len() + 8, "{attempts} for {}", lost.len());
            lab.array.set_exported(away, true);
            seconds(60).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_hangs_holds_up_no_other() {
    let (lab, nqns) = staged().await;
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.array
            .set_namespace_delay(&nqns[0], Duration::from_secs(3600));
        for nqn in &nqns {
            lab.host.lose(nqn);
        }
        let others = || {
            let connected = lab.host.connected();
            nqns[1..].iter().all(|nqn| connected.contains(nqn.as_str()))
        };
        until("the others are back", others).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn metrics_show_where_volumes_stand() {
    let (lab, nqns) = staged().await;
    let shows = |line: &str| {
        lab.node
            .metrics
            .encode()
            .unwrap()
            .lines()
            .any(|found| found == line)
    };
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        assert!(shows("rds_csi_nvme_sessions{state=\"live\"} 100"));
        lab.host.set_state(&nqns[0], &ControllerState::Connecting);
        lab.array.set_exported(&nqns[1], false);
        lab.host.lose(&nqns[1]);
        seconds(5).await;
        assert!(shows("rds_csi_nvme_sessions{state=\"live\"} 98"));
        assert!(shows("rds_csi_nvme_sessions{state=\"connecting\"} 1"));
        assert!(shows("rds_csi_nvme_sessions{state=\"removed\"} 1"));
        assert!(shows("rds_csi_nvme_session_losses_total 2"));
        lab.host.set_state(&nqns[0], &ControllerState::Live);
        lab.array.set_exported(&nqns[1], true);
        seconds(60).await;
        assert!(shows("rds_csi_nvme_sessions{state=\"live\"} 100"));
        assert!(shows("rds_csi_nvme_session_outage_seconds_count 2"));
        assert!(shows(
            "rds_csi_nvme_session_reconnects_total{result=\"ok\"} 1"
        ));
        assert!(shows(
            "rds_csi_events_posted_total{reason=\"ConnectionRecovery\",result=\"ok\"} 2"
        ));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_never_answered_stands_in_nobodys_way() {
    let lab = published(Use::Block).await;
    // It comes first in the order of ids.
    let silent = super::recovery::stage_another(&lab).await;
    let nqn = lab.node.nqn(&silent).await.unwrap();
    beside(&lab, &Told::new(Says::Attached), async {
        seconds(5).await;
        lab.array.set_reachable(&nqn, false);
        for lost in [&nqn, &lab.nqn] {
            lab.host.lose(lost);
        }
        lab.array.set_reachable(&lab.nqn, false);
        seconds(60).await;
        lab.array.set_reachable(&lab.nqn, true);
        seconds(5).await;
    })
    .await;
    assert!(lab.is_whole(Use::Block).await);
}
