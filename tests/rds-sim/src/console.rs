//! The RouterOS console: a strict reading of the part of its script language that
//! programs use over SSH.
//!
//! A script is parsed whole before anything runs, so a syntax error has no effect
//! (3p: such a script prints the error and nothing else). What is not modelled is an
//! error and never a guess: this must not accept a script that a device would refuse.

mod commands;
mod eval;
mod expression;
mod json;
mod operators;
mod parse;
mod pattern;
mod quoted;
mod schema;
mod syntax;
mod value;

#[cfg(test)]
mod tests;

pub use quoted::quote;
pub use value::Value;

pub(crate) use eval::{Interpreter, Run};
pub(crate) use parse::{Knows, parse};
pub(crate) use pattern::Pattern;
pub(crate) use syntax::{Menu, Test, Verb};

/// The message with which a statement failed, as the console prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Message(pub String);

impl Message {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `no such item` (3p, doc).
    pub(crate) fn no_such_item() -> Self {
        Self::new("no such item")
    }

    /// `input does not match any value of <argument>` (3p).
    pub(crate) fn no_match(argument: &str) -> Self {
        Self(format!("input does not match any value of {argument}"))
    }

    /// `invalid value for argument <argument>` (3p).
    pub(crate) fn invalid(argument: &str) -> Self {
        Self(format!("invalid value for argument {argument}"))
    }

    /// `failure: <reason>` (3p).
    pub(crate) fn failure(reason: &str) -> Self {
        Self(format!("failure: {reason}"))
    }
}
