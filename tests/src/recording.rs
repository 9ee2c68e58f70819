//! Recordings of what a real control plane did while machines moved; `tests/recordings` says
//! how they were made and are written.

use anyhow::Context as _;
use serde_json::Value;

/// A migration that succeeds.
pub const SUCCEEDS: &str = include_str!("../recordings/migration-succeeds.jsonl");
/// A migration that fails.
pub const FAILS: &str = include_str!("../recordings/migration-fails.jsonl");
/// A migration, and at once another one of the same machine.
pub const BACK_TO_BACK: &str = include_str!("../recordings/two-migrations-back-to-back.jsonl");
/// A migration of a machine with a disk that was plugged in while it ran.
pub const HOT_PLUGGED: &str = include_str!("../recordings/migration-with-hotplugged-volume.jsonl");

/// What happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, in seconds, as it is written.
    pub at: String,
    /// What.
    pub change: Change,
}

/// How an object changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is there now.
    New(Value),
    /// Some of its fields are others now.
    Patch {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The fields, as a JSON merge patch.
        patch: Value,
    },
    /// It is there no more.
    Gone {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

impl Event {
    /// Reads a line of a recording; `None` where it only says what a person did.
    ///
    /// # Errors
    /// It is no such line.
    pub fn read(line: &str) -> anyhow::Result<Option<Self>> {
        let mut fields: Value = serde_json::from_str(line)?;
        let text = |field: &str| {
            let text = fields[field].as_str().map(str::to_owned);
            text.with_context(|| format!("no {field}: {line}"))
        };
        let change = if fields["step"].is_string() {
            return Ok(None);
        } else if fields["new"].is_object() {
            Change::New(fields["new"].take())
        } else if fields["patch"].is_object() {
            let (kind, name) = (text("of")?, text("name")?);
            let patch = fields["patch"].take();
            Change::Patch { kind, name, patch }
        } else {
            let (kind, name) = (text("gone")?, text("name")?);
            Change::Gone { kind, name }
        };
        let at = fields["at"].to_string();
        Ok(Some(Self { at, change }))
    }
}
