//! Commands joined to one script, with markers that prove how far it came.
//!
//! Each script has a nonce of its own. A step is followed by `:put "<nonce> ok <n>"`,
//! a reading is preceded by `:put "<nonce> read <n>"`, and the last line of a whole
//! answer is `<nonce> end`. Steps are not wrapped in an error handler: a failing
//! statement ends the script, and the device's own words are then the last line.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use super::{Command, Dialect};

/// A word that no earlier answer and no stored text contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// A fresh one. The standard library keys each `RandomState` at random.
    #[must_use]
    pub fn fresh() -> Self {
        let number = std::hash::RandomState::new().build_hasher().finish();
        Self(format!("rds{number:016x}"))
    }

    /// What a line of an answer marks, if it is a marker of this script.
    #[must_use]
    pub fn marker(&self, line: &str) -> Option<Marker> {
        let rest = line.trim().strip_prefix(&self.0)?.strip_prefix(' ')?;
        match rest.split_once(' ') {
            None if rest == "end" => Some(Marker::End),
            Some(("ok", number)) => number.parse().ok().map(Marker::Done),
            Some(("read", number)) => number.parse().ok().map(Marker::Reading),
            _ => None,
        }
    }
}

/// A line that a script prints about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// The step of this number is behind us.
    Done(usize),
    /// The reading of this number follows.
    Reading(usize),
    /// The script has come to its end.
    End,
}

/// A script: steps, then readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    nonce: Nonce,
    steps: Vec<Command>,
    readings: Vec<Command>,
}

impl Script {
    /// A script that takes the steps and then makes the readings.
    #[must_use]
    pub fn new(steps: Vec<Command>, readings: Vec<Command>) -> Self {
        Self {
            nonce: Nonce::fresh(),
            steps,
            readings,
        }
    }

    /// The word of its markers.
    #[must_use]
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// How many steps it takes.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// How many readings it makes.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.readings.len()
    }

    /// Its text, one line.
    #[must_use]
    pub fn text(&self, dialect: Dialect) -> String {
        let nonce = &self.nonce.0;
        let mut statements = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            statements.push(step.text(dialect));
            statements.push(format!(":put \"{nonce} ok {index}\""));
        }
        for (index, reading) in self.readings.iter().enumerate() {
            statements.push(format!(":put \"{nonce} read {index}\""));
            statements.push(reading.text(dialect));
        }
        statements.push(format!(":put \"{nonce} end\""));
        statements.join("; ")
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
