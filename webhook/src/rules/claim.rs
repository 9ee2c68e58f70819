//! The rule for PersistentVolumeClaims.
//!
//! A claim of one of our classes is refused if CreateVolume would refuse it for ever:
//! impossible access modes, a source that this version cannot copy from, an impossible
//! size. A claim whose class is somebody else's, or not known, is never refused.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use rds_csi_core::bytes::{Bytes, CapacityRange};
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::Chain;

use super::{RuleContext, access, quantity};
use crate::verdict::Verdict;

mod class;
mod vm;

use class::ClaimClass;

/// Judges a claim; `old` is what it was before an update.
#[must_use]
pub fn review(
    claim: &PersistentVolumeClaim,
    old: Option<&PersistentVolumeClaim>,
    context: &RuleContext<'_>,
) -> Verdict {
    let mut verdict = Verdict::allow();
    let (Some(spec), None) = (&claim.spec, &claim.metadata.deletion_timestamp) else {
        return verdict;
    };
    let changes = Changes::between(claim, old);
    if !changes.any() {
        return verdict;
    }
    match class::resolve(claim, old.is_none(), context) {
        ClaimClass::Ours(name) => {
            let subject = format!("storage class {name:?} (driver {})", context.driver);
            judge(claim, spec, changes, &subject, &mut verdict);
        }
        ClaimClass::NotRead => {
            verdict.warn("the storage classes are not read yet; the driver checks again");
        }
        ClaimClass::Unknown(name) => {
            let mut if_ours = Verdict::allow();
            judge(claim, spec, changes, "", &mut if_ours);
            if !if_ours.is_allowed() {
                verdict.warn(format!(
                    "storage class {name:?} is not known; {} would refuse this claim",
                    context.driver
                ));
            }
        }
        ClaimClass::Foreign => return Verdict::foreign(),
        ClaimClass::None => {}
    }
    verdict
}

/// Which judged parts an object brings or changes.
#[derive(Debug, Clone, Copy)]
struct Changes {
    class: bool,
    access: bool,
    source: bool,
    size: bool,
}

impl Changes {
    fn between(claim: &PersistentVolumeClaim, old: Option<&PersistentVolumeClaim>) -> Self {
        let Some(old) = old else {
            return Self {
                class: true,
                access: true,
                source: true,
                size: true,
            };
        };
        let differs =
            |same: fn(&PersistentVolumeClaimSpec, &PersistentVolumeClaimSpec) -> bool| match (
                &claim.spec,
                &old.spec,
            ) {
                (Some(new), Some(old)) => !same(new, old),
                (new, old) => new.is_some() != old.is_some(),
            };
        // A claim that comes to a class of ours is judged whole.
        let class = class::named(claim) != class::named(old);
        Self {
            class,
            access: class
                || differs(|new, old| {
                    new.access_modes == old.access_modes && new.volume_mode == old.volume_mode
                }),
            source: class
                || differs(|new, old| {
                    new.data_source == old.data_source && new.data_source_ref == old.data_source_ref
                }),
            size: class || differs(|new, old| new.resources == old.resources),
        }
    }

    const fn any(self) -> bool {
        self.class || self.access || self.source || self.size
    }
}

fn judge(
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeClaimSpec,
    changes: Changes,
    subject: &str,
    verdict: &mut Verdict,
) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if changes.access {
        access::judge(modes, spec.volume_mode.as_deref(), subject, verdict);
        if verdict.is_allowed() {
            vm::warn_if_not_migratable(claim, modes, verdict);
        }
    }
    if changes.source {
        judge_source(spec, subject, verdict);
    }
    if changes.size
        && let Some(resources) = &spec.resources
    {
        let smallest = match spec.volume_mode.as_deref() {
            Some("Block") => Bytes::ALIGNMENT,
            _ => FsType::default().smallest_volume(),
        };
        judge_size(resources, smallest, verdict);
    }
}

/// Snapshots and clones are refused; other kinds are filled by somebody else's populator
/// into a volume that starts empty.
fn judge_source(spec: &PersistentVolumeClaimSpec, subject: &str, verdict: &mut Verdict) {
    let (field, group, kind) = match (&spec.data_source_ref, &spec.data_source) {
        (Some(source), _) => ("spec.dataSourceRef", &source.api_group, &source.kind),
        (None, Some(source)) => ("spec.dataSource", &source.api_group, &source.kind),
        (None, None) => return,
    };
    let what = match (group.as_deref().unwrap_or_default(), kind.as_str()) {
        ("snapshot.storage.k8s.io", "VolumeSnapshot") => "a volume from a VolumeSnapshot",
        ("", "PersistentVolumeClaim") => "a clone of another claim",
        _ => return,
    };
    verdict.deny(
        field,
        format!(
            "{what} is not offered on {subject}: the driver would have to copy the data and \
             cannot do it safely yet. Create an empty claim and copy the data in a pod that \
             mounts both."
        ),
    );
}

/// The request must be a size that a volume can have.
fn judge_size(resources: &VolumeResourceRequirements, smallest: Bytes, verdict: &mut Verdict) {
    let before = verdict.denials.len();
    let mut read = |list: &str| {
        let quantities = match list {
            "requests" => &resources.requests,
            _ => &resources.limits,
        };
        let field = format!("spec.resources.{list}.storage");
        let text = &quantities.as_ref()?.get("storage")?.0;
        match quantity::bytes(text) {
            Ok(bytes) if bytes > 0 => Some(bytes),
            Ok(_) => {
                verdict.deny(
                    field,
                    format!("{text:.32} is no size: write more than 0, such as 20Gi"),
                );
                None
            }
            Err(error) => {
                verdict.deny(field, Chain(&error).to_string());
                None
            }
        }
    };
    let (required, limit) = (read("requests"), read("limits"));
    if verdict.denials.len() > before {
        return;
    }
    let chosen = CapacityRange::from_csi(required.unwrap_or(0), limit.unwrap_or(0))
        .and_then(|range| range.choose(smallest));
    if let Err(error) = chosen {
        verdict.deny("spec.resources.requests.storage", Chain(&error).to_string());
    }
}

#[cfg(test)]
mod tests;
