//! Walls inside crates: which module may name which library.
//!
//! A library with a wide interface stays behind one module, so that its types and its
//! changes do not spread. The checks look at whole words of code, not at comments or
//! literals.

use super::{Violation, is_in_module, word_places};

/// A name that only some places may use.
struct Wall {
    word: &'static str,
    /// Modules, without `.rs`, or directories.
    allowed: &'static [&'static str],
    remedy: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        word: "csi_proto",
        allowed: &[
            "driver/src/csi",
            "driver/src/registration",
            "driver/src/server",
            "driver/tests",
            "tests",
            "proto",
        ],
        remedy: "decode and encode in driver/src/csi",
    },
    Wall {
        word: "russh",
        allowed: &["driver/routeros/src/ssh", "tests"],
        remedy: "go through driver/routeros/src/ssh",
    },
    Wall {
        word: "nix",
        allowed: &["driver/host/src/sys", "tests"],
        remedy: "go through driver/host/src/sys",
    },
    Wall {
        word: "rustix",
        allowed: &["driver/host/src/sys", "tests"],
        remedy: "go through driver/host/src/sys",
    },
    Wall {
        word: "kube",
        allowed: &["driver/cluster", "webhook", "tests"],
        remedy: "go through the port in driver/cluster",
    },
    Wall {
        word: "k8s_openapi",
        allowed: &["driver/cluster", "webhook", "tests"],
        remedy: "go through the port in driver/cluster",
    },
    Wall {
        word: "unsafe",
        allowed: &[],
        remedy: "find the safe interface; the workspace forbids it",
    },
];

/// The functions of `tonic::Status` that make one.
const STATUS_CONSTRUCTORS: &[&str] = &[
    "aborted",
    "already_exists",
    "cancelled",
    "data_loss",
    "deadline_exceeded",
    "failed_precondition",
    "from_error",
    "internal",
    "invalid_argument",
    "new",
    "not_found",
    "ok",
    "out_of_range",
    "permission_denied",
    "resource_exhausted",
    "unauthenticated",
    "unavailable",
    "unimplemented",
    "unknown",
    "with_details",
    "with_details_and_metadata",
    "with_metadata",
];

/// Checks one Rust file, given without comments and literals.
pub(super) fn check(path: &str, code: &str) -> Vec<Violation> {
    let walls = WALLS
        .iter()
        .filter(|wall| !wall.allowed.iter().any(|place| is_in_module(path, place)))
        .flat_map(|wall| {
            word_places(code, wall.word).map(|(line, _)| Violation {
                path: path.to_owned(),
                line: Some(line),
                what: format!("`{}` has no place here", wall.word),
                remedy: wall.remedy,
            })
        });
    walls.chain(statuses(path, code)).collect()
}

/// A gRPC code is chosen in one table, by what the caller will do with it.
fn statuses(path: &str, code: &str) -> Vec<Violation> {
    if !path.starts_with("driver/") || path == "driver/src/status.rs" {
        return Vec::new();
    }
    let makes_one = |rest: &str| {
        let name = rest.strip_prefix("::").unwrap_or_default();
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        STATUS_CONSTRUCTORS.contains(&&name[..end.unwrap_or(name.len())])
    };
    word_places(code, "Status")
        .filter(|(_, rest)| makes_one(rest))
        .map(|(line, _)| Violation {
            path: path.to_owned(),
            line: Some(line),
            what: "a gRPC status is made here".to_owned(),
            remedy: "return an error with a Kind; driver/src/status.rs makes the status",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, code: &str) -> Vec<Option<usize>> {
        check(path, code).iter().map(|found| found.line).collect()
    }

    #[test]
    fn each_library_is_free_behind_its_wall_and_found_outside() {
        let cases = [
            (
                "csi_proto",
                "driver/src/csi/node.rs",
                "driver/src/node/stage.rs",
            ),
            (
                "csi_proto",
                "driver/src/server/rpc.rs",
                "driver/src/status.rs",
            ),
            ("csi_proto", "tests/src/client.rs", "webhook/src/lib.rs"),
            (
                "russh",
                "driver/routeros/src/ssh/keys.rs",
                "driver/routeros/src/client.rs",
            ),
            ("russh", "tests/rds-sim/src/ssh.rs", "driver/src/main.rs"),
            (
                "nix",
                "driver/host/src/sys.rs",
                "driver/host/src/mounter.rs",
            ),
            ("kube", "webhook/src/server.rs", "driver/src/controller.rs"),
            (
                "k8s_openapi",
                "driver/cluster/src/nodes.rs",
                "driver/core/src/lib.rs",
            ),
        ];
        for (word, inside, outside) in cases {
            let code = format!("use std::fs;\nuse {word}::Thing;\n");
            assert_eq!(lines(inside, &code), [], "{word} in {inside}");
            assert_eq!(lines(outside, &code), [Some(2)], "{word} in {outside}");
        }
    }

    #[test]
    fn longer_words_are_other_words() {
        let code = "use std::os::unix; kubelet(); deny(unsafe_code);";
        assert_eq!(lines("driver/src/a.rs", code), []);
    }

    #[test]
    fn unsafe_is_found_everywhere() {
        for path in [
            "tests/src/a.rs",
            "driver/host/src/sys.rs",
            "hack/xtask/src/a.rs",
        ] {
            assert_eq!(lines(path, "\nunsafe { f() }"), [Some(2)], "{path}");
        }
    }

    #[test]
    fn a_status_is_made_in_one_file_of_the_driver() {
        let made = "tonic::Status::internal(x);\nStatus::new(Code::Ok, x);\nmap(Status::aborted)";
        let expected = [Some(1), Some(2), Some(3)];
        assert_eq!(lines("driver/src/csi/node.rs", made), expected);
        assert_eq!(lines("driver/src/status.rs", made), []);
        assert_eq!(lines("tests/src/fake.rs", made), []);
    }

    #[test]
    fn a_status_may_be_named_and_other_statuses_made() {
        let code = "fn f() -> Result<(), Status>; ExitStatus::new(); Status::from(e)";
        assert_eq!(lines("driver/src/csi/node.rs", code), []);
    }
}
