//! The rule for StorageClasses: parameters are read by the parser that CreateVolume
//! uses, so a class that is admitted can provision.

use k8s_openapi::api::storage::v1::StorageClass;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::kind::Chain;
use rds_csi_core::names::parameter;
use rds_csi_core::parameters::StorageClassParameters;

use super::{RuleContext, access};
use crate::verdict::Verdict;

/// Judges a class; `old` is what it was before an update.
#[must_use]
pub fn review(
    class: &StorageClass,
    old: Option<&StorageClass>,
    context: &RuleContext<'_>,
) -> Verdict {
    let mut verdict = Verdict::allow();
    if class.provisioner != context.driver.as_str() {
        return Verdict::foreign();
    }
    if class.metadata.deletion_timestamp.is_some() {
        return verdict;
    }
    if old.is_none_or(|old| old.parameters != class.parameters) {
        let parameters = class.parameters.clone().unwrap_or_default();
        if let Err(errors) = StorageClassParameters::parse_all(&parameters) {
            for error in errors {
                verdict.deny(
                    format!("parameters[{}]", error.key()),
                    Chain(&error).to_string(),
                );
            }
        }
    }
    if old.is_none_or(|old| old.mount_options != class.mount_options)
        && let Some(fs) = filesystem(class)
    {
        let options = class.mount_options.as_deref();
        access::judge_mount_options(fs, "mountOptions", options, &mut verdict);
    }
    let topologies = class.allowed_topologies.as_deref().unwrap_or_default();
    if !topologies.is_empty()
        && old.is_none_or(|old| old.allowed_topologies != class.allowed_topologies)
    {
        verdict.warn(
            "allowedTopologies has no effect: every node that reaches the array can use its volumes",
        );
    }
    verdict
}

/// The filesystem of the class's volumes, unless its name is refused anyway.
fn filesystem(class: &StorageClass) -> Option<FsType> {
    let name = class
        .parameters
        .as_ref()
        .and_then(|all| all.get(parameter::FS_TYPE));
    name.map_or("", String::as_str).parse().ok()
}

#[cfg(test)]
mod tests;
