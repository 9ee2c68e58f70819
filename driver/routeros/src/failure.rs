//! What RouterOS means when it complains: the one table from its words to a kind.
//!
//! Over SSH the exit status is 0 whether a command worked or not and the complaint is a
//! line on standard output, so the text is all there is. A line is matched from its
//! beginning only: a comment or a file name may contain the same words. Nothing here is
//! proof of an outcome; whoever classifies a complaint still reads the state back.

/// What a complaint means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The named item does not exist.
    NotFound,
    /// The name is taken.
    Exists,
    /// The pool is full.
    NoSpace,
    /// Something holds the item.
    Busy,
    /// The user's group lacks a policy.
    Denied,
    /// The console does not know the command or one of its arguments. Nothing ran: a
    /// script is read whole before its first statement.
    Syntax,
    /// An argument has a value that the device does not take.
    Invalid,
    /// A complaint that is not in the table; it decides nothing by itself.
    Unknown,
}

/// A complaint of the device: its line and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What it means.
    pub kind: FailureKind,
    /// The line, trimmed and cut to a length that fits a message.
    pub message: String,
}

/// Beginnings of lines. Those without a source in the manual or a report of a device
/// are guesses of wording and therefore name no kind but the likeliest retryable one.
const BEGINNINGS: [(&str, FailureKind); 14] = [
    ("no such item", FailureKind::NotFound),
    ("already have such", FailureKind::Exists),
    ("not enough permissions", FailureKind::Denied),
    ("std failure: not allowed", FailureKind::Denied),
    ("failure: not allowed", FailureKind::Denied),
    ("expected end of command", FailureKind::Syntax),
    ("expected command name", FailureKind::Syntax),
    ("bad command name", FailureKind::Syntax),
    ("bad parameter", FailureKind::Syntax),
    ("syntax error", FailureKind::Syntax),
    ("unknown parameter", FailureKind::Syntax),
    ("input does not match any value of", FailureKind::Invalid),
    ("invalid value", FailureKind::Invalid),
    ("can not do that", FailureKind::Invalid),
];

/// What the reason after `failure:` may contain.
const REASONS: [(&str, FailureKind); 9] = [
    ("already have", FailureKind::Exists),
    ("already exists", FailureKind::Exists),
    ("no such item", FailureKind::NotFound),
    ("no space", FailureKind::NoSpace),
    ("not enough space", FailureKind::NoSpace),
    ("disk full", FailureKind::NoSpace),
    ("in use", FailureKind::Busy),
    ("busy", FailureKind::Busy),
    ("not enough permissions", FailureKind::Denied),
];

/// Lines of RouterOS are short; what is longer is not worth more in a message.
const LONGEST_MESSAGE: usize = 300;

/// The first complaint among the lines of `text`, if there is one.
#[must_use]
pub fn complaint(text: &str) -> Option<Complaint> {
    text.lines().find_map(|line| {
        kind_of(line.trim_end()).map(|kind| Complaint {
            kind,
            message: shorten(line),
        })
    })
}

/// The text as the words of a message: one line, bounded.
#[must_use]
pub fn shorten(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_MESSAGE).collect()
}

fn kind_of(line: &str) -> Option<FailureKind> {
    let known = BEGINNINGS
        .iter()
        .find(|(beginning, _)| line.starts_with(beginning))
        .map(|(_, kind)| *kind);
    known.or_else(|| {
        let reason = line
            .strip_prefix("failure:")
            .or_else(|| line.strip_prefix("std failure:"))?;
        let kind = REASONS
            .iter()
            .find(|(words, _)| reason.contains(words))
            .map_or(FailureKind::Unknown, |(_, kind)| *kind);
        Some(kind)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("no such item", FailureKind::NotFound)]
    #[case("failure: already have such entry", FailureKind::Exists)]
    #[case("failure: not enough space", FailureKind::NoSpace)]
    #[case("failure: device is in use", FailureKind::Busy)]
    #[case("not enough permissions (9)", FailureKind::Denied)]
    #[case("std failure: not allowed (9)", FailureKind::Denied)]
    #[case("expected end of command (line 1 column 42)", FailureKind::Syntax)]
    #[case("bad command name serialize (line 1 column 8)", FailureKind::Syntax)]
    #[case("syntax error (line 1 column 3)", FailureKind::Syntax)]
    #[case("input does not match any value of type", FailureKind::Invalid)]
    #[case("invalid value for argument file-size", FailureKind::Invalid)]
    #[case("failure: compression only available for btrfs", FailureKind::Unknown)]
    fn a_complaint_of_the_device_has_a_kind(#[case] line: &str, #[case] kind: FailureKind) {
        let found = complaint(&format!("\r\n{line}\r\n")).unwrap();
        assert_eq!((found.kind, found.message.as_str()), (kind, line));
    }

    #[test]
    fn the_same_words_inside_a_line_are_no_complaint() {
        for line in [
            "",
            " 0 B ;;; no such item",
            "comment=\"failure: not enough space\"",
            "slot=\"syntax error\"",
            "Flags: X - DISABLED",
        ] {
            assert_eq!(complaint(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_message_is_one_short_line() {
        let long = format!("failure: {}\u{7}", "x".repeat(100_000));
        assert_eq!(complaint(&long).unwrap().message.len(), 300);
    }
}
