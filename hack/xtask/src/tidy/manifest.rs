//! Manifests: every crate takes its lints from the workspace.

use super::Violation;

/// Checks one `Cargo.toml`; the one of the workspace has no package and passes.
pub(super) fn check(path: &str, text: &str) -> Option<Violation> {
    let is_package = text.lines().any(|line| line.trim() == "[package]");
    (is_package && !inherits_lints(text)).then(|| Violation {
        path: path.to_owned(),
        line: None,
        what: "the lints of the workspace do not apply".to_owned(),
        remedy: "add `[lints]` with `workspace = true`",
    })
}

fn inherits_lints(text: &str) -> bool {
    let mut table = "";
    text.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            table = line;
        }
        let key = line.replace(' ', "");
        (table == "[lints]" && key == "workspace=true") || key == "lints.workspace=true"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_the_lints_of_the_workspace_passes() {
        let text = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(check("a/Cargo.toml", text), None);
        assert_eq!(check("Cargo.toml", "[workspace]\nmembers = []\n"), None);
    }

    #[test]
    fn a_crate_with_lints_of_its_own_or_none_is_found() {
        let texts = [
            "[package]\nname = \"a\"\n",
            "[package]\nname = \"a\"\n[lints.clippy]\nall = \"warn\"\n",
            "[package]\n[lints]\n[dependencies.b]\nworkspace = true\n",
            "[package]\n[lints]\n# workspace = true\n",
        ];
        for text in texts {
            assert!(check("a/Cargo.toml", text).is_some(), "{text}");
        }
    }
}
