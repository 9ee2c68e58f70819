//! Which class a claim has, in the way that Kubernetes resolves it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::rules::RuleContext;

/// The annotation that named the class before the field did. Kubernetes still reads it
/// first.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim's class, seen from this driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClaimClass {
    /// Provisioned by this driver.
    Ours(String),
    /// Provisioned by another one.
    Foreign,
    /// No class at all: static binding, or a claim that waits for a default class and will
    /// come again as an update.
    None,
    /// A class that does not exist, or not yet.
    Unknown(String),
    /// The classes have not been read.
    NotRead,
}

/// The class that the claim itself names. `Some("")` is the wish for none.
pub(super) fn named(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotated = claim
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(CLASS_ANNOTATION));
    let field = || claim.spec.as_ref()?.storage_class_name.as_ref();
    annotated.or_else(field).map(String::as_str)
}

/// Resolves the class of a claim. One without a class gets the default while it is
/// being created.
pub(super) fn resolve(
    claim: &PersistentVolumeClaim,
    is_new: bool,
    context: &RuleContext<'_>,
) -> ClaimClass {
    let name = named(claim);
    if name == Some("") || (name.is_none() && !is_new) {
        return ClaimClass::None;
    }
    let Some(classes) = context.classes else {
        return ClaimClass::NotRead;
    };
    let Some(name) = name.or_else(|| classes.default_class()) else {
        return ClaimClass::None;
    };
    match classes.provisioner(name) {
        Some(provisioner) if provisioner == context.driver.as_str() => {
            ClaimClass::Ours(name.to_owned())
        }
        Some(_) => ClaimClass::Foreign,
        None => ClaimClass::Unknown(name.to_owned()),
    }
}
