//! Images of what may lie on a device, and when it counts as blank.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rds_csi_core::filesystem::FsType;
use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::block::{blkid, mkfs};
use crate::command::Runner;

const SIZE: u64 = 512 * MIB;
const UUID: Uuid = Uuid::from_u128(0x0d4d_9a3c_5b1f_4b6f_8f7e_1234_5678_9abc);

/// A sparse file in the place of a device.
struct Image {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn path(&self) -> &Path {
        &self.path
    }

    async fn examine(&self) -> Content {
        let file = File::open(&self.path).unwrap();
        let scan = scan(&file, "image", Bytes::new(SIZE)).unwrap();
        let signature = blkid::probe(&Runner::default(), &self.path).await.unwrap();
        content(scan, signature)
    }

    fn head(&self) -> Result<Option<Superblock>, DeviceError> {
        head(&File::open(&self.path).unwrap(), "image", Bytes::new(SIZE))
    }
}

#[tokio::test]
async fn only_a_device_of_zeros_is_blank() {
    assert_eq!(Image::new().examine().await, Content::Blank);
}

/// One byte is enough, wherever a signature or its copy would lie.
#[rstest]
#[case::first(0)]
#[case::partition_table(510)]
#[case::lvm_label(512)]
#[case::md_1_2(4096)]
#[case::iso9660(32 * 1024 + 1)]
#[case::btrfs(64 * 1024 + 0x40)]
#[case::zfs_label_1(256 * 1024 + 128 * 1024)]
#[case::luks2_second_header(4 * MIB)]
#[case::ext4_backup_of_1k_blocks(8193 * 1024 + 0x38)]
#[case::btrfs_copy(64 * MIB + 0x40)]
#[case::ext4_backup_of_4k_blocks(128 * MIB + 0x38)]
#[case::xfs_second_group(SIZE / 4)]
#[case::middle(SIZE / 2)]
#[case::xfs_last_group(SIZE / 4 * 3)]
#[case::zfs_label_2(SIZE - 512 * 1024)]
#[case::md_0_90(SIZE - 64 * 1024)]
#[case::backup_gpt(SIZE - 512)]
#[case::last(SIZE - 1)]
#[tokio::test]
async fn a_single_byte_makes_a_device_foreign(#[case] offset: u64) {
    let image = Image::new();
    image.write(offset, &[1]);
    let content = image.examine().await;
    let Content::Foreign(text) = content else {
        panic!("{content:?}");
    };
    assert!(text.contains(&format!("offset {offset}")), "{text}");
}

/// What a person would lose. The scan alone sees each; blkid names most.
#[rstest]
#[case::luks1(0, b"LUKS\xba\xbe\x00\x01".as_slice())]
#[case::luks2(0, b"LUKS\xba\xbe\x00\x02")]
#[case::lvm(512, b"LABELONE\x01\0\0\0\0\0\0\0")]
#[case::dos_partitions(510, b"\x55\xaa")]
#[case::gpt(512, b"EFI PART\0\0\x01\0")]
#[case::btrfs(64 * 1024 + 0x40, b"_BHRfS_M")]
#[case::iso9660(32 * 1024, b"\x01CD001\x01")]
#[case::swap(4086, b"SWAPSPACE2")]
#[case::bcache(4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca")]
#[case::zfs(128 * 1024, b"\x0c\xb1\xba\0\0\0\0\0")]
#[case::bluestore(0, b"bluestore block device\n")]
#[case::random_bytes(SIZE / 2 + 12345, b"\x9f\x12")]
#[tokio::test]
async fn known_formats_are_never_blank(#[case] offset: u64, #[case] bytes: &[u8]) {
    let image = Image::new();
    image.write(offset, bytes);
    let content = image.examine().await;
    assert!(matches!(content, Content::Foreign(_)), "{content:?}");
    assert!(matches!(image.head(), Ok(None)));
}

#[rstest]
#[case(FsType::Ext4)]
#[case(FsType::Xfs)]
#[tokio::test]
async fn what_mkfs_makes_is_recognised_by_type_and_uuid(#[case] fs: FsType) {
    let image = Image::new();
    mkfs::make(&Runner::default(), fs, UUID, image.path())
        .await
        .unwrap();
    assert_eq!(
        image.examine().await,
        Content::Filesystem { fs, uuid: UUID }
    );
    let superblock = image.head().unwrap().unwrap();
    assert_eq!((superblock.fs, superblock.uuid), (fs, UUID));
    assert_eq!(superblock.size, Bytes::new(SIZE));
}

#[tokio::test]
async fn a_wiped_beginning_does_not_make_a_filesystem_blank() {
    for fs in [FsType::Ext4, FsType::Xfs] {
        let image = Image::new();
        mkfs::make(&Runner::default(), fs, UUID, image.path())
            .await
            .unwrap();
        image.write(0, &vec![0; 32 << 20]);
        let content = image.examine().await;
        assert!(matches!(content, Content::Foreign(_)), "{fs}: {content:?}");
    }
}

/// mkfs.xfs would refuse too; mkfs.ext4 without a terminal does not even ask.
#[tokio::test]
async fn mkfs_xfs_is_a_second_barrier_and_mkfs_ext4_is_none() {
    let image = Image::new();
    let runner = Runner::default();
    mkfs::make(&runner, FsType::Ext4, UUID, image.path())
        .await
        .unwrap();
    assert!(
        mkfs::make(&runner, FsType::Xfs, UUID, image.path())
            .await
            .is_err()
    );
    mkfs::make(&runner, FsType::Ext4, UUID, image.path())
        .await
        .unwrap();
}

#[test]
fn a_device_that_ends_early_is_an_error_and_not_blank() {
    let image = Image::new();
    let file = File::options().write(true).open(image.path()).unwrap();
    file.set_len(SIZE - 4096).unwrap();
    let error = scan(
        &File::open(image.path()).unwrap(),
        "image",
        Bytes::new(SIZE),
    )
    .unwrap_err();
    assert!(matches!(error, DeviceError::Short { .. }), "{error}");
}

#[test]
fn a_device_that_cannot_be_read_is_an_error_and_not_blank() {
    let image = Image::new();
    let unreadable = File::options().write(true).open(image.path()).unwrap();
    let error = scan(&unreadable, "image", Bytes::new(SIZE)).unwrap_err();
    assert!(matches!(error, DeviceError::Read { .. }), "{error}");
    assert!(head(&unreadable, "image", Bytes::new(SIZE)).is_err());
}

#[test]
fn a_damaged_superblock_is_foreign_to_a_format_and_an_error_to_a_mount() {
    let image = Image::new();
    image.write(0, b"XFSB");
    assert!(matches!(image.head(), Err(DeviceError::Damaged { .. })));
    let scan = scan(
        &File::open(image.path()).unwrap(),
        "image",
        Bytes::new(SIZE),
    )
    .unwrap();
    assert!(matches!(
        content(scan, Signature::Nothing),
        Content::Foreign(_)
    ));
}

#[test]
fn blkid_finding_nothing_does_not_unmake_a_superblock() {
    let superblock = Superblock {
        fs: FsType::Ext4,
        uuid: UUID,
        size: Bytes::gib(1),
    };
    let scan = |found| Scan {
        superblock: Ok(found),
        first_content: found.map(|_| 1024),
    };
    let ours = Content::Filesystem {
        fs: FsType::Ext4,
        uuid: UUID,
    };
    let named = |name: &str| Signature::Filesystem(name.to_owned());
    assert_eq!(content(scan(Some(superblock)), Signature::Nothing), ours);
    assert_eq!(content(scan(Some(superblock)), named("ext4")), ours);
    for signature in [named("xfs"), Signature::Other("LUKS".to_owned())] {
        for found in [Some(superblock), None] {
            assert!(matches!(
                content(scan(found), signature.clone()),
                Content::Foreign(_)
            ));
        }
    }
}

proptest! {
    #[test]
    fn regions_cover_start_middle_and_end_in_order(blocks in 1u64..1 << 31) {
        let size = blocks * 512;
        let regions = regions(size);
        let mut last_end = 0;
        for (index, (offset, length)) in regions.iter().copied().enumerate() {
            prop_assert!(length > 0 && offset % ALIGNMENT == 0);
            prop_assert!(index == 0 || offset > last_end);
            last_end = offset + length;
        }
        prop_assert_eq!(last_end, size);
        let is_covered = |at: u64| regions.iter().any(|(offset, length)| (*offset..offset + length).contains(&at));
        for at in [0, size.min(START) - 1, size / 2, size.saturating_sub(END), size - 1] {
            prop_assert!(is_covered(at), "{} of {}", at, size);
        }
        let total: u64 = regions.iter().map(|(_, length)| length).sum();
        prop_assert!(total <= 64 * MIB);
    }

    #[test]
    fn the_first_byte_that_is_not_zero_is_found_wherever_it_is(
        length in 1usize..20_000, places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..3),
    ) {
        let mut bytes = vec![0; length];
        for place in &places {
            bytes[place.index(length)] = 7;
        }
        let first = places.iter().map(|place| place.index(length)).min();
        prop_assert_eq!(first_not_zero(&bytes), first);
    }
}
