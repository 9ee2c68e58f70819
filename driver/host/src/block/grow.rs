//! Grows mounted filesystems to their device, and measures them.
//!
//! The size reported afterwards is read from the filesystem, not computed from the
//! device: an ext4 is a little smaller than its device, and a program's success is not
//! proof of a size.

use std::path::Path;
use std::time::Duration;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::FsType;

use crate::command::{CommandError, RESIZE2FS, Runner, XFS_GROWFS};

const WITHIN: Duration = Duration::from_secs(600);

/// resize2fs works on the device and finds the mount by the device number; xfs_growfs
/// works on the mount. Both succeed where nothing is to be done.
pub(super) async fn grow(
    runner: &Runner,
    fs: FsType,
    node: &Path,
    mounted_at: &Path,
) -> Result<(), CommandError> {
    let (node, mounted_at) = (node.to_string_lossy(), mounted_at.to_string_lossy());
    match fs {
        FsType::Ext4 => runner.succeed(RESIZE2FS, &[&*node], WITHIN).await,
        FsType::Xfs => {
            runner
                .succeed(XFS_GROWFS, &["-d", &*mounted_at], WITHIN)
                .await
        }
    }
    .map(drop)
}

/// The geometry that the kernel has of a mounted XFS: its superblock on the device may
/// lag behind.
pub(super) async fn xfs_geometry(
    runner: &Runner,
    mounted_at: &Path,
) -> Result<String, CommandError> {
    let mounted_at = mounted_at.to_string_lossy();
    runner
        .succeed(XFS_GROWFS, &["-n", &*mounted_at], WITHIN)
        .await
        .map(|output| output.stdout)
}

/// The size of the data section: `data     =    bsize=4096   blocks=131072, imaxpct=25`.
pub(super) fn xfs_size(geometry: &str) -> Option<Bytes> {
    let data = geometry.lines().find(|line| {
        line.split('=')
            .next()
            .is_some_and(|name| name.trim() == "data")
    })?;
    let number = |name: &str| -> Option<u64> {
        data.split([' ', ',', '\t'])
            .find_map(|word| word.strip_prefix(name))?
            .parse()
            .ok()
    };
    number("bsize=")?
        .checked_mul(number("blocks=")?)
        .map(Bytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: &str = "\
meta-data=/dev/nvme0n1           isize=512    agcount=4, agsize=32768 blks
         =                       sectsz=512   attr=2, projid32bit=1
         =                       crc=1        finobt=1, sparse=1, rmapbt=0
data     =                       bsize=4096   blocks=131072, imaxpct=25
         =                       sunit=0      swidth=0 blks
naming   =version 2              bsize=4096   ascii-ci=0, ftype=1, parent=0
log      =internal log           bsize=4096   blocks=16384, version=2
realtime =none                   extsz=4096   blocks=0, rtextents=0
";

    #[test]
    fn the_data_section_is_the_size_and_not_the_log() {
        assert_eq!(xfs_size(GEOMETRY), Some(Bytes::mib(512)));
        assert_eq!(xfs_size(""), None);
        assert_eq!(xfs_size("data = bsize=4096"), None);
        assert_eq!(xfs_size("data = bsize=4096 blocks=many"), None);
    }
}
