//! Records from the console's own listing, `print detail`.
//!
//! The listing is wrapped to a width that nobody chose, at any place: between
//! properties, inside numbers (whose digits are grouped by blanks), inside values and
//! even inside keys. So lines mean little. What holds: an item starts with its index
//! left of the column of its properties, and every other line of it is indented to that
//! column; a property starts after a blank or a line break with a key and `=`. Keys
//! known to RouterOS are recognised even when torn; a key that is new to this program
//! is recognised where it is whole. Text between quotation marks ends at the closing
//! one and nowhere else. A line break inside a value is taken as nothing: identifiers of
//! this product have no blanks, and other people's free text may lose one.
//!
//! ```text
//! Flags: B - BLOCK-DEVICE; t - NVME-TCP-EXPORT
//! 31 Bt  ;;; comment
//!        type=file slot="a" size=1 099
//!        511 627 776 mount-file
//!        system=no
//! ```

mod block;
mod key;
mod pair;

use super::{Record, ReplyError};
use crate::failure::shorten;

/// What is listed: it decides the first key of an item and the keys that may be torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `/disk print detail`.
    Disk,
    /// `/file print detail`.
    File,
}

impl Listing {
    const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::File => "file",
        }
    }

    fn error(self, text: &str) -> ReplyError {
        ReplyError::Prose {
            listing: self.name(),
            text: shorten(text),
        }
    }
}

/// The records of a listing.
///
/// # Errors
/// When the text is no listing. The legend alone, or nothing, is an empty one: that the
/// reading is whole was shown by the marker after it.
pub fn records(text: &str, listing: Listing) -> Result<Vec<Record>, ReplyError> {
    block::split(text, listing)?
        .into_iter()
        .map(|block| {
            let mut pairs = Vec::new();
            pairs.extend(block.comment.map(|text| ("comment".to_owned(), text)));
            pairs.extend(pair::pairs(&block.properties, listing)?);
            Record::new(block.flags, pairs)
        })
        .collect()
}
