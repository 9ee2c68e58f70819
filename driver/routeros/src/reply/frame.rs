//! The frame of an answer: which of the script's markers came, and what stands between.

use super::ReplyError;
use crate::command::{Marker, Script};
use crate::failure::{self, Complaint};

/// An answer taken apart at its markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What each step that was passed had printed, usually nothing.
    said: Vec<String>,
    /// The text of each reading that was followed by another marker.
    readings: Vec<String>,
    /// Whether the last marker came.
    whole: bool,
    /// What stands after the last marker that came.
    rest: String,
    /// How many steps the script has.
    steps: usize,
}

impl Answer {
    /// Takes a text apart.
    ///
    /// # Errors
    /// When markers are missing in the middle, repeated or out of order, or when text
    /// follows the last one.
    pub fn read(text: &str, script: &Script) -> Result<Self, ReplyError> {
        let mut expected = (0..script.steps())
            .map(Marker::Done)
            .chain((0..script.readings()).map(Marker::Reading))
            .chain([Marker::End]);
        let mut answer = Self {
            said: Vec::new(),
            readings: Vec::new(),
            whole: false,
            rest: String::new(),
            steps: script.steps(),
        };
        for line in text.lines() {
            let disorder = || ReplyError::Disorder {
                line: failure::shorten(line),
            };
            match script.nonce().marker(line) {
                Some(marker) if expected.next() == Some(marker) => answer.pass(marker),
                Some(_) => return Err(disorder()),
                None if answer.whole && !line.trim().is_empty() => return Err(disorder()),
                None => {
                    answer.rest.push_str(line.trim_end_matches('\r'));
                    answer.rest.push('\n');
                }
            }
        }
        Ok(answer)
    }

    fn pass(&mut self, marker: Marker) {
        let before = std::mem::take(&mut self.rest);
        match marker {
            Marker::Done(_) => self.said.push(before),
            // What stands before the first reading is a word too many of the last step.
            Marker::Reading(0) => {
                if let Some(last) = self.said.last_mut() {
                    last.push_str(&before);
                }
            }
            Marker::Reading(_) => self.readings.push(before),
            Marker::End => {
                self.readings.push(before);
                self.whole = true;
            }
        }
    }

    /// The first step that the device complained about, and its words: either the
    /// script ended there, or a console that does not stop at a failure went on.
    #[must_use]
    pub fn refused_step(&self) -> Option<(usize, Complaint)> {
        let passed = self
            .said
            .iter()
            .enumerate()
            .find_map(|(index, said)| Some((index, failure::complaint(said)?)));
        passed.or_else(|| {
            let stopped_in_a_step = !self.whole && self.said.len() < self.steps;
            stopped_in_a_step
                .then(|| Some((self.said.len(), failure::complaint(&self.rest)?)))
                .flatten()
        })
    }

    /// A complaint instead of a reading: the script ended with it, or a console that does
    /// not stop at a failure printed it and went on.
    #[must_use]
    pub fn complaint(&self) -> Option<Complaint> {
        let begins = |text: &String| {
            let line = text.lines().find(|line| !line.trim().is_empty())?;
            failure::complaint(line)
        };
        let in_a_reading = self.readings.iter().find_map(begins);
        in_a_reading.or_else(|| (!self.whole).then(|| failure::complaint(&self.rest))?)
    }

    /// The texts of all readings.
    ///
    /// # Errors
    /// When the answer is not whole.
    pub fn readings(&self) -> Result<&[String], ReplyError> {
        if self.whole {
            Ok(&self.readings)
        } else {
            Err(ReplyError::Incomplete {
                said: failure::shorten(&self.rest),
            })
        }
    }
}
