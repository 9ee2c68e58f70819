//! A warning for disks of virtual machines that could not follow a live migration.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::verdict::Verdict;

/// KubeVirt and its importer mark what they create.
const LABELS: [(&str, Option<&str>); 3] = [
    ("app.kubernetes.io/managed-by", Some("cdi-controller")),
    ("app.kubernetes.io/managed-by", Some("virt-controller")),
    ("kubevirt.io/created-by", None),
];
const PREFIXES: [&str; 2] = ["cdi.kubevirt.io/", "kubevirt.io/"];

/// Warns if the claim is marked for a virtual machine and only one node may use it.
pub(super) fn warn_if_not_migratable(
    claim: &PersistentVolumeClaim,
    modes: &[String],
    verdict: &mut Verdict,
) {
    let shared = modes.iter().any(|mode| mode == "ReadWriteMany");
    if !shared && !modes.is_empty() && is_for_a_vm(claim) {
        verdict.warn(
            "this VM disk cannot follow a live migration: that needs ReadWriteMany and volumeMode: Block",
        );
    }
}

fn is_for_a_vm(claim: &PersistentVolumeClaim) -> bool {
    let labels = claim.metadata.labels.iter().flatten();
    let annotations = claim.metadata.annotations.iter().flatten();
    labels.clone().any(|(key, value)| {
        LABELS
            .iter()
            .any(|(label, wanted)| key == label && wanted.is_none_or(|wanted| value == wanted))
    }) || labels
        .chain(annotations)
        .any(|(key, _)| PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
}
