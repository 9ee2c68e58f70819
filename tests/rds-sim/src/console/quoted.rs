//! Quoted texts: `"…"` with escapes and expansions.

use super::parse::{Parser, SyntaxError};
use super::syntax::{Expr, Piece};

/// `text` as a quoted literal that expands to exactly `text` (doc: the escapes of strings).
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\\' | '"' | '$' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if u32::from(control) < 0x20 || control == '\x7f' => {
                quoted.push_str(&format!("\\{:02X}", u32::from(control)));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// One escape after its backslash, as bytes.
fn escape(parser: &mut Parser<'_>) -> Result<Option<u8>, SyntaxError> {
    let at = parser.at;
    let byte = match parser.next() {
        Some('\\') => b'\\',
        Some('"') => b'"',
        Some('$') => b'$',
        Some('?') => b'?',
        Some('_') => b' ',
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('a') => 7,
        Some('b') => 8,
        Some('v') => 11,
        Some('f') => 12,
        Some('\n') => {
            parser.skip_blanks();
            return Ok(None);
        }
        Some(high @ ('0'..='9' | 'A'..='F')) => {
            let low = parser.next().filter(|c| matches!(c, '0'..='9' | 'A'..='F'));
            let digits = low.and_then(|low| Some((high.to_digit(16)?, low.to_digit(16)?)));
            match digits.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
                Some(byte) => byte,
                None => return Err(parser.syntax_error(at)),
            }
        }
        _ => return Err(parser.syntax_error(at)),
    };
    Ok(Some(byte))
}

fn flush(bytes: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !bytes.is_empty() {
        pieces.push(Piece::Text(String::from_utf8_lossy(bytes).into_owned()));
        bytes.clear();
    }
}

/// A quoted text, from after its opening quote.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Expr, SyntaxError> {
    let opening = parser.at.saturating_sub(1);
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    loop {
        match parser.next() {
            None => return Err(parser.syntax_error(opening)),
            Some('"') => break,
            Some('\\') => bytes.extend(escape(parser)?),
            Some('$') => {
                flush(&mut bytes, &mut pieces);
                pieces.push(Piece::Of(parser.expansion()?));
            }
            Some(plain) => {
                let mut buffer = [0; 4];
                bytes.extend_from_slice(plain.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    flush(&mut bytes, &mut pieces);
    Ok(Expr::Quoted(pieces))
}
