//! Who may ask the API server for what, line by line.
//!
//! The table is what each program asks for with the features that the chart switches on.
//! The cluster tier holds it against the API server's audit log.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use crate::helm::{NAMESPACE, Release, render, sets};

/// Account, where, resource (with `=name` where one is named), verbs.
type Grant = (&'static str, &'static str, &'static str, &'static str);

const CONTROLLER: &[Grant] = &[
    // The driver.
    ("controller", "cluster", "pods", "list watch"),
    ("controller", "cluster", "nodes", "get list"),
    (
        "controller",
        "cluster",
        "virtualmachineinstances.kubevirt.io",
        "list",
    ),
    (
        "controller",
        "cluster",
        "virtualmachineinstancemigrations.kubevirt.io",
        "list",
    ),
    (
        "controller",
        "cluster",
        "persistentvolumes",
        "get list watch patch",
    ),
    ("controller", "cluster", "events.events.k8s.io", "create"),
    (
        "controller",
        "namespace",
        "leases.coordination.k8s.io",
        "create",
    ),
    (
        "controller",
        "namespace",
        "leases.coordination.k8s.io=driver-leader-rds-csi-srvlab-io",
        "get patch",
    ),
    // external-provisioner.
    (
        "controller",
        "cluster",
        "persistentvolumes",
        "list watch create patch delete",
    ),
    (
        "controller",
        "cluster",
        "persistentvolumeclaims",
        "list watch",
    ),
    (
        "controller",
        "cluster",
        "storageclasses.storage.k8s.io",
        "list watch",
    ),
    (
        "controller",
        "cluster",
        "volumeattachments.storage.k8s.io",
        "list watch",
    ),
    ("controller", "cluster", "events", "create patch"),
    // external-attacher.
    (
        "controller",
        "cluster",
        "persistentvolumes",
        "list watch patch",
    ),
    (
        "controller",
        "cluster",
        "csinodes.storage.k8s.io",
        "list watch",
    ),
    (
        "controller",
        "cluster",
        "volumeattachments.storage.k8s.io",
        "list watch patch",
    ),
    (
        "controller",
        "cluster",
        "volumeattachments/status.storage.k8s.io",
        "patch",
    ),
    // external-resizer.
    (
        "controller",
        "cluster",
        "persistentvolumes",
        "list watch patch",
    ),
    (
        "controller",
        "cluster",
        "persistentvolumeclaims",
        "list watch",
    ),
    (
        "controller",
        "cluster",
        "persistentvolumeclaims/status",
        "patch",
    ),
    ("controller", "cluster", "events", "create patch"),
    // Leader election.
    (
        "controller",
        "namespace",
        "leases.coordination.k8s.io",
        "create",
    ),
    (
        "controller",
        "namespace",
        "leases.coordination.k8s.io=rds-csi-srvlab-io",
        "get update",
    ),
    (
        "controller",
        "namespace",
        "leases.coordination.k8s.io=external-attacher-leader-rds-csi-srvlab-io",
        "get update",
    ),
    (
        "controller",
        "namespace",
        "leases.coordination.k8s.io=external-resizer-rds-csi-srvlab-io",
        "get update",
    ),
];

/// What nodes that exist no more have left is taken away where the array has shut them out.
const ENFORCED: &[Grant] = &[(
    "controller",
    "cluster",
    "volumeattachments.storage.k8s.io",
    "list delete",
)];

const RECORDED: &[Grant] = &[(
    "controller",
    "cluster",
    "volumeattachments.storage.k8s.io",
    "list",
)];

const NODE: &[Grant] = &[
    ("node", "cluster", "volumeattachments.storage.k8s.io", "get"),
    ("node", "cluster", "persistentvolumes", "get"),
    ("node", "cluster", "events.events.k8s.io", "create"),
];

const WEBHOOK: &[Grant] = &[
    (
        "webhook",
        "cluster",
        "storageclasses.storage.k8s.io",
        "list watch",
    ),
    ("webhook", "cluster", "persistentvolumes", "get list watch"),
    ("webhook", "cluster", "persistentvolumeclaims", "get"),
    ("webhook", "cluster", "nodes", "get"),
    ("webhook", "cluster", "pods", "list watch"),
    (
        "webhook",
        "cluster",
        "volumeattachments.storage.k8s.io",
        "list watch",
    ),
    (
        "webhook",
        "cluster",
        "virtualmachineinstances.kubevirt.io",
        "get list",
    ),
    (
        "webhook",
        "cluster",
        "virtualmachineinstancemigrations.kubevirt.io",
        "list",
    ),
];

const OWN_CERTIFICATE: &[Grant] = &[
    (
        "webhook",
        "cluster",
        "validatingwebhookconfigurations.admissionregistration.k8s.io=rds-csi-webhook",
        "get patch",
    ),
    (
        "webhook",
        "namespace",
        "secrets=rds-csi-webhook-tls",
        "get patch",
    ),
];

const PROFILES: &[Grant] = &[(
    "storage-profiles",
    "cluster",
    "storageprofiles.cdi.kubevirt.io=fast",
    "get patch",
)];

fn table(grants: &[&[Grant]]) -> BTreeSet<(String, String, String, BTreeSet<String>)> {
    grants
        .iter()
        .flat_map(|part| part.iter())
        .map(|(account, place, resource, verbs)| {
            let verbs = verbs.split(' ').map(str::to_owned).collect();
            (
                account.to_string(),
                place.to_string(),
                resource.to_string(),
                verbs,
            )
        })
        .collect()
}

/// One line for each resource and name of a rule.
fn lines(
    rules: &[PolicyRule],
    account: &str,
    place: &str,
) -> Vec<(String, String, String, BTreeSet<String>)> {
    let mut lines = Vec::new();
    for rule in rules {
        assert!(rule.non_resource_urls.is_none());
        let names = rule.resource_names.clone().unwrap_or_default();
        for group in rule.api_groups.as_deref().unwrap() {
            for resource in rule.resources.as_deref().unwrap() {
                let dot = if group.is_empty() { "" } else { "." };
                let resource = format!("{resource}{dot}{group}");
                let named = names.iter().map(|name| format!("{resource}={name}"));
                let all: Vec<String> = match names.is_empty() {
                    true => vec![resource.clone()],
                    false => named.collect(),
                };
                for resource in all {
                    let verbs = rule.verbs.iter().cloned().collect();
                    lines.push((account.to_owned(), place.to_owned(), resource, verbs));
                }
            }
        }
    }
    lines
}

/// Whose a binding is, without the release's name.
fn account(subjects: Option<Vec<Subject>>) -> String {
    let [subject] = &subjects.unwrap()[..] else {
        panic!("one subject");
    };
    assert_eq!(subject.kind, "ServiceAccount");
    assert_eq!(subject.namespace.as_deref(), Some(NAMESPACE));
    subject.name.strip_prefix("rds-csi-").unwrap().to_owned()
}

fn is_to(reference: &RoleRef, kind: &str, name: &Option<String>) -> bool {
    assert_eq!(reference.api_group, "rbac.authorization.k8s.io");
    reference.kind == kind && Some(&reference.name) == name.as_ref()
}

/// Everything that is granted; a role that nobody has is an error.
fn granted(release: &Release) -> BTreeSet<(String, String, String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for role in release.all::<ClusterRole>() {
        let name = role.metadata.name;
        let bindings = release.all::<ClusterRoleBinding>().into_iter();
        let mut bindings = bindings.filter(|b| is_to(&b.role_ref, "ClusterRole", &name));
        let account = account(bindings.next().unwrap().subjects);
        found.extend(lines(&role.rules.unwrap(), &account, "cluster"));
    }
    for role in release.all::<Role>() {
        let name = role.metadata.name;
        assert_eq!(role.metadata.namespace.as_deref(), Some(NAMESPACE));
        let bindings = release.all::<RoleBinding>().into_iter();
        let mut bindings = bindings.filter(|b| is_to(&b.role_ref, "Role", &name));
        let account = account(bindings.next().unwrap().subjects);
        found.extend(lines(&role.rules.unwrap(), &account, "namespace"));
    }
    found.into_iter().collect()
}

#[test]
fn nothing_is_granted_but_what_is_used() {
    for (set, fencing, grants) in [
        ("minimal", ENFORCED, &[WEBHOOK, OWN_CERTIFICATE][..]),
        ("provided", ENFORCED, &[WEBHOOK]),
        ("cert-manager", ENFORCED, &[WEBHOOK]),
        ("driver-only", ENFORCED, &[]),
        ("full", RECORDED, &[WEBHOOK, PROFILES]),
    ] {
        let grants = [&[CONTROLLER, NODE, fencing][..], grants].concat();
        assert_eq!(granted(&render(set)), table(&grants), "{set}");
    }
}

#[test]
fn bindings_are_as_many_as_roles_and_name_accounts_that_exist() {
    for set in sets() {
        let release = render(&set);
        let of_cluster = release.all::<ClusterRoleBinding>();
        let of_namespace = release.all::<RoleBinding>();
        let roles = release.all::<ClusterRole>().len() + release.all::<Role>().len();
        assert_eq!(of_cluster.len() + of_namespace.len(), roles, "{set}");
        let accounts: Vec<String> = release
            .all::<ServiceAccount>()
            .into_iter()
            .map(|account| account.metadata.name.unwrap())
            .collect();
        let subjects = of_cluster.into_iter().map(|binding| binding.subjects);
        for subjects in subjects.chain(of_namespace.into_iter().map(|binding| binding.subjects)) {
            let [subject] = &subjects.unwrap()[..] else {
                panic!("{set}: a binding to more than one, or none");
            };
            assert!(accounts.contains(&subject.name), "{set} {}", subject.name);
        }
    }
}
