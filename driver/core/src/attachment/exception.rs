//! Disks that several machines share on purpose, by an annotation that ends by itself.
//!
//! A person who knows that the guests agree on who writes (a cluster filesystem, SCSI
//! reservations above the disk) may say so on the PersistentVolume, which only who
//! administers the cluster can edit: until when, and why. The exception is about *who*
//! may be on the second node. It gives no third node, no second one to a volume for one
//! node, and none beside a node that is lost.

use std::fmt;
use std::str::FromStr;

use crate::kind::{Failure, Kind};

/// A moment in UTC to the second, as Kubernetes writes it: `2026-12-31T23:59:59Z`.
/// Whoever has a clock makes one of it; texts of this one form sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(String);

impl FromStr for Moment {
    type Err = ExceptionError;

    fn from_str(text: &str) -> Result<Self, ExceptionError> {
        const FORM: &[u8] = b"0000-00-00T00:00:00Z";
        let fits = |(byte, form): (u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte == *form,
        };
        let number = |at: usize| text.get(at..at + 2).and_then(|two| two.parse::<u8>().ok());
        let whole = text.len() == FORM.len() && text.bytes().zip(FORM).all(fits);
        let within = [(5, 12), (8, 31), (11, 23), (14, 59), (17, 60)];
        let in_range = |(at, most): (usize, u8)| number(at).is_some_and(|found| found <= most);
        if whole && within.into_iter().all(in_range) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ExceptionError::Until(text.chars().take(32).collect()))
        }
    }
}

impl Moment {
    /// The last of all, for a clock that cannot be read: every exception is over by then.
    #[must_use]
    pub fn last() -> Self {
        Self("9999-12-31T23:59:59Z".to_owned())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an annotation excepts nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExceptionError {
    /// It does not begin with a moment.
    #[error("{0:?} is no moment in UTC such as 2026-12-31T23:59:59Z")]
    Until(String),
    /// It gives no reason.
    #[error("no reason stands behind the moment at which the exception ends")]
    NoReason,
    /// Its time is over.
    #[error("the exception ended at {0}")]
    Over(Moment),
}

impl Failure for ExceptionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Until(_) | Self::NoReason => Kind::Invalid,
            Self::Over(_) => Kind::Conflict,
        }
    }
}

/// A person's word that several machines may share a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// When it ends.
    pub until: Moment,
    /// Why it was made.
    pub reason: String,
}

impl Exception {
    /// Reads the annotation: the moment of its end, a blank, and the reason. `now` is the
    /// caller's clock.
    ///
    /// # Errors
    /// See [`ExceptionError`]; nothing is excepted then.
    pub fn read(text: &str, now: &Moment) -> Result<Self, ExceptionError> {
        let (until, reason) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let until: Moment = until.parse()?;
        let reason: String = reason.trim().chars().take(200).collect();
        if reason.is_empty() {
            Err(ExceptionError::NoReason)
        } else if *now >= until {
            Err(ExceptionError::Over(until))
        } else {
            Ok(Self { until, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2027-01-01T00:00:00Z two nodes of sql1", Ok("two nodes of sql1"))]
    #[case("  2027-01-01T00:00:00Z   x ", Ok("x"))]
    #[case("2026-06-01T00:00:00Z x", Err("ended at 2026-06-01T00:00:00Z"))]
    #[case("2026-05-31T23:59:59Z x", Err("ended at"))]
    #[case("2027-01-01T00:00:00Z", Err("no reason"))]
    #[case("2027-01-01 x", Err("2026-12-31T23:59:59Z"))]
    #[case("2027-13-01T00:00:00Z x", Err("no moment"))]
    #[case("2027-01-01T24:00:00Z x", Err("no moment"))]
    #[case("yes", Err("no moment"))]
    #[case("", Err("no moment"))]
    fn an_exception_has_an_end_and_a_reason(
        #[case] text: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        match (Exception::read(text, &now), expected) {
            (Ok(found), Ok(reason)) => assert_eq!(found.reason, reason),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }
}
