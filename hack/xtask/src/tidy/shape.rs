//! The shape of Rust files: their size, their names, and that a module says what it is.

use std::path::Path;

use super::{Violation, is_test};

/// Lines of a file that still reads in one sitting.
const COMFORTABLE: usize = 300;
/// Lines that no file with product code exceeds.
const MOST: usize = 500;

/// Checks one Rust file.
pub(super) fn check(path: &str, text: &str) -> Vec<Violation> {
    let violation = |what: String, remedy| Violation {
        path: path.to_owned(),
        line: None,
        what,
        remedy,
    };
    let mut found = Vec::new();
    if Path::new(path)
        .file_name()
        .is_some_and(|name| name == "mod.rs")
    {
        found.push(violation(
            "a module named mod.rs".to_owned(),
            "name it after its directory, beside it",
        ));
    }
    if path.split('/').any(|part| part == "src") && !text.starts_with("//!") {
        found.push(violation(
            "the module does not say what it is".to_owned(),
            "open it with `//!`",
        ));
    }
    let lines = text.lines().count();
    if lines > MOST && !is_test(path) {
        found.push(violation(
            format!("{lines} lines, more than {MOST}"),
            "divide it by what its parts are about",
        ));
    }
    found
}

/// A remark on a file that is allowed but long.
pub(super) fn note(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let long = lines > COMFORTABLE && lines <= MOST && !is_test(path);
    long.then(|| format!("{path}: {lines} lines, more than {COMFORTABLE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> String {
        let mut text = "//! A module.\n".to_owned();
        text.push_str(&"\n".repeat(count - 1));
        text
    }

    #[test]
    fn a_short_module_with_a_head_passes() {
        assert_eq!(check("driver/src/a.rs", &lines(500)), []);
        assert_eq!(check("proto/build.rs", "fn main() {}\n"), []);
    }

    #[test]
    fn a_file_over_the_limit_is_found_unless_it_holds_tests() {
        assert_eq!(check("driver/src/a.rs", &lines(501)).len(), 1);
        assert_eq!(check("driver/src/a/tests.rs", &lines(501)), []);
        assert_eq!(check("tests/tests/a.rs", &lines(501)), []);
        assert_eq!(check("tests/rds-sim/src/a.rs", &lines(501)).len(), 1);
    }

    #[test]
    fn a_long_file_is_remarked_on_below_the_limit_only() {
        assert_eq!(note("driver/src/a.rs", &lines(300)), None);
        assert!(note("driver/src/a.rs", &lines(301)).is_some());
        assert_eq!(note("driver/src/a.rs", &lines(501)), None);
    }

    #[test]
    fn a_module_without_a_head_is_found() {
        for text in [
            "",
            "use a;\n",
            "// A comment.\n//! Too late.\n",
            "\n//! A.\n",
        ] {
            assert_eq!(check("driver/src/a/b.rs", text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn the_old_way_to_name_modules_is_found() {
        assert_eq!(check("driver/src/a/mod.rs", &lines(3)).len(), 1);
        assert_eq!(check("driver/src/model.rs", &lines(3)), []);
    }
}
