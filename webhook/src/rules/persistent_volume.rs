//! The rule for PersistentVolumes: those of this driver, made by hand or by a
//! provisioner.
//!
//! A volume that exists is never judged again for what an update leaves as it was:
//! volumes of an older driver may have modes that would be refused today.

use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, PersistentVolume};
use rds_csi_core::context::VolumeContext;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::Chain;
use rds_csi_core::volume_id::VolumeId;

use super::{RuleContext, access};
use crate::verdict::Verdict;

/// Judges a volume; `old` is what it was before an update.
#[must_use]
pub fn review(
    volume: &PersistentVolume,
    old: Option<&PersistentVolume>,
    context: &RuleContext<'_>,
) -> Verdict {
    let mut verdict = Verdict::allow();
    let (Some(spec), None) = (&volume.spec, &volume.metadata.deletion_timestamp) else {
        return verdict;
    };
    let Some(csi) = spec
        .csi
        .as_ref()
        .filter(|csi| csi.driver == context.driver.as_str())
    else {
        return Verdict::foreign();
    };
    let old = old.and_then(|old| old.spec.as_ref());
    if old.is_none_or(|old| {
        old.access_modes != spec.access_modes || old.volume_mode != spec.volume_mode
    }) {
        access::judge(
            spec.access_modes.as_deref().unwrap_or_default(),
            spec.volume_mode.as_deref(),
            &format!("driver {}", context.driver),
            &mut verdict,
        );
    }
    let new_source = old.is_none_or(|old| old.csi.as_ref() != Some(csi));
    if new_source {
        judge_source(csi, &mut verdict);
    }
    if spec.volume_mode.as_deref() != Some("Block") {
        let fs = csi.fs_type.as_deref().unwrap_or_default().parse::<FsType>();
        match fs {
            Err(error) if new_source => {
                verdict.deny("spec.csi.fsType", Chain(&error).to_string());
            }
            Ok(fs) if old.is_none_or(|old| old.mount_options != spec.mount_options) => {
                let options = spec.mount_options.as_deref();
                access::judge_mount_options(fs, "spec.mountOptions", options, &mut verdict);
            }
            _ => {}
        }
    }
    verdict
}

/// The handle must be an id of ours and the attributes what a node can connect with.
fn judge_source(csi: &CSIPersistentVolumeSource, verdict: &mut Verdict) {
    let id = csi.volume_handle.parse::<VolumeId>();
    if let Err(error) = &id {
        verdict.deny("spec.csi.volumeHandle", Chain(error).to_string());
    }
    let attributes = csi.volume_attributes.clone().unwrap_or_default();
    match (VolumeContext::parse(&attributes), id) {
        (Err(error), _) => {
            verdict.deny("spec.csi.volumeAttributes", Chain(&error).to_string());
        }
        // The node connects by the NQN and never to that of another volume.
        (Ok(context), Ok(id)) if !context.nqn.is_of(&id) => verdict.deny(
            "spec.csi.volumeAttributes[nqn]",
            format!(
                "{} is not the NQN of volume {id}: it ends in another id than volumeHandle",
                context.nqn
            ),
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
