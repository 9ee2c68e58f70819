//! What goes into the model and what comes out.

use std::time::Duration;

use crate::console::{Menu, Test, Value, Verb};

/// What an execution gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Everything that was printed, errors included (3p: they come on stdout).
    pub stdout: Vec<u8>,
    /// Exit status of the channel.
    pub status: u32,
    /// How long the script asked to wait.
    pub delay: Duration,
    /// Whether it was stopped by its budget of statements.
    pub cut: bool,
}

impl Output {
    /// The output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// One command of a menu with its values.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) menu: Menu,
    pub(crate) verb: Verb,
    pub(crate) named: Vec<(String, Value)>,
    pub(crate) flags: Vec<String>,
    pub(crate) positional: Vec<Value>,
    pub(crate) filters: Vec<(String, Test, Value)>,
}

impl Request {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|present| present == flag)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Value> {
        let mut values = self.named.iter().rev();
        values
            .find(|(present, _)| present == name)
            .map(|(_, value)| value)
    }
}

/// What a command of a menu printed and gave back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) printed: String,
    pub(crate) value: Value,
}

/// What the console user may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denied {
    /// Everything is allowed.
    Nothing,
    /// Changes are refused.
    Writes,
    /// Reads are refused too.
    Everything,
}
