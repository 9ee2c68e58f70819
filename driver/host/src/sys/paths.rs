//! Looking at, making and removing single names in a directory.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use rds_csi_core::nvme::DeviceNumber;

use crate::mounter::PathState;

/// `st_dev` or `st_rdev` as major and minor.
pub(crate) fn number(raw: u64) -> DeviceNumber {
    let part = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    DeviceNumber {
        major: part(major(raw)),
        minor: part(minor(raw)),
    }
}

/// lstat, and for a directory one entry of it.
pub(crate) fn state(path: &Path) -> io::Result<PathState> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PathState::Absent),
        Err(error) => return Err(error),
    };
    let sort = metadata.file_type();
    Ok(if sort.is_dir() {
        PathState::Directory {
            empty: fs::read_dir(path)?.next().transpose()?.is_none(),
        }
    } else if sort.is_block_device() {
        PathState::Block(number(metadata.rdev()))
    } else if sort.is_file() {
        PathState::File {
            empty: metadata.len() == 0,
        }
    } else {
        PathState::Other
    })
}

/// Makes a directory and its missing parents where nothing is; what lies there where it
/// is something else.
pub(crate) fn require_directory(path: &Path) -> io::Result<Result<(), PathState>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_directory(path).map(Ok),
        Ok(_) => state(path).map(Err),
        Err(error) => Err(error),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_directory)
}

/// Fails with `AlreadyExists` where any name is.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    make_parent(path)?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
        .map(drop)
}

/// Fails with `AlreadyExists` where any name is.
pub(crate) fn make_block_node(path: &Path, number: DeviceNumber) -> io::Result<()> {
    make_parent(path)?;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IWGRP;
    let device = makedev(number.major.into(), number.minor.into());
    mknod(path, SFlag::S_IFBLK, mode, device).map_err(io::Error::from)
}
