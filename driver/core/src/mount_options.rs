//! Which mount options a StorageClass or a claim may ask for.
//!
//! An allow-list: an option can change who may write, whether a crash loses data, or
//! where the kernel looks for a journal, and those that do are not on it.

use crate::filesystem::FsType;
use crate::kind::{Failure, Kind};

/// Options that every filesystem understands.
const COMMON: &[&str] = &[
    "ro",
    "rw",
    "defaults",
    "relatime",
    "noatime",
    "strictatime",
    "nodiratime",
    "lazytime",
    "nolazytime",
    "sync",
    "async",
    "dirsync",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "discard",
    "nodiscard",
];
/// Options of ext4 that leave its guarantees alone.
const EXT4: &[&str] = &[
    "errors=remount-ro",
    "errors=panic",
    "data=ordered",
    "data=journal",
    "init_itable=0",
    "noinit_itable",
];
/// Options of XFS that leave its guarantees alone. `nouuid` is for copies of a volume.
const XFS: &[&str] = &["nouuid", "inode64", "largeio", "attr2", "noquota"];

/// An option that is not on the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mount option {option:?} is not allowed for {fs}; allowed: {}", allowed(*.fs).join(" "))]
pub struct MountOptionError {
    option: String,
    fs: FsType,
}

impl Failure for MountOptionError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

fn own(fs: FsType) -> &'static [&'static str] {
    match fs {
        FsType::Ext4 => EXT4,
        FsType::Xfs => XFS,
    }
}

/// Every option that may be asked for with this filesystem.
#[must_use]
pub fn allowed(fs: FsType) -> Vec<&'static str> {
    COMMON.iter().chain(own(fs)).copied().collect()
}

/// Options as a claim or class spells them (an entry may hold several, joined by
/// commas) to single options in order, without repetitions and without `defaults`.
/// The first that is not allowed is the error.
pub fn parse<S: AsRef<str>>(fs: FsType, options: &[S]) -> Result<Vec<String>, MountOptionError> {
    let mut parsed: Vec<String> = Vec::new();
    for option in options
        .iter()
        .flat_map(|entry| entry.as_ref().split(','))
        .map(str::trim)
        .filter(|o| !o.is_empty())
    {
        if !COMMON.contains(&option) && !own(fs).contains(&option) {
            return Err(MountOptionError {
                option: option.chars().take(64).collect(),
                fs,
            });
        }
        if option != "defaults" && !parsed.iter().any(|known| known == option) {
            parsed.push(option.to_owned());
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_and_kept_in_order() {
        let options = ["noatime,discard", "noatime", "defaults", " nouuid "];
        assert_eq!(
            parse(FsType::Xfs, &options).unwrap(),
            ["noatime", "discard", "nouuid"]
        );
    }

    #[test]
    fn options_that_endanger_data_or_belong_elsewhere_are_refused() {
        for (fs, option) in [
            (FsType::Ext4, "nouuid"),
            (FsType::Ext4, "nobarrier"),
            (FsType::Ext4, "data=writeback"),
            (FsType::Ext4, "noload"),
            (FsType::Xfs, "norecovery"),
            (FsType::Xfs, "logdev=/dev/sda"),
            (FsType::Xfs, "bind"),
            (FsType::Ext4, "remount"),
            (FsType::Ext4, "uid=0\nrw"),
        ] {
            let error = parse(fs, &[option]).unwrap_err();
            assert!(error.to_string().contains("noatime"), "{error}");
        }
    }
}
