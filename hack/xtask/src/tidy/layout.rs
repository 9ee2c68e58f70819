//! What may lie at the top of the repository.
//!
//! A short, fixed list, so that a newcomer sees the parts at a glance; everything else
//! has its place in one of them.

use std::collections::BTreeSet;

use super::Violation;

const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "charts",
    "driver",
    "hack",
    "proto",
    "tests",
    "webhook",
];

/// One violation per top-level name that is not on the list.
pub(super) fn check<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<Violation> {
    let names: BTreeSet<&str> = paths.filter_map(|path| path.split('/').next()).collect();
    names
        .into_iter()
        .filter(|name| !TOP.contains(name))
        .map(|name| Violation {
            path: name.to_owned(),
            line: None,
            what: "not one of the parts at the top level".to_owned(),
            remedy: "move it into one of them, tools into hack",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parts_pass_whatever_is_in_them() {
        let paths = ["Cargo.toml", "driver/src/odd/name", ".ci/run"];
        assert_eq!(check(paths.into_iter()), []);
    }

    #[test]
    fn a_stray_part_is_found_once() {
        let paths = ["src/a.rs", "src/b.rs", "driver/Cargo.toml", "deny.toml"];
        let found: Vec<_> = check(paths.into_iter())
            .into_iter()
            .map(|violation| violation.path)
            .collect();
        assert_eq!(found, ["deny.toml", "src"]);
    }
}
