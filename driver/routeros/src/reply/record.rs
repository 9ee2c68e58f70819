//! One record of a reading, before anybody knows what it is.

use std::fmt;

use rds_csi_core::bytes::Bytes;

use super::ReplyError;
use crate::failure::shorten;

/// Keys and values in the order of the device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    flags: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Record {
    /// A record; a key may be there only once.
    ///
    /// # Errors
    /// When a key is there twice.
    pub fn new(flags: Option<String>, pairs: Vec<(String, String)>) -> Result<Self, ReplyError> {
        let record = Self { flags, pairs };
        let mut keys: Vec<&str> = record.pairs.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ReplyError::Duplicate {
                key: shorten(pair[0]),
                record: shorten(&record.to_string()),
            }),
            None => Ok(record),
        }
    }

    /// The letters of the flag column, where there was one: a listing shows it, JSON
    /// does not.
    #[must_use]
    pub fn flags(&self) -> Option<&str> {
        self.flags.as_deref()
    }

    /// All keys and values.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// When it is not there.
    pub fn required(&self, key: &'static str) -> Result<&str, ReplyError> {
        self.get(key).ok_or_else(|| ReplyError::Missing {
            key,
            record: shorten(&self.to_string()),
        })
    }

    /// A number of bytes that must be there: digits, grouped by blanks in a listing.
    ///
    /// # Errors
    /// When it is missing or no whole number.
    pub fn bytes(&self, key: &'static str) -> Result<Bytes, ReplyError> {
        let value = self.required(key)?;
        let digits: String = value.chars().filter(|c| *c != ' ').collect();
        let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(number) if whole => Ok(Bytes::new(number)),
            _ => Err(self.invalid(key, value)),
        }
    }

    /// A yes or no that must be there.
    ///
    /// # Errors
    /// When it is missing or neither.
    pub fn yes(&self, key: &'static str) -> Result<bool, ReplyError> {
        match self.required(key)? {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            other => Err(self.invalid(key, other)),
        }
    }

    /// The error for a value that a key cannot have.
    #[must_use]
    pub fn invalid(&self, key: &'static str, value: &str) -> ReplyError {
        ReplyError::Invalid {
            key,
            value: shorten(value),
            record: shorten(&self.to_string()),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(flags) = &self.flags {
            writeln!(f, "[{flags}]")?;
        }
        for (key, value) in &self.pairs {
            writeln!(f, "{key}={value}")?;
        }
        Ok(())
    }
}
