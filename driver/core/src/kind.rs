//! What an error means to the caller: the one question that retries and gRPC codes ask.
//!
//! Every error enum of the product answers [`Failure::kind`]; nothing decides on the
//! text of an error. Text is for people and is made once, by [`Chain`].

use std::error::Error;
use std::fmt;

/// What the caller of a failed operation should conclude.
///
/// The rule behind the choice: where a side effect may have happened, the kind is
/// [`Kind::Unreachable`] or [`Kind::Timeout`], so that the orchestrator asks again
/// instead of forgetting the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong; asking again changes nothing.
    Invalid,
    /// The named thing does not exist, and a complete, successful read says so.
    NotFound,
    /// The thing exists but its state forbids the operation (attached elsewhere, mounted).
    Conflict,
    /// The name is taken by something incompatible.
    Exists,
    /// Another operation on the same thing is under way.
    Busy,
    /// Space or another countable resource has run out.
    Exhausted,
    /// The asked size cannot be had.
    OutOfRange,
    /// The other side did not answer, or its answer does not prove an outcome.
    Unreachable,
    /// The deadline passed; the outcome is unknown.
    Timeout,
    /// Credentials or permissions are not enough.
    Denied,
    /// The operation is not offered.
    Unsupported,
    /// A defect of this program.
    Bug,
}

impl Kind {
    /// Every kind, for tables and tests that must miss none.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Exists,
        Self::Busy,
        Self::Exhausted,
        Self::OutOfRange,
        Self::Unreachable,
        Self::Timeout,
        Self::Denied,
        Self::Unsupported,
        Self::Bug,
    ];

    /// Whether the same call may succeed later without anybody changing the request.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable | Self::Timeout)
    }
}

/// An error that says what it means.
pub trait Failure: Error + Send + Sync + 'static {
    /// What the caller should conclude.
    fn kind(&self) -> Kind;
}

/// Displays an error with all its sources, joined by `: `.
///
/// Errors of this product never repeat their source in their own `Display`, so the
/// chain reads as one sentence.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("mounting {path}")]
    struct Outer {
        path: &'static str,
        #[source]
        inner: std::num::ParseIntError,
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = "x".parse::<u8>().unwrap_err();
        let outer = Outer { path: "/a", inner };
        assert_eq!(
            Chain(&outer).to_string(),
            "mounting /a: invalid digit found in string"
        );
    }

    #[test]
    fn only_kinds_with_an_open_outcome_are_retryable() {
        let retryable: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_retryable())
            .collect();
        assert_eq!(retryable, [Kind::Busy, Kind::Unreachable, Kind::Timeout]);
    }
}
