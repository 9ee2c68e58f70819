//! Parses `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
//!
//! A line that is not understood is an error: a mount that nobody sees could be
//! the one that makes an unstage unsafe.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rds_csi_core::mount::Mount;
use rds_csi_core::nvme::DeviceNumber;

use crate::mounter::MountError;
use crate::sys::{CallError, Root, files};

/// Some 100,000 mounts. A host with so many is in trouble already, and reading more
/// would only add to it.
const LIMIT: u64 = 16 << 20;

/// Reads the table of this process's mount namespace.
pub(crate) fn read(root: &Root) -> Result<Vec<Mount>, MountError> {
    let path = root.proc.join("self/mountinfo");
    let table = files::table(&path, LIMIT)
        .map_err(|source| MountError::Table(CallError::failed("read", &path, source)))?;
    if u64::try_from(table.len()).is_ok_and(|length| length > LIMIT) {
        return Err(MountError::TooLarge { limit: LIMIT });
    }
    parse(&table)
}

/// Every mount of the table, in its order.
pub fn parse(table: &[u8]) -> Result<Vec<Mount>, MountError> {
    table
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            parse_line(line).ok_or_else(|| MountError::Line {
                line: index + 1,
                text: String::from_utf8_lossy(line).chars().take(200).collect(),
            })
        })
        .collect()
}

/// `36 35 98:0 /root /target rw,noatime master:1 - ext4 /dev/root rw,errors=continue`:
/// any number of optional fields stand before the lone hyphen.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = text(fields.next()?)?.parse().ok()?;
    let parent = text(fields.next()?)?.parse().ok()?;
    let device = parse_number(text(fields.next()?)?)?;
    let root = path(fields.next()?)?;
    let target = path(fields.next()?)?;
    let options = words(fields.next()?);
    fields.by_ref().find(|field| *field == b"-")?;
    let fs_type = lossy(fields.next()?);
    let source = lossy(fields.next()?);
    // Some filesystems show no option of their own; the field is then empty or absent.
    let super_options = fields.next().map(words).unwrap_or_default();
    fields.next().is_none().then_some(Mount {
        id,
        parent,
        device,
        root,
        target,
        options,
        fs_type,
        source,
        super_options,
    })
}

/// `259:3`.
pub(crate) fn parse_number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some(DeviceNumber {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

fn lossy(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn path(field: &[u8]) -> Option<PathBuf> {
    (!field.is_empty()).then(|| PathBuf::from(OsString::from_vec(unescape(field))))
}

fn words(field: &[u8]) -> Vec<String> {
    field
        .split(|byte| *byte == b',')
        .filter(|word| !word.is_empty())
        .map(lossy)
        .collect()
}

/// `\040` and its like: a backslash and three octal digits are one byte.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match escaped(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn escaped(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [
            b'\\',
            high @ b'0'..=b'3',
            middle @ b'0'..=b'7',
            low @ b'0'..=b'7',
            ..,
        ] => Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0')),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
