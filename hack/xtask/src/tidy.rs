//! `cargo xtask tidy`: the invariants of the repository that no compiler checks.
//!
//! Every check is a pure function over a path and its text, or over the metadata of
//! cargo; this file reads both, runs all checks and prints what they found. It never
//! changes a file.

mod blocking;
mod code;
mod crates;
mod layout;
mod manifest;
mod pure;
mod shape;
mod walls;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;
use xshell::{Shell, cmd};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    /// The file, relative to the root of the repository.
    path: String,
    /// The line, from 1, where the rule speaks of one.
    line: Option<usize>,
    /// What is wrong.
    what: String,
    /// What to do about it.
    remedy: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}, {}", self.what, self.remedy)
    }
}

/// A file that git tracks. Bytes that are no UTF-8 have no text to check.
struct Tracked {
    path: String,
    text: Option<String>,
}

/// Runs every check; the exit status is 1 if one of them found something.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let shell = Shell::new().context("opening the working directory")?;
    let metadata = metadata(&shell)?;
    let root = metadata["workspace_root"]
        .as_str()
        .context("cargo metadata names no workspace root")?;
    let files = tracked(&shell, Path::new(root))?;

    for note in files.iter().filter_map(note) {
        println!("note: {note}");
    }
    let mut violations = crates::check(&metadata)?;
    violations.extend(layout::check(files.iter().map(|file| file.path.as_str())));
    violations.extend(files.iter().flat_map(check));
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("tidy: {} files, nothing to say", files.len());
        Ok(ExitCode::SUCCESS)
    } else {
        println!("tidy: {} violations", violations.len());
        Ok(ExitCode::FAILURE)
    }
}

/// Every check on one file.
fn check(file: &Tracked) -> Vec<Violation> {
    let path = file.path.as_str();
    let Some(text) = file.text.as_deref() else {
        return Vec::new();
    };
    let mut found = words::check(path, text);
    if Path::new(path).ends_with("Cargo.toml") {
        found.extend(manifest::check(path, text));
    }
    if is_rust(path) {
        let code = code::only(text);
        found.extend(words::check_code(path, &code));
        found.extend(walls::check(path, &code));
        found.extend(blocking::check(path, &code));
        found.extend(pure::check(path, &code));
        found.extend(shape::check(path, text));
    }
    found
}

fn note(file: &Tracked) -> Option<String> {
    let text = file.text.as_deref()?;
    is_rust(&file.path).then(|| shape::note(&file.path, text))?
}

fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == "rs")
}

/// The resolved dependency graph. With a lock file at hand cargo needs no network for
/// it once the packages are on the machine.
fn metadata(shell: &Shell) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let output = cmd!(shell, "{cargo} metadata --format-version 1 --locked")
        .quiet()
        .read()
        .context("asking cargo for its metadata")?;
    serde_json::from_str(&output).context("reading the metadata of cargo")
}

fn tracked(shell: &Shell, root: &Path) -> anyhow::Result<Vec<Tracked>> {
    shell.change_dir(root);
    let output = cmd!(shell, "git ls-files -z")
        .quiet()
        .read()
        .context("asking git for the files it tracks")?;
    let paths: BTreeSet<&str> = output.split('\0').filter(|path| !path.is_empty()).collect();
    let mut files = Vec::new();
    for path in paths {
        let place = root.join(path);
        // A file that the working tree deletes or links elsewhere has no text of its own.
        if !place.symlink_metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&place).with_context(|| format!("reading {path}"))?;
        files.push(Tracked {
            path: path.to_owned(),
            text: String::from_utf8(bytes).ok(),
        });
    }
    Ok(files)
}

/// Whether `path` is the module `module` (without `.rs`) or a file below it.
fn is_in_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whether `path` holds tests only: a `tests.rs`, or a file in the `tests` directory of
/// a crate or a module. The top-level `tests` is a crate like any other.
fn is_test(path: &str) -> bool {
    let nested = path.strip_prefix("tests/").unwrap_or(path);
    nested.ends_with("/tests.rs") || nested.starts_with("tests/") || nested.contains("/tests/")
}

/// Each place of `word` in `text` that is no part of a longer word, as a line from 1
/// with the rest of that line after the word.
fn word_places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let continues = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().zip(1..).flat_map(move |(content, line)| {
        content.match_indices(word).filter_map(move |(at, _)| {
            let (before, rest) = (&content[..at], &content[at + word.len()..]);
            let whole = !before.ends_with(continues) && !rest.starts_with(continues);
            whole.then_some((line, rest))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_as_place_finding_remedy() {
        let mut violation = Violation {
            path: "a/b.rs".to_owned(),
            line: Some(7),
            what: "too blue".to_owned(),
            remedy: "paint it",
        };
        assert_eq!(violation.to_string(), "a/b.rs:7: too blue, paint it");
        violation.line = None;
        assert_eq!(violation.to_string(), "a/b.rs: too blue, paint it");
    }

    #[test]
    fn a_word_is_found_whole_and_with_its_line() {
        let text = "use unix;\nuse nix::x; nix_y(nix)";
        let found: Vec<_> = word_places(text, "nix").collect();
        assert_eq!(found, [(2, "::x; nix_y(nix)"), (2, ")")]);
    }

    #[test]
    fn a_module_is_its_file_and_its_directory_and_no_neighbour() {
        assert!(is_in_module("driver/src/csi.rs", "driver/src/csi"));
        assert!(is_in_module("driver/src/csi/node.rs", "driver/src/csi"));
        assert!(!is_in_module("driver/src/csi_more.rs", "driver/src/csi"));
    }

    #[test]
    fn the_crate_tests_holds_more_than_tests() {
        assert!(is_test("driver/core/src/bytes/tests.rs"));
        assert!(is_test("proto/tests/interface/main.rs"));
        assert!(is_test("tests/tests/ssh.rs"));
        assert!(!is_test("tests/rds-sim/src/lib.rs"));
        assert!(!is_test("driver/src/attests.rs"));
    }

    #[test]
    fn every_check_of_a_file_is_run() {
        let file = |path: &str, text: &str| Tracked {
            path: path.to_owned(),
            text: Some(text.to_owned()),
        };
        let whats = |file: &Tracked| check(file).len();
        assert_eq!(whats(&file("driver/src/a.rs", "//! A.\nfn a() {}\n")), 0);
        let bad = "use russh;\nfn a() { todo!() } // FIX\u{4d}E\n";
        assert_eq!(whats(&file("driver/src/a.rs", bad)), 4);
        assert_eq!(whats(&file("driver/Cargo.toml", "[package]\n")), 1);
        let impure = "//! A.\nuse std::fs;\n";
        assert_eq!(whats(&file("driver/core/src/a.rs", impure)), 1);
        let binary = Tracked {
            path: "a.rs".to_owned(),
            text: None,
        };
        assert_eq!(whats(&binary), 0);
    }
}
