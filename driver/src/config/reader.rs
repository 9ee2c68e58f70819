//! Reading values and keeping a list of everything that is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use rds_csi_core::kind::{Failure, Kind};

/// One value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The flag, without its hyphens.
    pub flag: &'static str,
    /// What was given; `None` where something must be.
    pub value: Option<String>,
    /// What is wrong or what it takes.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flag,
            value,
            remedy,
        } = self;
        let variable = flag.to_uppercase().replace('-', "_");
        write!(f, "--{flag} (RDS_CSI_{variable}) ")?;
        match value {
            Some(value) => write!(f, "is {value:?}: {remedy}"),
            None => write!(f, "is missing: {remedy}"),
        }
    }
}

/// Everything that is wrong with the command line and the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Failure for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Reads values; a bad one is noted and read as `None`.
#[derive(Debug, Default)]
pub(super) struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    /// Notes a problem.
    pub(super) fn refuse(&mut self, flag: &'static str, value: Option<&str>, remedy: String) {
        let value = value.map(|text| text.chars().take(200).collect());
        self.problems.push(Problem {
            flag,
            value,
            remedy,
        });
    }

    /// A value that must be there; an empty one, which is what an unset key of a
    /// manifest becomes in the environment, counts as missing.
    pub(super) fn required<'a>(
        &mut self,
        flag: &'static str,
        value: Option<&'a str>,
        takes: &str,
    ) -> Option<&'a str> {
        let given = value.filter(|text| !text.is_empty());
        if given.is_none() {
            self.refuse(flag, None, format!("it takes {takes}"));
        }
        given
    }

    /// A value whose own error says what it takes.
    pub(super) fn parsed<T>(&mut self, flag: &'static str, value: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        value
            .parse()
            .map_err(|error: T::Err| self.refuse(flag, Some(value), error.to_string()))
            .ok()
    }

    /// A value that `read` may refuse.
    pub(super) fn checked<T>(
        &mut self,
        flag: &'static str,
        value: &str,
        takes: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let read = read(value);
        if read.is_none() {
            self.refuse(flag, Some(value), format!("it takes {takes}"));
        }
        read
    }

    /// A duration within a range of whole seconds.
    pub(super) fn duration(
        &mut self,
        flag: &'static str,
        value: &str,
        seconds: RangeInclusive<u64>,
    ) -> Option<Duration> {
        let takes = format!(
            "a duration such as 30s, 5m or 1h0m0s, from {}s to {}s",
            seconds.start(),
            seconds.end()
        );
        self.checked(flag, value, &takes, |text| {
            let duration = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
            let (least, most) = seconds.into_inner();
            (Duration::from_secs(least)..=Duration::from_secs(most))
                .contains(&duration)
                .then_some(duration)
        })
    }

    /// The whole, where nothing was noted.
    pub(super) fn finish<T>(self, whole: Option<T>) -> Result<T, ConfigError> {
        match whole {
            Some(whole) if self.problems.is_empty() => Ok(whole),
            _ => Err(ConfigError {
                problems: self.problems,
            }),
        }
    }
}
