//! The domain asks nobody: no file, clock, thread, process, socket or variable.
//!
//! The walls between crates keep libraries away from it, and cannot keep the standard
//! library away. What a rule needs to know is given to it as a value.

use super::{Violation, is_in_module, is_test, word_places};

/// The crate without I/O.
const PURE: &str = "driver/core/src";

/// What asks the machine. Addresses (`std::net::IpAddr`) are values.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
];

/// Checks one Rust file, given without comments and literals.
pub(super) fn check(path: &str, code: &str) -> Vec<Violation> {
    if !is_in_module(path, PURE) || is_test(path) {
        return Vec::new();
    }
    IMPURE
        .iter()
        .flat_map(|word| word_places(code, word))
        .map(|(line, _)| Violation {
            path: path.to_owned(),
            line: Some(line),
            what: "this asks the machine".to_owned(),
            remedy: "take the answer as a value",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_the_machine_is_found_in_the_domain_and_only_there() {
        for word in IMPURE {
            let code = format!("use std::fmt;\nuse {word}::thing;\n");
            let lines = |path: &str| -> Vec<_> {
                check(path, &code).iter().map(|found| found.line).collect()
            };
            assert_eq!(lines("driver/core/src/stage.rs"), [Some(2)], "{word}");
            assert_eq!(lines("driver/core/src/stage/error.rs"), [Some(2)], "{word}");
            assert_eq!(lines("driver/core/src/stage/tests.rs"), [], "{word}");
            assert_eq!(lines("driver/host/src/sys.rs"), [], "{word}");
        }
    }

    #[test]
    fn values_pass() {
        let code = "use std::net::IpAddr;\nuse std::time::Duration;\nfn instant() {}\n";
        assert_eq!(check("driver/core/src/nvme.rs", code), []);
    }
}
