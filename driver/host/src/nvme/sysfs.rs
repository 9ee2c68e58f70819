//! Reads `/sys/class/nvme-subsystem`.
//!
//! A subsystem's directory links its controllers (`nvme0`). With native multipath the
//! block device (`nvme0n1`) lies beside them, and `nvme0c0n1` below a controller is a
//! hidden path that cannot be opened; without it the block device lies below the
//! controller. Numbers in names have no meaning. Anything may vanish between listing
//! and reading; that is "gone", and every other failure is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Controller, ControllerState, Namespace, Subsystem};

use crate::mountinfo::parse_number;
use crate::nvme::NvmeError;
use crate::sys::{CallError, Errno, Root, files};

/// The unit of `size` in sysfs, whatever the device's own block size.
const SECTOR: u64 = 512;

/// Where the kernel links a controller's control files.
pub(super) fn controller_directory(root: &Root, name: &str) -> PathBuf {
    root.sys.join("class/nvme").join(name)
}

/// Every subsystem.
pub(super) fn others(root: &Root, known: &[Nqn]) -> Result<Vec<Subsystem>, NvmeError> {
    let known: BTreeSet<&str> = known.iter().map(Nqn::as_str).collect();
    read_all(root, |nqn| !known.contains(nqn))
}

/// The subsystem of exactly this NQN. Of all others no more than the NQN is read: a node
/// may have hundreds.
pub(super) fn subsystem(root: &Root, nqn: &Nqn) -> Result<Option<Subsystem>, NvmeError> {
    Ok(named(root, &[nqn])?.remove(nqn.as_str()))
}

/// The subsystems of exactly these NQNs, by NQN, in one pass over all.
pub(super) fn named(root: &Root, nqns: &[&Nqn]) -> Result<BTreeMap<String, Subsystem>, NvmeError> {
    let wanted: BTreeSet<&str> = nqns.iter().map(|nqn| nqn.as_str()).collect();
    let mut named: BTreeMap<String, Subsystem> = BTreeMap::new();
    for found in read_all(root, |nqn| wanted.contains(nqn))? {
        // The kernel makes a second subsystem of one NQN where hosts or identifiers differ;
        // to the caller they are one name.
        match named.get_mut(&found.nqn) {
            None => drop(named.insert(found.nqn.clone(), found)),
            Some(all) => {
                all.controllers.extend(found.controllers);
                all.namespaces.extend(found.namespaces);
            }
        }
    }
    Ok(named)
}

fn read_all(root: &Root, wanted: impl Fn(&str) -> bool) -> Result<Vec<Subsystem>, NvmeError> {
    let class = root.sys.join("class");
    let directory = class.join("nvme-subsystem");
    let Some(names) = list(&directory)? else {
        // Without the module there is no such class; without sysfs there is no answer.
        return match list(&class)? {
            Some(_) => Ok(Vec::new()),
            None => Err(NvmeError::Read(CallError::failed(
                "list",
                &class,
                io::ErrorKind::NotFound.into(),
            ))),
        };
    };
    let mut subsystems = Vec::new();
    for name in names {
        let directory = directory.join(name);
        if let Some(nqn) = read(&directory.join("subsysnqn"))?.filter(|nqn| wanted(nqn)) {
            subsystems.push(details(&directory, nqn)?);
        }
    }
    Ok(subsystems)
}

fn details(directory: &Path, nqn: String) -> Result<Subsystem, NvmeError> {
    let mut found = Subsystem {
        nqn,
        controllers: Vec::new(),
        namespaces: Vec::new(),
    };
    for name in list(directory)?.unwrap_or_default() {
        let path = directory.join(&name);
        match sort_of(&name) {
            Some(Sort::Controller) => {
                found.controllers.extend(controller(&path, name)?);
                for name in list(&path)?.unwrap_or_default() {
                    if sort_of(&name) == Some(Sort::BlockDevice) {
                        found.namespaces.extend(namespace(&path.join(&name), name)?);
                    }
                }
            }
            Some(Sort::BlockDevice) => found.namespaces.extend(namespace(&path, name)?),
            None => {}
        }
    }
    Ok(found)
}

#[derive(Debug, PartialEq, Eq)]
enum Sort {
    Controller,
    BlockDevice,
}

/// `nvme0` and `nvme0n1`; not `nvme0c0n1`, `ng0n1` or any attribute.
fn sort_of(name: &str) -> Option<Sort> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = name.strip_prefix("nvme")?;
    match rest.split_once('n') {
        None => digits(rest).then_some(Sort::Controller),
        Some((instance, number)) => {
            (digits(instance) && digits(number)).then_some(Sort::BlockDevice)
        }
    }
}

fn controller(directory: &Path, name: String) -> Result<Option<Controller>, NvmeError> {
    let Some(state) = read(&directory.join("state"))? else {
        return Ok(None);
    };
    Ok(Some(Controller {
        name,
        state: ControllerState::from(state.as_str()),
        address: read(&directory.join("address"))?.and_then(|text| address(&text)),
        host_nqn: read(&directory.join("hostnqn"))?.filter(|text| !text.is_empty()),
    }))
}

/// `traddr=192.0.2.7,trsvcid=4420,src_addr=192.0.2.1`, in any order.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let field = |name: &str| {
        text.trim()
            .split(',')
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    Some((
        field("traddr")?.parse().ok()?,
        field("trsvcid")?.parse().ok()?,
    ))
}

fn namespace(directory: &Path, name: String) -> Result<Option<Namespace>, NvmeError> {
    let attribute = |file: &str| read(&directory.join(file));
    let (Some(number), Some(size), Some(nsid), Some(read_only)) = (
        attribute("dev")?,
        attribute("size")?,
        attribute("nsid")?,
        attribute("ro")?,
    ) else {
        return Ok(None);
    };
    let unexpected = |file: &str, text: &str, expected| NvmeError::Unexpected {
        path: directory.join(file).display().to_string(),
        text: text.chars().take(64).collect(),
        expected,
    };
    Ok(Some(Namespace {
        number: parse_number(&number).ok_or_else(|| unexpected("dev", &number, "device number"))?,
        size: sectors(&size).ok_or_else(|| unexpected("size", &size, "number of sectors"))?,
        nsid: nsid
            .parse()
            .map_err(|_| unexpected("nsid", &nsid, "namespace id"))?,
        wwid: attribute("wwid")?.filter(|text| !text.is_empty()),
        read_only: match read_only.as_str() {
            "0" => false,
            "1" => true,
            other => return Err(unexpected("ro", other, "0 or 1")),
        },
        name,
    }))
}

/// A `size` attribute in bytes.
pub(crate) fn sectors(text: &str) -> Option<Bytes> {
    text.parse::<u64>()
        .ok()?
        .checked_mul(SECTOR)
        .map(Bytes::new)
}

/// An attribute without its line end; `None` where it is gone.
pub(crate) fn read(path: &Path) -> Result<Option<String>, NvmeError> {
    present("read", path, files::attribute(path))
}

/// The names in a directory in an order that does not change; `None` where it is gone.
fn list(directory: &Path) -> Result<Option<Vec<String>>, NvmeError> {
    let names = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
    });
    Ok(present("list", directory, names)?.map(|mut names| {
        names.sort();
        names
    }))
}

/// A removed file is `ENOENT`; an attribute whose device goes while it is open `ENODEV`.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO)
    )
}

fn present<T>(
    call: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<Option<T>, NvmeError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(NvmeError::Read(CallError::failed(call, path, error))),
    }
}

#[cfg(test)]
mod tests;
