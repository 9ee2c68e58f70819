//! The name that the orchestrator gives a volume, and the marker that says whose it is.

use std::fmt;
use std::str::FromStr;

use crate::cluster_id::ClusterId;
use crate::kind::{Failure, Kind};
use crate::names::OWNER_PREFIX;

/// A CSI volume name (with Kubernetes: the PersistentVolume's name). It travels to the
/// device inside a comment, so only characters that no language on the way reads as
/// its own are allowed: letters, digits, `.`, `_` and `-`, at most 128.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeName(String);

/// A string that is no volume name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "volume name {0:?} is not 1 to 128 letters, digits, '.', '_' and '-', starting with a letter or digit"
)]
pub struct VolumeNameError(String);

impl Failure for VolumeNameError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for VolumeName {
    type Err = VolumeNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(VolumeNameError(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl VolumeName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose volume a disk item is: the item's comment, `rds-csi/<cluster-id>/<name>`.
/// An item without this marker is not ours and is never changed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The cluster that made it.
    pub cluster: ClusterId,
    /// The CSI name that it was made for.
    pub name: VolumeName,
}

impl Owner {
    /// Reads a comment. `None` is every comment that is not exactly a marker.
    #[must_use]
    pub fn from_comment(comment: &str) -> Option<Self> {
        let (prefix, rest) = comment.split_once('/')?;
        let (cluster, name) = rest.split_once('/')?;
        (prefix == OWNER_PREFIX).then_some(())?;
        Some(Self {
            cluster: cluster.parse().ok()?,
            name: name.parse().ok()?,
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OWNER_PREFIX}/{}/{}", self.cluster, self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_marker_reads_back() {
        let owner = Owner {
            cluster: "lab".parse().unwrap(),
            name: "pvc-1.x_Y".parse().unwrap(),
        };
        assert_eq!(owner.to_string(), "rds-csi/lab/pvc-1.x_Y");
        assert_eq!(Owner::from_comment(&owner.to_string()), Some(owner));
    }

    #[test]
    fn other_comments_are_nobodys_marker() {
        for comment in [
            "",
            "rds-csi",
            "rds-csi/lab",
            "rds-csi/lab/",
            "rds-csi//x",
            "RDS-CSI/lab/x",
            "rds-csi/lab/x/y",
            "rds-csi/lab/x ",
            " rds-csi/lab/x",
            "rds-csi-2/lab/x",
        ] {
            assert_eq!(Owner::from_comment(comment), None, "{comment:?}");
        }
    }

    #[test]
    fn names_that_could_reach_a_command_line_are_refused() {
        let long = "a".repeat(1 << 20);
        for text in [
            "", "a\"b", "a$b", "a\nb", "a;b", "a[b]", "a{b}", "a b", "-a", ".a", "ä", "a/b",
            "a\\b", &long,
        ] {
            let error = text.parse::<VolumeName>().unwrap_err();
            assert!(error.to_string().len() < 512);
        }
    }

    proptest! {
        #[test]
        fn comments_never_panic(comment in "\\PC*") {
            if let Some(owner) = Owner::from_comment(&comment) {
                prop_assert_eq!(owner.to_string(), comment);
            }
        }
    }
}
