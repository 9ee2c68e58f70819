//! The grammar of the properties of one item.
//!
//! ```text
//! pairs  = blank* (key "=" value blank+)*
//! value  = '"' (character | escape | break)* '"'  |  bare
//! bare   = everything up to the next blank or break that is followed by a key and "="
//! ```

use winnow::combinator::{
    alt, cut_err, delimited, dispatch, empty, eof, fail, peek, repeat, terminated,
};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::token::{any, none_of, take_while};

use super::{Listing, key};
use crate::reply::ReplyError;

type Parsed<T> = ModalResult<T, ContextError>;

/// All pairs of an item.
pub(super) fn pairs(text: &str, listing: Listing) -> Result<Vec<(String, String)>, ReplyError> {
    let pair = |input: &mut &str| {
        let key = key(input, listing)?;
        let value = alt((quoted, |input: &mut &str| Ok(bare(input, listing)))).parse_next(input)?;
        Ok::<_, winnow::error::ErrMode<ContextError>>((key, value))
    };
    let mut all = delimited(blanks, repeat(0.., terminated(pair, blanks)), eof);
    let mut rest = text;
    match all.parse_next(&mut rest) {
        Ok(pairs) => Ok(pairs),
        Err(_) => Err(listing.error(rest)),
    }
}

fn blanks(input: &mut &str) -> Parsed<()> {
    take_while(0.., [' ', '\n', '\t']).void().parse_next(input)
}

fn key(input: &mut &str, listing: Listing) -> Parsed<String> {
    let text: &str = input;
    match key::at_start(text, listing) {
        Some((key, rest)) => {
            *input = rest;
            Ok(key.to_owned())
        }
        None => fail.parse_next(input),
    }
}

/// Text between quotation marks. After the closing one only a blank or the end is right:
/// anything else means that the text was torn apart at the wrong place.
fn quoted(input: &mut &str) -> Parsed<String> {
    let piece = alt((
        '\n'.value(None),
        escape.map(Some),
        none_of(['"', '\\', '\n']).map(|c: char| {
            let mut buffer = [0; 4];
            Some(c.encode_utf8(&mut buffer).as_bytes().to_vec())
        }),
    ));
    let pieces: Vec<Option<Vec<u8>>> = delimited(
        (take_while(0.., '\n'), '"'),
        repeat(0.., piece),
        cut_err((
            '"',
            peek(alt((
                eof.void(),
                any.verify(|c| matches!(c, ' ' | '\n')).void(),
            ))),
        )),
    )
    .parse_next(input)?;
    let bytes: Vec<u8> = pieces.into_iter().flatten().flatten().collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One escape, as the bytes that it stands for. It may be torn too.
fn escape(input: &mut &str) -> Parsed<Vec<u8>> {
    '\\'.parse_next(input)?;
    let byte = dispatch! { torn;
        '"' => empty.value(b'"'),
        '\\' => empty.value(b'\\'),
        '$' => empty.value(b'$'),
        '?' => empty.value(b'?'),
        '_' => empty.value(b' '),
        'n' => empty.value(b'\n'),
        'r' => empty.value(b'\r'),
        't' => empty.value(b'\t'),
        'a' => empty.value(7),
        'b' => empty.value(8),
        'v' => empty.value(11),
        'f' => empty.value(12),
        high if matches!(high, '0'..='9' | 'A'..='F') => torn.verify_map(move |low| {
            u8::from_str_radix(&format!("{high}{low}"), 16).ok()
        }),
        _ => fail,
    }
    .parse_next(input)?;
    Ok(vec![byte])
}

/// The next character of an escape, which may stand on the next line.
fn torn(input: &mut &str) -> Parsed<char> {
    (take_while(0.., '\n'), any)
        .map(|(_, c)| c)
        .parse_next(input)
}

/// A value without quotation marks.
fn bare(input: &mut &str, listing: Listing) -> String {
    let mut value = String::new();
    let mut after_break = false;
    let mut rest: &str = input;
    while let Some(character) = rest.chars().next() {
        if after_break && key::at_start(rest, listing).is_some() {
            break;
        }
        after_break = matches!(character, ' ' | '\n');
        if character != '\n' {
            value.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    *input = rest;
    value.trim().to_owned()
}
