//! mount(2), umount2(2), statvfs(3), and whether a filesystem has shut down.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use rds_csi_core::nvme::DeviceNumber;

use crate::block::Stats;
use crate::mounter::Unmount;
use crate::sys::paths;

/// Options that are flags of mount(2), with whether they set or clear the flag.
const FLAGS: &[(&str, MsFlags, bool)] = &[
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, true),
    ("dev", MsFlags::MS_NODEV, false),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("atime", MsFlags::MS_NOATIME, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("diratime", MsFlags::MS_NODIRATIME, false),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("norelatime", MsFlags::MS_RELATIME, false),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("nostrictatime", MsFlags::MS_STRICTATIME, false),
    ("lazytime", MsFlags::MS_LAZYTIME, true),
    ("nolazytime", MsFlags::MS_LAZYTIME, false),
    ("silent", MsFlags::MS_SILENT, true),
];

/// The flags among the options, and the rest joined for the filesystem. Of
/// contradicting options the last wins, as with mount(8). An option that is no single
/// word is refused: the filesystem would read two from it.
pub(crate) fn split(options: &[String]) -> io::Result<(MsFlags, String)> {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in options {
        if option.is_empty() || option.contains([',', '\0', '\n']) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("mount option {option:?} is not one word"),
            ));
        }
        match FLAGS.iter().find(|(name, ..)| name == option) {
            Some((_, flag, set)) => flags.set(*flag, *set),
            None if option == "defaults" => {}
            None => data.push(option.as_str()),
        }
    }
    Ok((flags, data.join(",")))
}

/// mount(2) of a filesystem on a block device.
pub(crate) fn filesystem(
    source: &Path,
    target: &Path,
    fs_type: &str,
    options: &[String],
) -> io::Result<()> {
    let (flags, data) = split(options)?;
    mount(
        Some(source),
        target,
        Some(fs_type),
        flags,
        Some(data.as_str()),
    )
    .map_err(io::Error::from)
}

/// The device of whatever is mounted at the path.
pub(crate) fn device_at(path: &Path) -> io::Result<DeviceNumber> {
    fs::symlink_metadata(path).map(|metadata| paths::number(metadata.dev()))
}

/// mount(2) with `MS_BIND`.
pub(crate) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(io::Error::from)
}

/// Makes the mount at the target read-only and keeps its other flags: a remount states
/// all of them anew. Verified afterwards.
pub(crate) fn remount_read_only(target: &Path) -> io::Result<()> {
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let present = statvfs(target).map_err(io::Error::from)?.flags();
    for (seen, kept) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        flags.set(kept, present.contains(seen));
    }
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(io::Error::from)?;
    let now = statvfs(target).map_err(io::Error::from)?.flags();
    if now.contains(FsFlags::ST_RDONLY) {
        Ok(())
    } else {
        Err(io::Error::other(
            "the kernel accepted the remount and the mount is still writable",
        ))
    }
}

/// umount2(2), never through a symlink.
pub(crate) fn unmount(target: &Path, how: Unmount) -> io::Result<()> {
    let flags = match how {
        Unmount::Plain => MntFlags::empty(),
        Unmount::Lazy => MntFlags::MNT_DETACH,
    };
    umount2(target, flags | MntFlags::UMOUNT_NOFOLLOW).map_err(io::Error::from)
}

/// statvfs(3) in bytes and inodes; "available" is what an unprivileged writer gets.
pub(crate) fn stats(path: &Path) -> io::Result<Stats> {
    let seen = statvfs(path).map_err(io::Error::from)?;
    let unit = seen.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(unit);
    Ok(Stats {
        total_bytes: bytes(seen.blocks()),
        used_bytes: bytes(seen.blocks().saturating_sub(seen.blocks_free())),
        available_bytes: bytes(seen.blocks_available()),
        total_inodes: seen.files(),
        used_inodes: seen.files().saturating_sub(seen.files_free()),
        available_inodes: seen.files_available(),
    })
}

/// An attribute that no file has. Only a process that may administer mounts sees whether.
const NO_ATTRIBUTE: &str = "trusted.rds-csi";

/// Whether the filesystem at the path has shut down. ext4 and XFS answer the question for an
/// attribute with EIO from then on, and before that from memory: nothing is written for
/// it, and nothing of what is cached flushed. No option in the mount table tells as much:
/// XFS never showed it, and ext4 only since Linux 6.15.
pub(crate) fn has_shut_down(path: &Path) -> io::Result<bool> {
    match rustix::fs::lgetxattr_query(path, NO_ATTRIBUTE) {
        Ok(_) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(false),
        Err(rustix::io::Errno::IO) => Ok(true),
        Err(failed) => Err(failed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(options: &[&str]) -> Vec<String> {
        options.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn flags_are_split_from_what_the_filesystem_reads() {
        let (flags, data) = split(&words(&["ro", "noatime", "nouuid", "discard", "rw"])).unwrap();
        assert_eq!(flags, MsFlags::MS_NOATIME);
        assert_eq!(data, "nouuid,discard");
        assert_eq!(split(&[]).unwrap(), (MsFlags::empty(), String::new()));
    }

    #[test]
    fn an_option_that_holds_another_is_refused() {
        for option in ["", "a,b", "a\0", "noload\nx"] {
            assert!(split(&words(&[option])).is_err(), "{option:?}");
        }
    }

    #[test]
    fn space_adds_up() {
        let directory = tempfile::tempdir().unwrap();
        let stats = stats(directory.path()).unwrap();
        assert!(stats.total_bytes > 0);
        assert!(stats.used_bytes <= stats.total_bytes);
        assert!(stats.available_bytes <= stats.total_bytes - stats.used_bytes);
    }
}
