//! Access modes, volume mode and mount options of an object, with the words for them.
//!
//! What is allowed is decided by the functions of the core crate that CreateVolume and
//! ControllerPublish use too; this module only finds the words. It must never allow or
//! refuse by itself.

use std::slice;

use rds_csi_core::access::{AccessError, judge_claim};
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::Chain;
use rds_csi_core::mount_options;

use crate::verdict::Verdict;

/// Judges every entry of `modes`: a provisioner asks for each of them, so one that is
/// impossible makes the whole object impossible. `subject` is the class or driver that
/// cannot do it.
pub(super) fn judge(
    modes: &[String],
    volume_mode: Option<&str>,
    subject: &str,
    verdict: &mut Verdict,
) {
    for refusal in judge_claim(modes, volume_mode) {
        verdict.deny(refusal.field, advice(&refusal.error, subject));
    }
}

/// What is wrong, on what, and what to write instead.
fn advice(error: &AccessError, subject: &str) -> String {
    match error {
        AccessError::SharedFilesystem { mode } => format!(
            "{mode} needs volumeMode: Block on {subject}: two nodes that mount one ext4 or xfs \
             destroy it. Set volumeMode: Block for a VM disk, or accessModes: [ReadWriteOnce] \
             for a filesystem."
        ),
        AccessError::NotOffered { mode } => format!(
            "{mode} is not offered on {subject}: the array exports every volume writable, so \
             nothing would keep a second node from writing. Set accessModes: [ReadWriteOnce]; \
             a pod that must not write mounts the volume with readOnly: true."
        ),
        AccessError::UnknownMode(_)
        | AccessError::UnknownVolumeMode(_)
        | AccessError::NoMode
        | AccessError::Filesystem(_)
        | AccessError::MountOption(_) => Chain(error).to_string(),
    }
}

/// Judges mount options one by one, so that every refused one is named.
pub(super) fn judge_mount_options(
    fs: FsType,
    field: &str,
    options: Option<&[String]>,
    verdict: &mut Verdict,
) {
    for (index, option) in options.unwrap_or_default().iter().enumerate() {
        if let Err(error) = mount_options::parse(fs, slice::from_ref(option)) {
            verdict.deny(format!("{field}[{index}]"), Chain(&error).to_string());
        }
    }
}
