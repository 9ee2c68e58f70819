//! The ValidatingAdmissionPolicies, evaluated and held against the rules that the webhook
//! and the driver share: a policy must never deny what those allow.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use rds_csi_core::names::DriverName;
use rds_csi_webhook::rules::{RuleContext, claim, persistent_volume, storage_class};
use rds_csi_webhook::storage_classes::StorageClasses;
use serde_json::{Value, json};

use crate::admission::{all_hold, claim_of};
use crate::cel;
use crate::helm::render;

/// Whether a policy of the chart denies an object, given what it was before.
fn denied(policy: &ValidatingAdmissionPolicy, object: &Value, old: Option<&Value>) -> bool {
    denied_to("somebody", policy, object, old)
}

/// The same for what a user asks.
pub(crate) fn denied_to(
    user: &str,
    policy: &ValidatingAdmissionPolicy,
    object: &Value,
    old: Option<&Value>,
) -> bool {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let request = json!({"operation": operation, "userInfo": {"username": user}});
    let spec = policy.spec.as_ref().unwrap();
    // Of a cluster with these classes: one that denies is enough.
    let classes = [our_class(), class("nfs", "nfs.csi.k8s.io")].map(|class| json!(class));
    let params = match spec.param_kind {
        Some(_) => &classes[..],
        None => &[Value::Null],
    };
    params.iter().any(|params| {
        let variables = [
            ("object", object),
            ("oldObject", old.unwrap_or(&Value::Null)),
            ("request", &request),
            ("params", params),
        ];
        is_denied(spec, &variables)
    })
}

fn is_denied(spec: &ValidatingAdmissionPolicySpec, variables: &[(&str, &Value)]) -> bool {
    if !all_hold(spec.match_conditions.as_deref().unwrap(), variables) {
        return false;
    }
    let own: Value = spec
        .variables
        .iter()
        .flatten()
        .map(|own| (own.name.clone(), cel::value(&own.expression, variables)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let with_own = [variables, &[("variables", &own)]].concat();
    let mut validations = spec.validations.iter().flatten();
    validations.any(|validation| !cel::holds(&validation.expression, &with_own))
}

/// The policy of the chart whose name ends so.
pub(crate) fn policy(name: &str) -> ValidatingAdmissionPolicy {
    render("minimal").one(name)
}

fn our_class() -> StorageClass {
    class("rds-csi", "rds.csi.srvlab.io")
}

fn class(name: &str, provisioner: &str) -> StorageClass {
    serde_json::from_value(json!({"metadata": {"name": name}, "provisioner": provisioner})).unwrap()
}

#[test]
fn the_policy_for_claims_denies_the_modes_that_the_webhook_denies() {
    let policy = policy("-claims");
    let driver = DriverName::default();
    let class = our_class();
    let classes = StorageClasses::from_iter([&class]);
    let context = RuleContext {
        driver: &driver,
        classes: Some(&classes),
    };
    for mode in [None, Some("Filesystem"), Some("Block")] {
        for first in MODES {
            for second in MODES {
                let mut claim = claim_of(Some("rds-csi"));
                claim["spec"]["accessModes"] = json!([first, second]);
                if let Some(mode) = mode {
                    claim["spec"]["volumeMode"] = json!(mode);
                }
                let typed: PersistentVolumeClaim = serde_json::from_value(claim.clone()).unwrap();
                let allowed = claim::review(&typed, None, &context).is_allowed();
                assert_eq!(denied(&policy, &claim, None), !allowed, "{claim}");
            }
        }
    }
}

#[test]
fn a_bad_claim_that_exists_can_still_change_and_go() {
    let policy = policy("-claims");
    let mut claim = claim_of(Some("rds-csi"));
    claim["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    let mut later = claim.clone();
    later["metadata"]["annotations"] = json!({"note": "finalizers are gone"});
    assert!(!denied(&policy, &later, Some(&claim)));
    let mut before = claim.clone();
    before["spec"]
        .as_object_mut()
        .unwrap()
        .remove("storageClassName");
    assert!(
        denied(&policy, &claim, Some(&before)),
        "a default class given later"
    );
    for of_others in ["another", "nfs"] {
        claim["spec"]["storageClassName"] = json!(of_others);
        assert!(!denied(&policy, &claim, None));
    }
}

const MODES: [&str; 4] = [
    "ReadWriteOnce",
    "ReadWriteOncePod",
    "ReadWriteMany",
    "ReadOnlyMany",
];

/// A volume of this driver that is well.
fn volume() -> Value {
    json!({
        "metadata": {"name": "pv-1"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "csi": {
                "driver": "rds.csi.srvlab.io",
                "volumeHandle": "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy",
                "volumeAttributes": {
                    "nvmeAddress": "10.0.0.1",
                    "nqn": "nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjmhy",
                    "volumePath": "/storage-pool/rds-csi",
                },
            },
        },
    })
}

/// Whether the webhook admits a volume.
fn is_admitted(volume: &Value, old: Option<&Value>) -> bool {
    let read = |value: &Value| serde_json::from_value::<PersistentVolume>(value.clone()).unwrap();
    let context = RuleContext {
        driver: &DriverName::default(),
        classes: None,
    };
    let old = old.map(read);
    persistent_volume::review(&read(volume), old.as_ref(), &context).is_allowed()
}

#[test]
fn the_policy_for_volumes_denies_the_modes_and_filesystems_that_the_webhook_denies() {
    let policy = policy("-volumes");
    let (mut denials, mut judged) = (0, 0);
    let mut same = |volume: &Value, old: Option<&Value>| {
        let denied = denied(&policy, volume, old);
        assert_eq!(denied, !is_admitted(volume, old), "{volume} after {old:?}");
        denials += usize::from(denied);
        judged += 1;
    };
    let old = volume();
    for mode in [None, Some("Filesystem"), Some("Block")] {
        for fs in [None, Some(""), Some("ext4"), Some("xfs"), Some("btrfs")] {
            for first in MODES {
                for second in MODES {
                    let mut volume = volume();
                    volume["spec"]["accessModes"] = json!([first, second]);
                    if let Some(mode) = mode {
                        volume["spec"]["volumeMode"] = json!(mode);
                    }
                    if let Some(fs) = fs {
                        volume["spec"]["csi"]["fsType"] = json!(fs);
                    }
                    same(&volume, None);
                    // What it is made of is never another.
                    let mut before = old.clone();
                    before["spec"]["csi"] = volume["spec"]["csi"].clone();
                    same(&volume, Some(&before));
                    same(&volume, Some(&volume));
                    let mut going = volume.clone();
                    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T11:04:59Z");
                    same(&going, Some(&before));
                    let mut theirs = volume;
                    theirs["spec"]["csi"]["driver"] = json!("ebs.csi.aws.com");
                    same(&theirs, None);
                }
            }
        }
    }
    let nfs = json!({
        "metadata": {"name": "a"},
        "spec": {"nfs": {"server": "a", "path": "/"}, "accessModes": ["ReadWriteMany"]},
    });
    same(&nfs, None);
    assert!(denials > 200, "{denials} of {judged}");
}

/// The policy may let pass what the webhook denies, never the other way round.
#[test]
fn the_policy_for_classes_denies_nothing_that_the_driver_takes() {
    let policy = policy("-classes");
    let driver = DriverName::default();
    let context = RuleContext {
        driver: &driver,
        classes: None,
    };
    let values = [
        "",
        "-2",
        "-1",
        "-0",
        "0",
        "1",
        "2",
        "30",
        "128",
        "129",
        "3600",
        "3601",
        "65535",
        "65536",
        "31536000",
        "31536001",
        "007",
        "1.5",
        "ext4",
        "xfs",
        "btrfs",
        "10.0.0.1",
        "/pool/csi",
    ];
    let mut both = 0;
    let keys = rds_csi_core::parameters::ALLOWED
        .iter()
        .map(|(key, _)| *key);
    for key in keys.chain(["nvmeAdress", "csi.storage.k8s.io/pvc/name"]) {
        for value in values {
            let mut class = our_class();
            class.parameters = Some([(key.to_owned(), value.to_owned())].into());
            let allowed = storage_class::review(&class, None, &context).is_allowed();
            let denied = denied(&policy, &serde_json::to_value(&class).unwrap(), None);
            assert!(!(allowed && denied), "{key}: {value}");
            both += usize::from(denied && !allowed);
        }
    }
    assert!(both > 100, "{both} denied by both");
}

#[test]
fn every_policy_is_bound_and_denies() {
    let release = render("minimal");
    let policies = release.all::<ValidatingAdmissionPolicy>().into_iter();
    let policies: Vec<String> = policies.filter_map(|policy| policy.metadata.name).collect();
    let bindings = release.all::<ValidatingAdmissionPolicyBinding>();
    let bound: Vec<String> = bindings
        .into_iter()
        .map(|binding| binding.spec.unwrap())
        .inspect(|spec| assert_eq!(spec.validation_actions.as_deref().unwrap(), ["Deny"]))
        // One that goes by parameters and is given none denies nothing.
        .inspect(|spec| {
            let of_classes = spec.policy_name.as_deref().unwrap().ends_with("-claims");
            assert_eq!(spec.param_ref.is_some(), of_classes);
        })
        .map(|spec| spec.policy_name.unwrap())
        .collect();
    assert_eq!(bound, policies);
    assert_eq!(bound.len(), 4);
    let without = ["provided", "cert-manager", "driver-only"].map(|set| {
        let policies = render(set).all::<ValidatingAdmissionPolicy>();
        policies.len()
    });
    assert_eq!(without, [3, 3, 0], "no Secret that the webhook writes");
}
