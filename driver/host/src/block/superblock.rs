//! Recognises ext4 and XFS from the first bytes of a device, without any program.
//!
//! Pure. "Not recognised" is no statement about blankness. A superblock whose fields
//! contradict one another is damaged, which is neither.
//!
//! Offsets: ext4 in Linux' Documentation/filesystems/ext4/super.rst (little endian, at
//! byte 1024); XFS in "XFS Algorithms & Data Structures", Superblocks (big endian, at
//! byte 0).

use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::FsType;
use uuid::Uuid;

use crate::block::Superblock;

/// So much of a device's beginning is enough.
pub(super) const LENGTH: usize = 4096;

/// A superblock of this type that makes no sense, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) fs: FsType,
    pub(super) reason: String,
}

/// `None` where neither type's magic number is in place.
pub(super) fn recognise(head: &[u8]) -> Result<Option<Superblock>, Damaged> {
    match xfs(head)? {
        Some(found) => Ok(Some(found)),
        None => ext4(head),
    }
}

fn bytes<const N: usize>(head: &[u8], offset: usize) -> Option<[u8; N]> {
    head.get(offset..offset + N)?.try_into().ok()
}

const EXT4_MAGIC: u16 = 0xEF53;
const EXT4_64BIT: u32 = 0x80;
/// Features that only ext4 has: extents, 64bit, mmp, flex_bg, and inline data. Without
/// one of them it is ext2 or ext3.
const EXT4_INCOMPAT: u32 = 0x40 | EXT4_64BIT | 0x100 | 0x200 | 0x8000;
/// Likewise: huge_file, gdt_csum, dir_nlink, extra_isize, metadata_csum.
const EXT4_RO_COMPAT: u32 = 0x8 | 0x10 | 0x20 | 0x40 | 0x400;
/// A journal of another filesystem, and no filesystem itself.
const JOURNAL_DEVICE: u32 = 0x8;

fn ext4(head: &[u8]) -> Result<Option<Superblock>, Damaged> {
    const BASE: usize = 1024;
    let damaged = |reason: &str| Damaged {
        fs: FsType::Ext4,
        reason: reason.to_owned(),
    };
    let u32_at = |offset: usize| {
        bytes(head, BASE + offset)
            .map(u32::from_le_bytes)
            .ok_or_else(|| damaged("it is cut off"))
    };
    if bytes(head, BASE + 0x38).map(u16::from_le_bytes) != Some(EXT4_MAGIC) {
        return Ok(None);
    }
    let (incompat, ro_compat) = (u32_at(0x60)?, u32_at(0x64)?);
    let is_ext4 = incompat & EXT4_INCOMPAT != 0 || ro_compat & EXT4_RO_COMPAT != 0;
    if !is_ext4 || incompat & JOURNAL_DEVICE != 0 {
        return Ok(None);
    }
    let block_log = u32_at(0x18)?;
    if block_log > 6 {
        return Err(damaged("its block size is over 64 KiB"));
    }
    let high = if incompat & EXT4_64BIT == 0 {
        0
    } else {
        u32_at(0x150)?
    };
    let blocks = u64::from(high) << 32 | u64::from(u32_at(0x4)?);
    let uuid: [u8; 16] = bytes(head, BASE + 0x68).ok_or_else(|| damaged("it is cut off"))?;
    finish(FsType::Ext4, uuid, blocks, 1024 << block_log)
        .map_err(damaged)
        .map(Some)
}

fn xfs(head: &[u8]) -> Result<Option<Superblock>, Damaged> {
    if head.get(..4) != Some(b"XFSB") {
        return Ok(None);
    }
    let damaged = |reason: &str| Damaged {
        fs: FsType::Xfs,
        reason: reason.to_owned(),
    };
    let (Some(block_size), Some(blocks), Some(uuid), Some(&in_progress)) = (
        bytes(head, 4).map(u32::from_be_bytes),
        bytes(head, 8).map(u64::from_be_bytes),
        bytes(head, 32),
        head.get(126),
    ) else {
        return Err(damaged("it is cut off"));
    };
    if in_progress != 0 {
        return Err(damaged(
            "mkfs.xfs did not finish; if the volume is new, delete its claim and make it anew",
        ));
    }
    if !block_size.is_power_of_two() || !(512..=65536).contains(&block_size) {
        return Err(damaged("its block size is none that XFS has"));
    }
    finish(FsType::Xfs, uuid, blocks, block_size.into())
        .map_err(damaged)
        .map(Some)
}

fn finish(fs: FsType, uuid: [u8; 16], blocks: u64, block: u64) -> Result<Superblock, &'static str> {
    let uuid = Uuid::from_bytes(uuid);
    if uuid.is_nil() {
        return Err("its UUID is zero");
    }
    match blocks.checked_mul(block) {
        None => Err("its size is impossible"),
        Some(0) => Err("its size is zero"),
        Some(size) => Ok(Superblock {
            fs,
            uuid,
            size: Bytes::new(size),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ext4_head() -> Vec<u8> {
        let mut head = vec![0; LENGTH];
        head[1024 + 0x38..][..2].copy_from_slice(&EXT4_MAGIC.to_le_bytes());
        head[1024 + 0x4..][..4].copy_from_slice(&16384_u32.to_le_bytes());
        head[1024 + 0x18..][..4].copy_from_slice(&2_u32.to_le_bytes());
        head[1024 + 0x60..][..4].copy_from_slice(&0x2c2_u32.to_le_bytes());
        head[1024 + 0x68..][..16].fill(7);
        head
    }

    fn xfs_head() -> Vec<u8> {
        let mut head = vec![0; LENGTH];
        head[..4].copy_from_slice(b"XFSB");
        head[4..8].copy_from_slice(&4096_u32.to_be_bytes());
        head[8..16].copy_from_slice(&131_072_u64.to_be_bytes());
        head[32..48].fill(9);
        head
    }

    #[test]
    fn both_types_are_recognised_with_their_size() {
        let ext4 = recognise(&ext4_head()).unwrap().unwrap();
        assert_eq!((ext4.fs, ext4.size), (FsType::Ext4, Bytes::mib(64)));
        assert_eq!(ext4.uuid, Uuid::from_bytes([7; 16]));
        let xfs = recognise(&xfs_head()).unwrap().unwrap();
        assert_eq!((xfs.fs, xfs.size), (FsType::Xfs, Bytes::mib(512)));
        assert_eq!(xfs.uuid, Uuid::from_bytes([9; 16]));
    }

    #[test]
    fn ext2_and_journal_devices_are_not_ext4() {
        let mut ext2 = ext4_head();
        ext2[1024 + 0x60..][..4].copy_from_slice(&0x2_u32.to_le_bytes());
        assert_eq!(recognise(&ext2), Ok(None));
        let mut journal = ext4_head();
        journal[1024 + 0x60] |= 8;
        assert_eq!(recognise(&journal), Ok(None));
        assert_eq!(recognise(&[0; LENGTH]), Ok(None));
    }

    #[test]
    fn contradictions_are_damage_and_never_nothing() {
        let mut half_made = xfs_head();
        half_made[126] = 1;
        let mut no_size = ext4_head();
        no_size[1024 + 4..][..4].fill(0);
        let mut no_uuid = xfs_head();
        no_uuid[32..48].fill(0);
        let mut odd_block = xfs_head();
        odd_block[7] = 1;
        for head in [half_made, no_size, no_uuid, odd_block] {
            assert!(recognise(&head).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise in prop::collection::vec(any::<u8>(), 0..1500), magic in any::<bool>()) {
            let _ = recognise(&noise);
            let mut head = if magic { ext4_head() } else { xfs_head() };
            head.truncate(noise.len());
            let _ = recognise(&head);
        }
    }
}
