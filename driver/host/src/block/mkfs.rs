//! Makes filesystems. Never with a force flag, and never without the proof that
//! [`super::examine`] gives.
//!
//! mkfs.xfs refuses a device with any signature by itself. mkfs.ext4 asks a question
//! about one only on a terminal and goes on without one, so that the proof before it is
//! the only barrier.
//!
//! Neither discards: a new volume has nothing to discard, a discard of terabytes over
//! the network can outlast every deadline, and should the proof ever be wrong, what is
//! not discarded can be rescued.

use std::path::Path;
use std::time::Duration;

use rds_csi_core::filesystem::FsType;
use uuid::Uuid;

use crate::command::{CommandError, MKFS_EXT4, MKFS_XFS, Program, Runner};

/// Metadata of a petabyte over a slow network; a typical volume takes a second.
const WITHIN: Duration = Duration::from_secs(600);

/// Runs mkfs on a node of a blank device.
pub(super) async fn make(
    runner: &Runner,
    fs: FsType,
    uuid: Uuid,
    node: &Path,
) -> Result<(), CommandError> {
    let (program, arguments) = command(fs, uuid, &node.to_string_lossy());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runner.succeed(program, &arguments, WITHIN).await.map(drop)
}

/// `-m 0` for ext4: nothing on a data volume needs blocks reserved for root. Inode
/// tables are zeroed by the kernel after the first mount (mkfs.ext4's default).
fn command(fs: FsType, uuid: Uuid, node: &str) -> (Program, Vec<String>) {
    match fs {
        FsType::Ext4 => (
            MKFS_EXT4,
            [
                "-q",
                "-m",
                "0",
                "-E",
                "nodiscard",
                "-U",
                &uuid.to_string(),
                node,
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        FsType::Xfs => (
            MKFS_XFS,
            ["-q", "-K", "-m", &format!("uuid={uuid}"), node]
                .map(str::to_owned)
                .to_vec(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mkfs_is_ever_forced() {
        for fs in [FsType::Ext4, FsType::Xfs] {
            let (_, arguments) = command(fs, Uuid::from_bytes([1; 16]), "/dev/rds-csi/259-0");
            for argument in &arguments[..arguments.len() - 1] {
                let is_short = argument.starts_with('-') && !argument.starts_with("--");
                let is_force = is_short && argument.contains(['f', 'F']);
                assert!(!is_force && !argument.contains("force"), "{argument}");
            }
            assert_eq!(arguments.last().unwrap(), "/dev/rds-csi/259-0");
        }
    }
}
