//! Rust source without its comments and literals.
//!
//! A rule about what code uses must not stumble over prose about it. Everything else
//! stays where it was, line by line, so that a finding can name its line. This is a
//! lexer of just that much Rust; it never fails, and text that is not Rust comes back
//! with some of it blank.

/// `text` with comments, strings and characters replaced by blanks.
pub(super) fn only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let taken = match blank_length(rest, code.chars().next_back()) {
            Some(length) => {
                let blanked = rest[..length].chars();
                code.extend(blanked.map(|c| if c == '\n' { c } else { ' ' }));
                length
            }
            None => {
                code.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    code
}

/// How many bytes at the start of `rest` are one comment or literal, if any.
/// `before` is the character in front, which tells a literal's prefix from a name's end.
fn blank_length(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest));
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = if in_name { 0 } else { raw_prefix(rest) };
    (prefix > 0).then(|| raw_string(rest, prefix))
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0_usize);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// A character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let mut inner = rest[1..].char_indices();
    let (_, first) = inner.next()?;
    if first == '\\' {
        let (_, _escaped) = inner.next()?;
        let (at, _) = inner.find(|(_, c)| *c == '\'')?;
        return Some(at + 2);
    }
    let (at, second) = inner.next()?;
    (second == '\'').then_some(at + 2)
}

/// The length of `r`, `br` or `cr` where a raw string follows.
fn raw_prefix(rest: &str) -> usize {
    let prefixes = ["r", "br", "cr"];
    let found = prefixes.into_iter().find(|prefix| {
        rest.strip_prefix(prefix)
            .is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    });
    found.map_or(0, str::len)
}

fn raw_string(rest: &str, prefix: usize) -> usize {
    let after = &rest[prefix..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let start = prefix + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start..]
        .find(&end)
        .map_or(rest.len(), |at| start + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::only;

    /// The words that are left, so that the cases need no counting of blanks.
    fn words(text: &str) -> String {
        only(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        let cases = [
            ("a // nix\nb", "a b"),
            ("a /* nix /* deep */ nix */ b", "a b"),
            ("a /* open", "a"),
            (r#"f("nix \" nix", b)"#, "f( , b)"),
            (r#"f("ends in \\", nix)"#, "f( , nix)"),
            (r##"f(r#"raw " nix"#, b)"##, "f( , b)"),
            (r#"f(br"\", nix)"#, "f( , nix)"),
            (r#"f(b"nix", c)"#, "f(b , c)"),
            (r#"f('"', nix, '\'', '\u{6e}')"#, "f( , nix, , )"),
            ("fn f<'a>(x: &'a nix) {}", "fn f<'a>(x: &'a nix) {}"),
            ("let r#nix = r#type;", "let r#nix = r#type;"),
            (r#"for"nix""#, "for"),
            ("é 'é' \"é\" é", "é é"),
            ("'", "'"),
            ("\"open", ""),
        ];
        for (text, code) in cases {
            assert_eq!(words(text), code, "{text}");
        }
    }

    #[test]
    fn lines_stay_where_they_were() {
        let text = "a\n/* 1\n2 */ \"x\ny\" b\n// c\nd";
        let lines: Vec<_> = only(text)
            .lines()
            .map(|line| line.trim().to_owned())
            .collect();
        assert_eq!(lines, ["a", "", "", "b", "", "d"]);
    }
}
