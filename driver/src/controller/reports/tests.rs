//! Refusals and migrations, as people and monitoring learn of them.

use std::time::Duration;

use rds_csi_cluster::fake::FakeCluster;
use rds_csi_cluster::fake::machine::launcher;
use rds_csi_core::attachment::fence::Lost;
use rds_csi_core::attachment::{Change, HandOver, Left, Mode, Object, Told};
use rds_csi_core::names::event::OF_CONTROLLER;

use super::*;

fn denial(rule: Rule) -> Denial {
    Denial {
        rule,
        why: "node a has the volume".to_owned(),
        object: Object {
            kind: "Node",
            namespace: None,
            name: "a".to_owned(),
        },
        next: "Wait".to_owned(),
        held: false,
    }
}

fn told(change: Change) -> Told {
    Told {
        volume: "pv".to_owned(),
        hand_over: HandOver {
            migration: "vms/move".to_owned(),
            uid: "uid".to_owned(),
            source: "a".to_owned(),
            target: "b".to_owned(),
            timeout: None,
        },
        change,
    }
}

fn leftover() -> Leftover {
    Leftover {
        attachment: VolumeAttachment {
            name: "va".to_owned(),
            uid: "uid".to_owned(),
            node: "a".to_owned(),
            persistent_volume: "pv".to_owned(),
            attached: true,
            leaving: false,
            created: None,
        },
        since: "2026-10-01T00:00:00Z".parse().unwrap(),
        after: Duration::from_secs(600),
    }
}

fn noted(mode: Mode) -> Noted {
    let finding = Finding::Denial(denial(Rule::SameMachine));
    Noted { mode, finding }
}

/// Reports, and what has come of them.
async fn reported(report: impl FnOnce(&Reports)) -> (Vec<(&'static str, String)>, String) {
    let metrics = Metrics::new("controller", Vec::new());
    let (reports, events) = Reports::new(metrics.clone());
    report(&reports);
    drop(reports);
    let cluster = FakeCluster::default();
    post(events, &cluster).await;
    (cluster.posted(), metrics.encode().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_again_is_counted_each_time_and_told_once_in_a_while() {
    let deny = Verdict::Deny(denial(Rule::SingleNode));
    let (posted, page) = reported(|reports| {
        for _ in 0..3 {
            reports.judged("pv", "b", &deny, &[]);
        }
        reports.judged("pv", "c", &deny, &[]);
        reports.judged("other", "b", &deny, &[]);
    })
    .await;
    assert_eq!(posted.len(), 3, "{posted:?}");
    assert_eq!(posted[0].0, event::ATTACHMENT_CONFLICT);
    assert!(
        posted[0]
            .1
            .starts_with("node b does not get the volume: node a has"),
        "{posted:?}"
    );
    assert!(
        page.contains("attachment_conflicts_total{rule=\"single-node\"} 5"),
        "{page}"
    );
}

/// As where a pod is seen a moment after its attachment, and is not for the machine either.
#[tokio::test(start_paused = true)]
async fn a_refusal_with_another_reason_is_told_at_once_and_each_reason_once() {
    let because = |why: &str| {
        Verdict::Deny(Denial {
            why: why.to_owned(),
            ..denial(Rule::SameMachine)
        })
    };
    let reasons = ["no pod asks for it", "its migration is Failed"];
    let (posted, page) = reported(|reports| {
        for _ in 0..3 {
            for why in reasons {
                reports.judged("pv", "b", &because(why), &[]);
            }
        }
    })
    .await;
    assert_eq!(posted.len(), reasons.len(), "{posted:?}");
    for ((reason, words), why) in posted.iter().zip(reasons) {
        assert_eq!(*reason, event::ATTACHMENT_CONFLICT);
        assert!(words.contains(why), "{words}");
    }
    let line = "attachment_conflicts_total{rule=\"same-machine\"} 6";
    assert!(page.contains(line), "{page}");
}

fn judgements(reports: &Reports) {
    reports.judged("pv", "b", &Verdict::Deny(denial(Rule::SingleNode)), &[]);
    let excepted = Verdict::Allow(Reason::Excepted {
        reason: "cluster filesystem".to_owned(),
        until: "2027-01-01T00:00:00Z".parse().unwrap(),
    });
    reports.allowed("pv", "b", &excepted);
    let reader = Verdict::Allow(Reason::Reader {
        pod: "vms/cdi-source".to_owned(),
    });
    reports.allowed("pv", "b", &reader);
    let relaxed = Verdict::Allow(Reason::Relaxed);
    reports.judged("warned", "b", &relaxed, &[noted(Mode::Warn)]);
    reports.judged("audited", "b", &relaxed, &[noted(Mode::Audit)]);
    reports.kept(&denial(Rule::NodeLoss));
}

fn fences(reports: &Reports) {
    let lost = [Lost {
        attachment: "uid-a".to_owned(),
        node: "a".to_owned(),
    }];
    for told in [FenceTold::Done, FenceTold::Recorded, FenceTold::InUse] {
        reports.fence("pv", "b", told, &lost);
    }
}

#[tokio::test]
async fn every_event_is_posted_and_every_number_moves() {
    let after = Duration::from_secs(20);
    let (posted, page) = reported(|reports| {
        judgements(reports);
        fences(reports);
        for change in [
            Change::Started,
            Change::TakesLong { after },
            Change::Completed { after },
        ] {
            reports.migration(&told(change));
        }
        for left in [Left::Source, Left::Target, Left::Both] {
            reports.migration(&told(Change::Failed { after, left }));
        }
        reports.migrations(1);
        reports.leftovers(2);
        reports.cleared(&leftover());
        reports.hangs(&leftover());
        reports.stays_for(&leftover(), &launcher("web", "a", None));
    })
    .await;
    for reason in OF_CONTROLLER {
        assert!(
            posted.iter().any(|(found, _)| *found == reason),
            "{reason}: {posted:?}"
        );
    }
    assert_eq!(
        posted.len(),
        15,
        "an audited rule is only counted: {posted:?}"
    );
    for line in [
        "attachment_conflicts_total{rule=\"single-node\"} 1",
        "attachment_exceptions_total 1",
        "attachment_rules_relaxed_total{rule=\"same-machine\",mode=\"warn\"} 1",
        "attachment_rules_relaxed_total{rule=\"same-machine\",mode=\"audit\"} 1",
        "attachment_detach_refused_total{rule=\"node-loss\"} 1",
        "attachment_fences_total{result=\"done\"} 1",
        "attachment_fences_total{result=\"recorded\"} 1",
        "attachment_fences_total{result=\"in_use\"} 1",
        "migration_migrations_total{result=\"started\"} 1",
        "migration_migrations_total{result=\"long\"} 1",
        "migration_migrations_total{result=\"completed\"} 1",
        "migration_migrations_total{result=\"failed\"} 3",
        "migration_duration_seconds_count 4",
        "migration_active_migrations 1",
        "attachment_stale 2",
        "attachment_stale_cleared_total 1",
        "events_posted_total{reason=\"MigrationStarted\",result=\"ok\"} 1",
    ] {
        assert!(
            page.contains(&format!("rds_csi_{line}\n")),
            "{line} not in\n{page}"
        );
    }
}

/// An API server that does not answer holds up nobody, and what was not told is counted.
#[tokio::test]
async fn what_does_not_fit_is_counted() {
    let (posted, page) = reported(|reports| {
        for _ in 0..WAITING + 3 {
            reports.migration(&told(Change::Started));
        }
    })
    .await;
    assert_eq!(posted.len(), WAITING);
    let line = "events_posted_total{reason=\"MigrationStarted\",result=\"error\"} 3";
    assert!(page.contains(line), "{page}");
}
