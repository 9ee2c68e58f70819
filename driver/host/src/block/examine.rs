//! The proof that a device is blank, or what lies on it instead.
//!
//! Blank means that every region where a signature or its copy may lie was read in full
//! and is zero, and that blkid recognises nothing. Neither suffices alone: blkid ends
//! with the same status for "nothing there" and "could not look", and was seen to
//! report nothing on a device with a readable ext4 superblock; zero regions could miss
//! a signature that a prober knows.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::Content;

use crate::block::blkid::Signature;
use crate::block::superblock::{self, Damaged};
use crate::block::{DeviceError, Superblock};

const MIB: u64 = 1 << 20;
/// Direct reads start and end at multiples of this; no device's blocks are larger.
const ALIGNMENT: u64 = 4096;
/// The start holds nearly every signature: partition tables, LUKS (both headers), LVM,
/// md 1.1 and 1.2, btrfs (64 KiB), ISO 9660 (32 KiB), ZFS labels 0 and 1, bcache, and
/// ext4's first backup superblock for 1 KiB blocks (8 MiB).
const START: u64 = 16 * MIB;
/// The end holds the backup GPT, md 0.90 and 1.0, ZFS labels 2 and 3, firmware RAID.
const END: u64 = 16 * MIB;
/// Elsewhere: btrfs' copies (64 MiB, 256 GiB), ext4's first backup (128 MiB).
const COPIES: [u64; 3] = [64 * MIB, 128 * MIB, 256 << 30];
/// The rest is sampled at this many places, so that XFS' allocation groups (at quarters)
/// and content whose beginning was wiped are met.
const SAMPLES: u64 = 16;
const SAMPLE: u64 = MIB;

/// What the reads of a device showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) superblock: Result<Option<Superblock>, Damaged>,
    /// Where the first byte that is not zero lies in the regions that were read.
    pub(super) first_content: Option<u64>,
}

/// The regions to read of a device of this size, as `(offset, length)`: in order,
/// without overlap.
fn regions(size: u64) -> Vec<(u64, u64)> {
    let mut wanted = vec![(0, START), (size.saturating_sub(END), END)];
    wanted.extend(COPIES.map(|offset| (offset, SAMPLE)));
    wanted.extend((1..SAMPLES).map(|part| (size / SAMPLES * part, SAMPLE)));
    wanted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (offset, length) in wanted {
        let start = offset - offset % ALIGNMENT;
        let end = (offset + length).next_multiple_of(ALIGNMENT).min(size);
        match merged.last_mut() {
            _ if start >= end => {}
            Some((_, last_end)) if start <= *last_end => *last_end = end.max(*last_end),
            _ => merged.push((start, end)),
        }
    }
    merged
        .into_iter()
        .map(|(start, end)| (start, end - start))
        .collect()
}

/// Reads all regions of a device that is open for direct reads. Blocks.
pub(super) fn scan(file: &File, device: &str, size: Bytes) -> Result<Scan, DeviceError> {
    // What this host wrote through the page cache must be on the device before it is
    // read past the cache.
    file.sync_all().map_err(|source| DeviceError::Read {
        device: device.to_owned(),
        offset: 0,
        length: 0,
        source,
    })?;
    let mut buffer = Buffer::new(MIB);
    let superblock = superblock::recognise(buffer.read(file, device, 0, head_length(size))?);
    let mut first_content = None;
    for (offset, length) in regions(size.get()) {
        let mut done = 0;
        while done < length {
            let chunk = (length - done).min(MIB);
            let bytes = buffer.read(file, device, offset + done, chunk)?;
            if first_content.is_none() {
                first_content = first_not_zero(bytes)
                    .and_then(|position| u64::try_from(position).ok())
                    .map(|position| offset + done + position);
            }
            done += chunk;
        }
    }
    Ok(Scan {
        superblock,
        first_content,
    })
}

/// Where the first byte is that is not zero. Most of what is read is zeros, and whole blocks
/// are compared many times faster than bytes.
fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let block = bytes
        .chunks(ZEROS.len())
        .position(|block| *block != ZEROS[..block.len()])?;
    let start = block * ZEROS.len();
    let within = bytes[start..].iter().position(|byte| *byte != 0)?;
    Some(start + within)
}

/// Reads the beginning of a device that is open for direct reads. Blocks.
pub(crate) fn head(
    file: &File,
    device: &str,
    size: Bytes,
) -> Result<Option<Superblock>, DeviceError> {
    let length = head_length(size);
    let mut buffer = Buffer::new(length);
    let head = buffer.read(file, device, 0, length)?;
    superblock::recognise(head).map_err(|damaged| DeviceError::Damaged {
        device: device.to_owned(),
        fs: damaged.fs,
        reason: damaged.reason,
    })
}

fn head_length(size: Bytes) -> u64 {
    u64::try_from(superblock::LENGTH).map_or(ALIGNMENT, |length| length.min(size.get()))
}

/// What scan and blkid say together.
pub(super) fn content(scan: Scan, signature: Signature) -> Content {
    let known = match scan.superblock {
        Ok(known) => known,
        Err(damaged) => {
            return Content::Foreign(format!(
                "a damaged {} superblock: {}",
                damaged.fs, damaged.reason
            ));
        }
    };
    match (known, signature, scan.first_content) {
        (_, Signature::Other(text), _) => Content::Foreign(text),
        (Some(found), Signature::Nothing, _) => filesystem(found),
        (Some(found), Signature::Filesystem(name), _) if name == found.fs.as_str() => {
            filesystem(found)
        }
        (_, Signature::Filesystem(name), _) => {
            Content::Foreign(format!("blkid reports the filesystem {name}"))
        }
        (None, Signature::Nothing, Some(offset)) => Content::Foreign(format!(
            "content that nobody recognises, first seen at offset {offset}"
        )),
        (None, Signature::Nothing, None) => Content::Blank,
    }
}

fn filesystem(found: Superblock) -> Content {
    Content::Filesystem {
        fs: found.fs,
        uuid: found.uuid,
    }
}

/// Memory whose address suits direct reads.
#[derive(Debug)]
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new(length: u64) -> Self {
        let length = usize::try_from(length + ALIGNMENT).unwrap_or(usize::MAX);
        let memory = vec![0; length];
        let start = memory.as_ptr().align_offset(4096);
        Self { memory, start }
    }

    /// Reads exactly so much, or fails.
    fn read(
        &mut self,
        file: &File,
        device: &str,
        offset: u64,
        length: u64,
    ) -> Result<&[u8], DeviceError> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.start.checked_add(length))
            .filter(|end| *end <= self.memory.len())
            .unwrap_or(self.memory.len());
        let target = &mut self.memory[self.start..end];
        let read = file
            .read_at(target, offset)
            .map_err(|source| DeviceError::Read {
                device: device.to_owned(),
                offset,
                length,
                source,
            })?;
        if u64::try_from(read).is_ok_and(|read| read == length) {
            Ok(&self.memory[self.start..end])
        } else {
            Err(DeviceError::Short {
                device: device.to_owned(),
                offset,
                length,
                read: u64::try_from(read).unwrap_or(u64::MAX),
            })
        }
    }
}

#[cfg(test)]
mod tests;
