//! Names of a volume that come one after the other, so that whoever knew one does not know
//! the next.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A part of a volume's NQN that no session of before knows: what is exported under a name
/// of another epoch, a node that was not told cannot connect.
///
/// It follows from the VolumeAttachment that it begins with, so that whoever asks again for
/// that attachment comes to the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch(String);

/// What an epoch starts with.
const START: &str = "epoch-";
/// How many hexadecimal digits follow: as good as never the same twice.
const DIGITS: usize = 12;
/// What an epoch adds to a name, with its colon.
pub(super) const LENGTH: usize = START.len() + DIGITS + 1;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Epoch {
    /// The epoch that begins with what this text names, such as the UID of a VolumeAttachment.
    #[must_use]
    pub fn of(beginning: &str) -> Self {
        let digest = format!("{:x}", Sha256::digest(beginning));
        Self(format!("{START}{}", &digest[..DIGITS]))
    }

    /// A prefix, which ends in a colon, without the epoch at its end.
    pub(super) fn strip(prefix: &str) -> &str {
        let Some(start) = prefix.len().checked_sub(LENGTH) else {
            return prefix;
        };
        let (Some(base), Some(last)) = (prefix.get(..start), prefix.get(start..)) else {
            return prefix;
        };
        let digits = last
            .strip_prefix(START)
            .and_then(|rest| rest.strip_suffix(':'));
        let is_epoch = digits.is_some_and(|digits| {
            digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if is_epoch && base.ends_with(':') {
            base
        } else {
            prefix
        }
    }
}
