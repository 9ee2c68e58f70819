//! Where a volume's bytes lie on the device.
//!
//! RouterOS spells the same file in two ways: `/disk` reports `file-path` with a
//! leading slash, `/file` lists `name` without one. Comparing the two spellings once
//! made every live file look orphaned. Here is the only place that knows both.

use std::fmt;
use std::str::FromStr;

use crate::kind::{Failure, Kind};
use crate::volume_id::VolumeId;

/// The directory where nothing else is set.
pub const DEFAULT_VOLUME_DIRECTORY: &str = "/storage-pool/rds-csi";

/// A string that is no path on the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "path {0:?} is not a pool and a directory, such as {DEFAULT_VOLUME_DIRECTORY}: parts of letters, digits, '.', '_', '-', none starting with '.', at most 200 characters"
)]
pub struct PathError(String);

impl Failure for PathError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// A directory for backing files: `/<pool>[/<directory>…]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeDirectory(String);

/// One backing file, without a leading slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackingFile(String);

/// `text` without its leading slash if every part of it is plain.
fn plain_path(text: &str) -> Result<&str, PathError> {
    let error = || PathError(text.chars().take(64).collect());
    let relative = text.strip_prefix('/').unwrap_or(text);
    let plain = relative.len() <= 200
        && relative.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
    if plain { Ok(relative) } else { Err(error()) }
}

impl FromStr for VolumeDirectory {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        plain_path(text).map(|relative| Self(relative.to_owned()))
    }
}

impl fmt::Display for VolumeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

impl Default for VolumeDirectory {
    fn default() -> Self {
        Self(DEFAULT_VOLUME_DIRECTORY.trim_start_matches('/').to_owned())
    }
}

impl VolumeDirectory {
    /// The mount point of the pool that holds the directory: its first part.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// The directory as `/file` spells it, without a leading slash.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.0
    }

    /// Whether this is `base` or lies below it. By parts: `/pool/csi-evil` is not below
    /// `/pool/csi`.
    #[must_use]
    pub fn is_within(&self, base: &Self) -> bool {
        self.0
            .strip_prefix(&base.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The backing file of a volume here.
    #[must_use]
    pub fn file(&self, id: &VolumeId) -> BackingFile {
        BackingFile(format!("{}/{id}.img", self.0))
    }
}

impl FromStr for BackingFile {
    type Err = PathError;

    /// Accepts both spellings of the device.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        plain_path(text).map(|relative| Self(relative.to_owned()))
    }
}

impl fmt::Display for BackingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

impl BackingFile {
    /// As `file-path=` of `/disk` spells it: with a leading slash.
    #[must_use]
    pub fn file_path(&self) -> String {
        format!("/{}", self.0)
    }

    /// As `name=` of `/file` spells it: without one.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.0
    }

    /// The directory that holds the file, without a leading slash.
    #[must_use]
    pub fn directory(&self) -> &str {
        self.0
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory)
    }

    /// Whether the file lies in a directory or anywhere below it.
    #[must_use]
    pub fn is_below(&self, directory: &VolumeDirectory) -> bool {
        self.0
            .strip_prefix(&directory.0)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The mount point of the pool that holds the file.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_file() {
        let directory: VolumeDirectory = "/storage-pool/metal-csi".parse().unwrap();
        let file = directory.file(&"pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap());
        assert_eq!(
            file.file_path(),
            "/storage-pool/metal-csi/pvc-bvhguhbpbnhx5gsxb5fgwhjmhy.img"
        );
        assert_eq!(file.file_path().parse(), Ok(file.clone()));
        assert_eq!(file.file_name().parse(), Ok(file.clone()));
        assert_eq!(
            (directory.pool(), file.pool()),
            ("storage-pool", "storage-pool")
        );
    }

    #[test]
    fn a_look_alike_is_not_within() {
        let base: VolumeDirectory = "/pool/csi".parse().unwrap();
        let within = |text: &str| text.parse::<VolumeDirectory>().unwrap().is_within(&base);
        assert!(within("/pool/csi") && within("/pool/csi/a"));
        assert!(!within("/pool/csi-evil") && !within("/pool") && !within("/other/csi"));
    }

    #[test]
    fn paths_that_climb_or_quote_are_refused() {
        let long = format!("/pool/{}", "a".repeat(200));
        for text in [
            "",
            "/",
            "//",
            "/pool/",
            "/pool//a",
            "/pool/../a",
            "/pool/.a",
            "/pool/a b",
            "/pool/a\"",
            "/pool/$a",
            "/pool/a\n",
            "/pool/[a]",
            "/pool/a;b",
            &long,
        ] {
            assert!(text.parse::<VolumeDirectory>().is_err(), "{text:?}");
            assert!(text.parse::<BackingFile>().is_err(), "{text:?}");
        }
    }
}
