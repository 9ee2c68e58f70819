//! Words that have no place in the repository: traces of the machine that it was
//! written on, hosts that packages happen to come from, and marks of unfinished work.
//!
//! The words are put together from halves here, so that this file passes its own check.

use super::{Violation, word_places};

/// The lock file names the registry of each package, which is cargo's business.
const LOCK: &str = "Cargo.lock";

const PLACES: &[&str] = &[
    concat!("..", "/shared"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("crates.io", "-index"),
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
    concat!("proxy.", "golang.org"),
    concat!("sum.", "golang.org"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("pypi.", "org"),
];

/// The directory that only some machine has at its root.
const WORKPLACE: &str = concat!("/wo", "rk/");

const UNFINISHED: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros and attributes that leave something out, as they stand in code.
const UNFINISHED_CODE: &[(&str, &str)] = &[
    ("todo", "!"),
    ("unimplemented", "!"),
    ("dbg", "!"),
    ("ignore", "]"),
    ("ignore", " ="),
];

/// Checks the text of any file.
pub(super) fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (content, line) in text.lines().zip(1..) {
        if path == LOCK && content.starts_with("source = ") {
            continue;
        }
        let places = PLACES.iter().filter(|place| content.contains(**place));
        let workplace = names_workplace(content).then_some(&WORKPLACE);
        for place in places.chain(workplace) {
            found.push(Violation {
                path: path.to_owned(),
                line: Some(line),
                what: format!("`{place}` belongs to one machine or network"),
                remedy: "say it without the place, or take it from the environment",
            });
        }
    }
    for word in UNFINISHED {
        found.extend(word_places(text, word).map(|(line, _)| unfinished(path, line, word)));
    }
    found
}

/// Checks the code of a Rust file, given without comments and literals.
pub(super) fn check_code(path: &str, code: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (word, after) in UNFINISHED_CODE {
        let places = word_places(code, word).filter(|(_, rest)| rest.starts_with(after));
        found.extend(places.map(|(line, _)| unfinished(path, line, word)));
    }
    found
}

fn unfinished(path: &str, line: usize, word: &str) -> Violation {
    Violation {
        path: path.to_owned(),
        line: Some(line),
        what: format!("`{word}` marks unfinished work"),
        remedy: "finish it or take it out",
    }
}

/// Whether the line has the workplace at the start of an absolute path.
fn names_workplace(content: &str) -> bool {
    content.match_indices(WORKPLACE).any(|(at, _)| {
        let before = content[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}*/".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check("README.md", text).len()
    }

    #[test]
    fn every_place_is_found() {
        for place in PLACES {
            assert_eq!(count(&format!("see https://{place}/x")), 1, "{place}");
        }
        for text in ["cd W", "\"W", "W", "file://localhost: W", "=W"] {
            let text = text.replace('W', WORKPLACE);
            assert_eq!(count(&text), 1, "{text}");
        }
    }

    #[test]
    fn a_work_directory_of_somebody_else_passes() {
        for text in ["target/W", "$HOME/.W", "${DIR}W", "kernel.org/doc"] {
            assert_eq!(count(&text.replace('W', WORKPLACE)), 0, "{text}");
        }
    }

    #[test]
    fn the_lock_file_may_name_the_source_of_a_package() {
        let line = format!("source = \"registry+https://host/{}\"", PLACES[3]);
        assert_eq!(check(LOCK, &line), []);
        assert_eq!(check("driver/Cargo.toml", &line).len(), 1);
        assert_eq!(check(LOCK, &format!("x = \"{}\"", PLACES[0])).len(), 1);
    }

    #[test]
    fn marks_of_unfinished_work_are_found_with_their_line() {
        for word in UNFINISHED {
            let found = check("hack/test", &format!("a\n# {word}: later\n"));
            assert_eq!(found.len(), 1, "{word}");
            assert_eq!(found[0].line, Some(2));
        }
        // What mktemp(1) takes is no such mark.
        assert_eq!(count(&format!("mktemp -d a.{0}{0}", UNFINISHED[1])), 0);
    }

    #[test]
    fn code_that_leaves_something_out_is_found() {
        let samples = [
            "todo!()",
            "std::unimplemented!(x)",
            "dbg!(x)",
            "#[ignore]",
            "#[ignore = \"slow\"]",
        ];
        for sample in samples {
            assert_eq!(check_code("a.rs", sample).len(), 1, "{sample}");
        }
        let clean = "ignore(x); Status::unimplemented(x); let todo = 1; .gitignore";
        assert_eq!(check_code("a.rs", clean), []);
    }
}
