//! From what the device printed to what it means, or to the reason why it means nothing.
//!
//! First the frame: an answer is whole only if every marker of its script is there, in
//! order, and nothing follows the last one. Then the records, from JSON or from the
//! console's wrapped listing, both to the same [`Record`]. Then the typed observations.
//! A property that must be there and is not is an error, never an empty value; a key
//! that nobody here knows is kept and ignored. Never panics, whatever the bytes.

mod frame;
mod item;
mod json;
mod prose;
mod record;

pub use frame::Answer;
pub use item::{disks, file_names, files};
pub use json::records as json_records;
pub use prose::{Listing, records as prose_records};
pub use record::Record;

use rds_csi_core::kind::{Failure, Kind};

/// An answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It does not end with the script's last marker.
    #[error("the answer ends early, after {said:?}")]
    Incomplete {
        /// What stands after the last marker, shortened.
        said: String,
    },
    /// Its markers are not in the order of the script.
    #[error("the answer is out of order at {line:?}")]
    Disorder {
        /// The line, shortened.
        line: String,
    },
    /// It is no JSON of records.
    #[error("the answer is no JSON list of records: {why}; it begins {text:?}")]
    Json {
        /// What the JSON reader says.
        why: String,
        /// The beginning of the text.
        text: String,
    },
    /// It is no listing.
    #[error("the answer is no listing of {listing} records at {text:?}")]
    Prose {
        /// `disk` or `file`.
        listing: &'static str,
        /// Where it stops making sense.
        text: String,
    },
    /// A property is missing.
    #[error("{key} is missing in {record:?}")]
    Missing {
        /// The property.
        key: &'static str,
        /// The record, shortened.
        record: String,
    },
    /// A property has a value that it cannot have.
    #[error("{key} is {value:?} in {record:?}")]
    Invalid {
        /// The property.
        key: &'static str,
        /// Its value, shortened.
        value: String,
        /// The record, shortened.
        record: String,
    },
    /// A property is there twice: the listing was torn apart wrongly.
    #[error("{key} is there twice in {record:?}")]
    Duplicate {
        /// The property.
        key: String,
        /// The record, shortened.
        record: String,
    },
    /// The device showed something else than what was asked for.
    #[error("{asked} was asked for and {got} was shown")]
    Unasked {
        /// What was asked for.
        asked: String,
        /// What came.
        got: String,
    },
}

impl Failure for ReplyError {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
}

#[cfg(test)]
mod tests;
