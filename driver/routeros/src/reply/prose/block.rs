//! The listing cut into items, by indentation.

use super::{Listing, key};
use crate::reply::ReplyError;

/// One item: its flag letters, its comment, and its properties with indentation removed
/// and lines joined by `\n`.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) flags: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) properties: String,
}

/// The first line of an item.
struct Start<'a> {
    /// The flag letters; `None` where the line has no index.
    flags: Option<String>,
    /// Where the properties, or the comment, start.
    column: usize,
    content: &'a str,
}

/// An item whose end was not seen yet.
struct Open<'a> {
    start: Start<'a>,
    more: Vec<&'a str>,
}

/// Cuts a listing.
pub(super) fn split(text: &str, listing: Listing) -> Result<Vec<Block>, ReplyError> {
    let text = text.replace('\r', "");
    let mut blocks = Vec::new();
    let mut open: Option<Open<'_>> = None;
    let mut in_legend = false;
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if line.trim().is_empty() {
            if let Some(item) = open.take() {
                blocks.push(item.close(listing)?);
            }
        } else if let Some(start) = start(line, listing)
            && open.as_ref().is_none_or(|item| indent < item.start.column)
        {
            if let Some(item) = open.replace(Open {
                start,
                more: Vec::new(),
            }) {
                blocks.push(item.close(listing)?);
            }
        } else if let Some(item) = &mut open {
            item.more.push(line.trim_start_matches(' '));
        } else if line.starts_with("Flags:") && blocks.is_empty() {
            in_legend = true;
        } else if !(in_legend && blocks.is_empty()) {
            return Err(listing.error(line));
        }
    }
    if let Some(item) = open.take() {
        blocks.push(item.close(listing)?);
    }
    Ok(blocks)
}

/// Reads `31 Bt type=` or `26 B r ;;; text`: index, flag letters, then the first
/// property or a comment. A line without an index may start with the first property.
fn start(line: &str, listing: Listing) -> Option<Start<'_>> {
    let begins = |text: &str| text.starts_with(";;;") || key::starts_with_first(text, listing);
    let rest = line.trim_start_matches(' ');
    if begins(rest) {
        return Some(Start {
            flags: None,
            column: 0,
            content: rest,
        });
    }
    let mut rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == line.trim_start_matches(' ').len() {
        return None;
    }
    let mut flags = String::new();
    loop {
        let word = rest.strip_prefix(' ')?.trim_start_matches(' ');
        if begins(word) {
            return Some(Start {
                flags: Some(flags),
                column: line.len() - word.len(),
                content: word,
            });
        }
        let letters = word.len()
            - word
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        if letters == 0 || letters > 10 {
            return None;
        }
        flags.push_str(&word[..letters]);
        rest = &word[letters..];
    }
}

impl Open<'_> {
    fn close(self, listing: Listing) -> Result<Block, ReplyError> {
        let mut lines = std::iter::once(self.start.content)
            .chain(self.more)
            .peekable();
        let comment = if self.start.content.starts_with(";;;") {
            let mut comment = String::new();
            // The properties start on a line of their own.
            while let Some(line) = lines.next_if(|line| !key::starts_with_first(line, listing)) {
                comment.push_str(line);
            }
            Some(comment.trim_start_matches(';').trim().to_owned())
        } else {
            None
        };
        let properties: Vec<&str> = lines.collect();
        if properties.is_empty() {
            return Err(listing.error(self.start.content));
        }
        Ok(Block {
            flags: self.start.flags,
            comment,
            properties: properties.join("\n"),
        })
    }
}
