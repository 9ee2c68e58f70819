//! The table of codes against what the sidecars do with them.

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("creating volume {name}")]
struct Outer {
    name: String,
    kind: Kind,
    #[source]
    cause: std::num::ParseIntError,
}

impl Failure for Outer {
    fn kind(&self) -> Kind {
        self.kind
    }
}

fn failing(name: &str, kind: Kind) -> Outer {
    Outer {
        name: name.to_owned(),
        kind,
        cause: "x".parse::<u8>().unwrap_err(),
    }
}

#[test]
fn every_kind_has_the_code_that_its_reader_needs() {
    let expected = [
        (Kind::Invalid, Code::InvalidArgument),
        (Kind::NotFound, Code::NotFound),
        (Kind::Conflict, Code::FailedPrecondition),
        (Kind::Exists, Code::AlreadyExists),
        (Kind::Busy, Code::Aborted),
        (Kind::Exhausted, Code::ResourceExhausted),
        (Kind::OutOfRange, Code::OutOfRange),
        (Kind::Unreachable, Code::Unavailable),
        (Kind::Timeout, Code::DeadlineExceeded),
        (Kind::Denied, Code::PermissionDenied),
        (Kind::Unsupported, Code::Unimplemented),
        (Kind::Bug, Code::Internal),
    ];
    assert_eq!(expected.map(|(kind, _)| kind), Kind::ALL);
    for (kind, code) in expected {
        assert_eq!(status(&failing("a", kind)).code(), code, "{kind:?}");
    }
}

/// external-provisioner, `checkError` in pkg/controller/controller.go.
#[test]
fn a_retryable_failure_never_lets_the_provisioner_forget_the_volume() {
    let may_still_be_running = [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Unavailable,
        Code::Aborted,
    ];
    for kind in Kind::ALL {
        assert_eq!(
            kind.is_retryable(),
            may_still_be_running.contains(&status(&failing("a", kind)).code()),
            "{kind:?}"
        );
    }
}

#[test]
fn the_message_is_the_whole_chain() {
    let status = status(&failing("pvc-1", Kind::Invalid));
    assert_eq!(
        status.message(),
        "creating volume pvc-1: invalid digit found in string"
    );
}

#[test]
fn a_long_message_is_cut_between_characters() {
    for odd in ["", "a", "aa"] {
        let status = status(&failing(&format!("{odd}{}", "€".repeat(2000)), Kind::Bug));
        let message = status.message();
        assert!(message.len() <= MAX_MESSAGE && message.len() > MAX_MESSAGE - 8);
        assert!(message.ends_with("€… (cut)"), "{message}");
    }
}
