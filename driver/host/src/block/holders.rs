//! Who uses a block device.
//!
//! Three sources, since none sees all: sysfs knows devices stacked on it, the mount
//! table knows this mount namespace, and an exclusive open is refused by the kernel for
//! a claim of any kind in any namespace. A list of programs that have it open does not
//! exist outside of `/proc/*/fd`, which shows only processes of the same namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rds_csi_core::nvme::DeviceNumber;

use crate::block::{Device, DeviceError, Holder};
use crate::mountinfo;
use crate::sys::device::{self, Access};
use crate::sys::{CallError, Root, paths};

/// Every holder of the device and of its partitions. Blocks.
pub(super) fn holders(root: &Root, device: &Device) -> Result<Vec<Holder>, DeviceError> {
    let held = device::open(root, device, Access::Buffered)?;
    let directory = device::directory(root, device);
    let mut numbers = vec![device.namespace.number];
    let mut found = BTreeSet::new();
    found.extend(stacked(device, &directory)?);
    for partition in partitions(device, &directory)? {
        let text = read(device, &partition.join("dev"))?;
        numbers.push(mountinfo::parse_number(text.trim()).ok_or_else(|| {
            DeviceError::Unexpected {
                path: partition.join("dev"),
                text: text.clone(),
            }
        })?);
        found.extend(stacked(device, &partition)?);
    }
    found.extend(mounts(root, device, &numbers)?);
    if swaps(root, device, &numbers)? {
        found.insert(Holder::Swap);
    }
    drop(held);
    if found.is_empty() && is_claimed(root, device)? {
        found.insert(Holder::Claimed);
    }
    Ok(found.into_iter().collect())
}

fn failed(device: &Device, call: &'static str, path: &Path, source: io::Error) -> DeviceError {
    DeviceError::Call {
        device: device.to_string(),
        source: CallError::failed(call, path, source),
    }
}

fn read(device: &Device, path: &Path) -> Result<String, DeviceError> {
    fs::read_to_string(path).map_err(|source| failed(device, "read", path, source))
}

fn list(device: &Device, directory: &Path) -> Result<Vec<fs::DirEntry>, DeviceError> {
    fs::read_dir(directory)
        .and_then(Iterator::collect)
        .map_err(|source| failed(device, "list", directory, source))
}

fn stacked(device: &Device, directory: &Path) -> Result<Vec<Holder>, DeviceError> {
    Ok(list(device, &directory.join("holders"))?
        .into_iter()
        .map(|entry| Holder::Device(entry.file_name().to_string_lossy().into_owned()))
        .collect())
}

/// Subdirectories that say of themselves that they are partitions.
fn partitions(device: &Device, directory: &Path) -> Result<Vec<std::path::PathBuf>, DeviceError> {
    Ok(list(device, directory)?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.join("partition").is_file())
        .collect())
}

fn mounts(
    root: &Root,
    device: &Device,
    numbers: &[DeviceNumber],
) -> Result<Vec<Holder>, DeviceError> {
    let mounts = mountinfo::read(root).map_err(|source| DeviceError::Mounts {
        device: device.to_string(),
        source: Box::new(source),
    })?;
    Ok(mounts
        .into_iter()
        .filter(|mount| numbers.contains(&mount.device))
        .map(|mount| Holder::Mount(mount.target))
        .collect())
}

/// proc_swaps(5): a title line, then the path in the first column. A kernel without swap
/// has no such file.
fn swaps(root: &Root, device: &Device, numbers: &[DeviceNumber]) -> Result<bool, DeviceError> {
    let path = root.proc.join("swaps");
    let table = match fs::read_to_string(&path) {
        Ok(table) => table,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(device, "read", &path, error)),
    };
    Ok(table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(Path::new)
        .any(|used| {
            let is_same_name = used
                .file_name()
                .is_some_and(|name| name == device.namespace.name.as_str());
            is_same_name
                || fs::metadata(used)
                    .is_ok_and(|metadata| numbers.contains(&paths::number(metadata.rdev())))
        }))
}

/// Whether anyone has claimed the device for himself alone, as a mkfs at work does. Blocks.
pub(super) fn is_claimed(root: &Root, device: &Device) -> Result<bool, DeviceError> {
    match device::open(root, device, Access::Exclusive) {
        Ok(_) => Ok(false),
        Err(DeviceError::Call { source, .. })
            if source
                .io()
                .is_some_and(|error| error.kind() == io::ErrorKind::ResourceBusy) =>
        {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
