//! Opens block devices whose identity is certain, and hands them to programs.
//!
//! A name in `/dev` and a device number are both given to another device sooner or
//! later. But a number stays with its device while a descriptor of it is open. So a
//! device is opened first, then its number is compared, and then sysfs is asked what
//! that number is: as long as the descriptor lives, the answer cannot become wrong. A
//! program gets a node that we made with that number, in a directory of our own, while
//! the descriptor is kept: it works on that device or, once that is gone, on none.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::block::{Device, DeviceError};
use crate::nvme::{self, NvmeError};
use crate::sys::{CallError, Root, paths};

/// How often and after what pause a device that cannot be opened yet is tried: for about
/// a second in all. It runs where blocking is allowed.
const READY_TRIES: u32 = 200;
const READY_PAUSE: Duration = Duration::from_millis(5);

/// How to open a device; always for reading only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Through the page cache, which shows a mounted ext4's current superblock.
    Buffered,
    /// Past the page cache: what is read came from the device just now.
    Direct,
    /// Refused by the kernel while anyone has claimed or mounted it.
    Exclusive,
}

/// Opens `/dev/<name>` and verifies that it is the device that is meant.
pub(crate) fn open(root: &Root, device: &Device, access: Access) -> Result<File, DeviceError> {
    let path = root.dev.join(&device.namespace.name);
    let flags = match access {
        Access::Buffered => OFlag::empty(),
        Access::Direct => OFlag::O_DIRECT,
        Access::Exclusive => OFlag::O_EXCL,
    };
    let failed = |call, source| DeviceError::Call {
        device: device.to_string(),
        source: CallError::failed(call, &path, source),
    };
    let file = open_when_ready(&reading(flags), &path).map_err(|source| failed("open", source))?;
    let metadata = file.metadata().map_err(|source| failed("fstat", source))?;
    let found = if metadata.file_type().is_block_device() {
        paths::number(metadata.rdev()).to_string()
    } else {
        "no block device".to_owned()
    };
    same(
        device,
        "device number",
        device.namespace.number.to_string(),
        found,
    )?;
    verify(root, device)?;
    Ok(file)
}

/// Opens what keeps the number of the device from being given to another, also once the
/// device is gone: the character device that the kernel has for the same namespace, where
/// it has one (since Linux 5.13). It pins the namespace and with it the number, and is no
/// opener of the block device: whoever closes that last still writes back and drops what is
/// cached of it, and closing this one waits for nothing. Elsewhere the block device itself.
pub(crate) fn keep(root: &Root, device: &Device) -> Result<File, DeviceError> {
    let opened = open(root, device, Access::Buffered)?;
    let Some(generic) = generic(root, device)? else {
        return Ok(opened);
    };
    // It was there all the time, so that name was that of the same namespace.
    verify(root, device)?;
    Ok(generic)
}

/// Opens the character device of a namespace whose block device is open: for as long as
/// that is, both names, which the kernel makes of the same two numbers, are its own.
fn generic(root: &Root, device: &Device) -> Result<Option<File>, DeviceError> {
    let class = root.sys.join("class/nvme-generic");
    let Some(ending) = device
        .namespace
        .name
        .strip_prefix("nvme")
        .filter(|_| class.is_dir())
    else {
        return Ok(None);
    };
    let name = format!("ng{ending}");
    let path = root.dev.join(&name);
    let failed = |call, source| DeviceError::Call {
        device: device.to_string(),
        source: CallError::failed(call, &path, source),
    };
    let file = match open_when_ready(&reading(OFlag::empty()), &path) {
        // The kernel does without where it fails to make one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| failed("open", source))?,
    };
    let described = class.join(&name);
    let read = |file| attribute(device, &described, file);
    let metadata = file.metadata().map_err(|source| failed("fstat", source))?;
    let found = if metadata.file_type().is_char_device() {
        let number = paths::number(metadata.rdev());
        format!("{}:{}", number.major, number.minor)
    } else {
        "no character device".to_owned()
    };
    same(device, "character device", read("dev")?, found)?;
    same(
        device,
        "NQN",
        device.nqn.to_string(),
        read("device/subsysnqn")?,
    )?;
    Ok(Some(file))
}

/// For reading, and never through a link.
fn reading(flags: OFlag) -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlag::O_NOFOLLOW | flags;
    options.read(true).custom_flags(flags.bits());
    options
}

/// Opens a node whose device sysfs shows already: the kernel lists a new disk a moment
/// before it can be opened (`ENXIO`), and its node may come a moment later (`ENOENT`).
fn open_when_ready(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let not_yet = [Errno::ENXIO, Errno::ENOENT].map(|errno| Some(errno as i32));
    for _ in 0..READY_TRIES {
        match options.open(path) {
            Err(error) if not_yet.contains(&error.raw_os_error()) => thread::sleep(READY_PAUSE),
            result => return result,
        }
    }
    options.open(path)
}

/// Where sysfs describes a device number.
pub(crate) fn directory(root: &Root, device: &Device) -> PathBuf {
    root.sys
        .join("dev/block")
        .join(device.namespace.number.to_string())
}

/// Asks sysfs whether the device number is this namespace of this subsystem. The
/// `device` link of a multipath head is its subsystem, that of a path its controller;
/// both say `subsysnqn`.
pub(crate) fn verify(root: &Root, device: &Device) -> Result<(), DeviceError> {
    let directory = directory(root, device);
    let read = |file| attribute(device, &directory, file);
    let namespace = &device.namespace;
    same(
        device,
        "NQN",
        device.nqn.to_string(),
        read("device/subsysnqn")?,
    )?;
    same(
        device,
        "namespace id",
        namespace.nsid.to_string(),
        read("nsid")?,
    )?;
    if let Some(wwid) = &namespace.wwid {
        same(device, "wwid", wwid.clone(), read("wwid")?)?;
    }
    let size = read("size")?;
    let size = nvme::sectors(&size).map_or(size, |size| size.to_string());
    same(device, "size", namespace.size.to_string(), size)
}

/// What sysfs says in a file of a directory; one that is gone says so.
fn attribute(device: &Device, directory: &Path, file: &str) -> Result<String, DeviceError> {
    let text =
        nvme::read_attribute(&directory.join(file)).map_err(|error| unread(device, error))?;
    Ok(text.unwrap_or_else(|| "gone".to_owned()))
}

fn unread(device: &Device, error: NvmeError) -> DeviceError {
    match error {
        NvmeError::Read(source) => DeviceError::Call {
            device: device.to_string(),
            source,
        },
        other => DeviceError::Changed {
            device: device.to_string(),
            field: "description in sysfs",
            expected: "readable".to_owned(),
            found: other.to_string(),
        },
    }
}

fn same(
    device: &Device,
    field: &'static str,
    expected: String,
    found: String,
) -> Result<(), DeviceError> {
    if expected == found {
        Ok(())
    } else {
        Err(DeviceError::Changed {
            device: device.to_string(),
            field,
            expected,
            found,
        })
    }
}

/// A verified device that is kept open. Closing a device may block, so the last
/// descriptor is closed by a thread that may.
#[derive(Debug)]
pub(crate) struct Held {
    file: Option<File>,
}

impl Held {
    pub(crate) const fn new(file: File) -> Self {
        Self { file: Some(file) }
    }

    /// Another descriptor of the same open device, for one call.
    pub(crate) fn file(&self) -> io::Result<File> {
        match &self.file {
            Some(file) => file.try_clone(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let file = self.file.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}

/// A device node of our own for one program. Unlinked when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    path: PathBuf,
}

impl Node {
    /// The device must be held for as long as the node is used.
    pub(crate) fn make(root: &Root, device: &Device) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root.nodes)?;
        let number = device.namespace.number;
        let path = root.nodes.join(format!(
            "{}-{}-{}-{}",
            number.major,
            number.minor,
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        // A name of ours can only be left over from a crash with the same process id.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        paths::make_block_node(&path, number)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Left behind, it is removed by the next plugin with the same process id or by
        // a reboot; it grants nothing, as its directory is ours alone.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
