//! The identity of a Kubernetes cluster, as far as the device is concerned.

use std::fmt;
use std::str::FromStr;

use crate::kind::{Failure, Kind};

/// Which cluster a volume belongs to: part of every ownership marker, of volume ids
/// made from free names, and of host identities. Lower-case letters, digits and inner
/// hyphens, at most 36 characters, so that the UID of the `kube-system` namespace fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterId(String);

/// A string that is no cluster id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cluster id {0:?} is not 1 to 36 lower-case letters, digits and inner hyphens")]
pub struct ClusterIdError(String);

impl Failure for ClusterIdError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=36).contains(&text.len())
            && text.bytes().all(|b| plain(b) || b == b'-')
            && text.bytes().next().is_some_and(plain)
            && text.bytes().last().is_some_and(plain);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClusterIdError(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ClusterId {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uid_of_a_namespace_is_a_cluster_id() {
        assert!(
            "0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e"
                .parse::<ClusterId>()
                .is_ok()
        );
    }

    #[test]
    fn anything_that_could_break_a_marker_is_refused() {
        for text in [
            "",
            "-a",
            "a-",
            "A",
            "a/b",
            "a b",
            "a\n",
            "a\"",
            "$a",
            &"a".repeat(37),
        ] {
            assert!(text.parse::<ClusterId>().is_err(), "{text:?}");
        }
    }
}
