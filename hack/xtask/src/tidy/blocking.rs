//! What waits for a disk has no place on the driver's runtime.
//!
//! The node's runtime has one thread: a call of the standard library that blocks there
//! holds up every volume. In `driver/src` such calls are made before the role serves or
//! after it ended; everything else goes through the host crate, whose tests let each of
//! its calls hang.

use super::{Violation, is_in_module, word_places};

/// Modules that run before or after the serving.
const OUTSIDE: &[&str] = &[
    "driver/src/config",
    "driver/src/node/startup",
    "driver/src/registration",
    "driver/src/server",
];

const BLOCKING: &[&str] = &["std::fs", "std::net::TcpStream", "std::thread"];

/// Checks one Rust file, given without comments and literals.
pub(super) fn check(path: &str, code: &str) -> Vec<Violation> {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let is_outside = OUTSIDE.iter().any(|place| is_in_module(path, place));
    if !path.starts_with("driver/src/") || is_test || is_outside {
        return Vec::new();
    }
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    BLOCKING
        .iter()
        .flat_map(|word| word_places(code, word))
        .map(|(line, _)| Violation {
            path: path.to_owned(),
            line: Some(line),
            what: "this blocks the runtime".to_owned(),
            remedy: "go through a port of rds-csi-host, or tokio",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_calls_are_found_where_the_runtime_serves_and_only_there() {
        let code = "use std::fs;\nlet x = 1;\nstd::thread::sleep(d);\nstd::fs::read(p);\n#[cfg(test)]\nuse std::fs;";
        let lines = |path| -> Vec<_> {
            let found = check(path, code);
            let mut lines: Vec<_> = found.into_iter().filter_map(|found| found.line).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines("driver/src/node/stage.rs"), [1, 3, 4]);
        assert_eq!(lines("driver/src/admin.rs"), [1, 3, 4]);
        for path in [
            "driver/src/node/startup.rs",
            "driver/src/node/tests/faults.rs",
            "driver/src/config/controller.rs",
            "driver/host/src/registry.rs",
            "webhook/src/main.rs",
        ] {
            assert_eq!(lines(path), [0_usize; 0], "{path}");
        }
    }
}
