//! What is asked of a device right after connecting: its version, and whether it speaks JSON.

use std::fmt;

use crate::command::{Command, Dialect, Script};
use crate::failure::FailureKind;
use crate::reply::{Answer, ReplyError};

/// A version of RouterOS, as far as features depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `7` of `7.24.4`.
    pub major: u16,
    /// `24` of `7.24.4`.
    pub minor: u16,
}

/// `nvme-tcp-server-nqn` came with 7.21; before it a volume's NQN cannot be set.
pub const OLDEST_VERSION: Version = Version {
    major: 7,
    minor: 21,
};

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads `7.24.4 (stable)`, `7.21beta3 (testing)`, `7.21`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (major, rest) = text.trim().split_once('.')?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some(Self {
            major: major.parse().ok()?,
            minor: rest[..digits].parse().ok()?,
        })
    }
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// Its version in its own words.
    pub(super) version: String,
    pub(super) dialect: Dialect,
}

/// Asks for both. A console that does not know `:serialize` refuses the whole script.
pub(super) fn first_script() -> Script {
    Script::new(Vec::new(), vec![Command::PrintVersion, Command::ProbeJson])
}

/// Asks for the version alone.
pub(super) fn second_script() -> Script {
    Script::new(Vec::new(), vec![Command::PrintVersion])
}

/// What the answer to the first or second script says; `None` where the first one was
/// not understood.
pub(super) fn read(text: &str, script: &Script) -> Result<Option<Device>, ProbeError> {
    let answer = Answer::read(text, script)?;
    if let Some(complaint) = answer.complaint() {
        return match complaint.kind {
            FailureKind::Syntax if script.readings() > 1 => Ok(None),
            kind => Err(ProbeError::Complaint {
                message: complaint.message,
                kind,
            }),
        };
    }
    let readings = answer.readings()?;
    let version = readings[0].trim().to_owned();
    let speaks_json = readings
        .get(1)
        .is_some_and(|reading| reading.trim() == "\"rds\"");
    Ok(Some(Device {
        version,
        dialect: if speaks_json {
            Dialect::Json
        } else {
            Dialect::Prose
        },
    }))
}

/// Why the probe says nothing.
pub(super) enum ProbeError {
    Reply(ReplyError),
    Complaint { message: String, kind: FailureKind },
}

impl From<ReplyError> for ProbeError {
    fn from(error: ReplyError) -> Self {
        Self::Reply(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let read = |text| Version::read(text).unwrap();
        assert_eq!(
            read("7.24.4 (stable)"),
            Version {
                major: 7,
                minor: 24
            }
        );
        assert_eq!(read("7.21beta3 (testing)"), OLDEST_VERSION);
        assert!(read("7.9") < OLDEST_VERSION && read("8.0rc1") > OLDEST_VERSION);
        for text in ["", "7", "7.", "x.1", "stable"] {
            assert_eq!(Version::read(text), None, "{text:?}");
        }
    }

    fn answer(script: &Script, readings: &[&str]) -> String {
        let nonce = script.nonce();
        let mut text = String::new();
        for (index, reading) in readings.iter().enumerate() {
            text.push_str(&format!("{nonce} read {index}\r\n{reading}\r\n"));
        }
        text + &format!("{nonce} end\r\n")
    }

    #[test]
    fn a_console_without_json_is_asked_again_and_read_as_a_listing() {
        let first = first_script();
        let refused = "bad command name serialize (line 1 column 98)\r\n";
        assert!(matches!(read(refused, &first), Ok(None)));
        let second = second_script();
        let device = read(&answer(&second, &["7.21 (stable)"]), &second);
        let device = device.ok().flatten().unwrap();
        assert_eq!(device.dialect, Dialect::Prose);
        assert!(matches!(
            read(refused, &second),
            Err(ProbeError::Complaint { .. })
        ));
    }

    #[test]
    fn a_console_that_prints_json_is_read_as_json() {
        let script = first_script();
        let text = answer(&script, &["7.24.4 (stable)", "\"rds\""]);
        let device = read(&text, &script).ok().flatten().unwrap();
        assert_eq!(device.version, "7.24.4 (stable)");
        assert_eq!(device.dialect, Dialect::Json);
        let cut = &text[..text.len() / 2];
        assert!(matches!(read(cut, &script), Err(ProbeError::Reply(_))));
    }
}
