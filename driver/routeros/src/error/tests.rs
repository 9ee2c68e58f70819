//! What refusals and unknown outcomes mean to the caller.

use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::appliance::{DiskItem, DiskKind};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::Chain;
use rds_csi_core::volume_name::Owner;
use rstest::rstest;

use super::*;
use crate::ssh::ConnectError;

fn add() -> Step {
    Step::Add {
        size: Bytes::gib(1),
        owner: Owner::from_comment("rds-csi/lab/pvc-1").unwrap(),
    }
}

fn refusal(step: Step, index: usize, kind: FailureKind, file_exists: bool) -> Refusal {
    Refusal {
        device: "rds:22".to_owned(),
        id: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap(),
        step,
        index,
        message: "failure: words".to_owned(),
        kind,
        state: VolumeState {
            item: None,
            file_exists,
        },
    }
}

#[rstest]
#[case(FailureKind::NotFound, Kind::NotFound)]
#[case(FailureKind::Exists, Kind::Exists)]
#[case(FailureKind::NoSpace, Kind::Exhausted)]
#[case(FailureKind::Busy, Kind::Busy)]
#[case(FailureKind::Denied, Kind::Denied)]
#[case(FailureKind::Syntax, Kind::Unsupported)]
#[case(FailureKind::Invalid, Kind::Invalid)]
#[case(FailureKind::Unknown, Kind::Unreachable)]
fn a_refusal_is_final_only_if_nothing_can_have_changed(
    #[case] failure: FailureKind,
    #[case] kind: Kind,
) {
    assert_eq!(refusal(add(), 0, failure, false).kind(), kind);
    assert_eq!(
        refusal(add(), 0, failure, true).kind(),
        Kind::Unreachable,
        "an addition left a file behind"
    );
    assert_eq!(
        refusal(Step::Export, 1, failure, true).kind(),
        Kind::Unreachable,
        "the step before it happened"
    );
    assert_eq!(
        refusal(Step::RemoveFile, 0, failure, true).kind(),
        kind,
        "the file was there before"
    );
}

#[test]
fn an_item_that_is_there_and_not_found_is_somebody_elses() {
    let mut refusal = refusal(Step::Export, 0, FailureKind::NotFound, false);
    refusal.state.item = Some(DiskItem {
        slot: refusal.id.to_string(),
        comment: "other".to_owned(),
        kind: DiskKind::Other("raid".to_owned()),
        exported: false,
        nqn: None,
        port: None,
        allowed_host: None,
    });
    assert_eq!(refusal.kind(), Kind::Conflict);
}

#[test]
fn an_unknown_outcome_is_never_final() {
    let sources: [AnswerError; 5] = [
        ConsoleError::Deadline {
            device: String::new(),
            after: Duration::from_secs(1),
        }
        .into(),
        ConsoleError::Lost {
            device: String::new(),
            reason: String::new(),
        }
        .into(),
        ConsoleError::NoSession {
            device: String::new(),
            retry_in: Duration::ZERO,
            source: Arc::new(ConnectError::Rejected {
                user: String::new(),
                fingerprint: String::new(),
            }),
        }
        .into(),
        ReplyError::Incomplete {
            said: String::new(),
        }
        .into(),
        AnswerError::Complaint {
            message: String::new(),
            kind: FailureKind::Denied,
        },
    ];
    for source in sources {
        let error = RdsError::OutcomeUnknown {
            id: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap(),
            steps: "add".to_owned(),
            device: "rds:22".to_owned(),
            source,
        };
        assert!(
            matches!(error.kind(), Kind::Unreachable | Kind::Timeout),
            "{error:?}"
        );
    }
}

#[test]
fn a_wrong_host_key_is_loud_and_not_final() {
    let error = RdsError::Read {
        what: "the inventory".to_owned(),
        device: "rds:22".to_owned(),
        source: AnswerError::Console(ConsoleError::NoSession {
            device: "rds:22".to_owned(),
            retry_in: Duration::from_millis(1500),
            source: Arc::new(ConnectError::WrongHostKey {
                offered: "ssh-ed25519 SHA256:a".to_owned(),
                pinned: "ssh-ed25519 SHA256:b".to_owned(),
            }),
        }),
    };
    assert_eq!(error.kind(), Kind::Unreachable);
    insta::assert_snapshot!(Chain(&error), @"reading the inventory from rds:22: no session with rds:22, next attempt in 1.5 s: WRONG HOST KEY: the device offers ssh-ed25519 SHA256:a, pinned are ssh-ed25519 SHA256:b; if the device's key was exchanged on purpose, pin the new one as well, else somebody is in between");
}
