//! The webhook as the API server finds it: what reaches it, where, and by whose word.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::cel;
use crate::helm::{render, sets};

/// The annotation that named the class before the field did.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// What takes volumes to nodes: judged once, when it is asked for.
const MOVES: [&str; 2] = ["volumeattachments", "virtualmachineinstancemigrations"];

fn webhooks(set: &str) -> Vec<ValidatingWebhook> {
    render(set)
        .one::<ValidatingWebhookConfiguration>("-webhook")
        .webhooks
        .unwrap()
}

/// Whether every condition holds.
pub(crate) fn all_hold(conditions: &[MatchCondition], variables: &[(&str, &Value)]) -> bool {
    conditions
        .iter()
        .all(|condition| cel::holds(&condition.expression, variables))
}

/// Whether a new object reaches the webhook of its kind.
fn reached(set: &str, resource: &str, object: &Value) -> bool {
    let (request, none) = (json!({"operation": "CREATE"}), Value::Null);
    let variables = [
        ("request", &request),
        ("object", object),
        ("oldObject", &none),
    ];
    all_hold(&conditions(set, resource), &variables)
}

/// Whether a change of an object does.
fn change_reaches(resource: &str, old: &Value, object: &Value) -> bool {
    let request = json!({"operation": "UPDATE"});
    let variables = [
        ("request", &request),
        ("object", object),
        ("oldObject", old),
    ];
    all_hold(&conditions("minimal", resource), &variables)
}

fn conditions(set: &str, resource: &str) -> Vec<MatchCondition> {
    let mut all = webhooks(set).into_iter();
    let webhook = all.find(|webhook| webhook.name.starts_with(resource));
    let conditions = webhook.unwrap().match_conditions.unwrap();
    let expected = match resource {
        // A migration says nothing of drivers.
        "virtualmachineinstancemigrations" => 1,
        "volumeattachments" => 2,
        _ => 3,
    };
    assert_eq!(conditions.len(), expected);
    conditions
}

/// A claim that names a class, or none.
pub(crate) fn claim_of(class: Option<&str>) -> Value {
    let mut claim =
        json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = json!(class);
    }
    claim
}

#[test]
fn claims_reach_the_webhook_by_the_class_that_they_name() {
    for (class, ours) in [
        (Some("raw"), true),
        (Some("made-elsewhere"), true),
        (Some("raw2"), false),
        (Some(""), false),
        (None, false),
    ] {
        let claim = claim_of(class);
        assert_eq!(
            reached("block-only", "persistentvolumeclaims", &claim),
            ours,
            "{class:?}"
        );
    }
}

#[test]
fn the_old_annotation_goes_before_the_field() {
    for (annotated, field, ours) in [("raw", "other", true), ("other", "raw", false)] {
        let mut claim = claim_of(Some(field));
        claim["metadata"]["annotations"] = json!({OLD_CLASS: annotated});
        assert_eq!(
            reached("block-only", "persistentvolumeclaims", &claim),
            ours,
            "{annotated}"
        );
    }
    let mut claim = claim_of(Some("raw"));
    claim["metadata"]["annotations"] = json!({"another": "annotation"});
    assert!(reached("block-only", "persistentvolumeclaims", &claim));
}

#[test]
fn volumes_and_classes_reach_the_webhook_by_their_driver() {
    for (set, driver) in [
        ("minimal", "rds.csi.srvlab.io"),
        ("renamed", "second.storage.example.com"),
    ] {
        for (name, ours) in [(driver, true), ("ebs.csi.aws.com", false)] {
            let class = json!({"metadata": {"name": "a"}, "provisioner": name});
            assert_eq!(reached(set, "storageclasses", &class), ours, "{set} {name}");
            let class = json!({"metadata": {"name": "a"}, "driverName": name});
            let reaches = reached(set, "volumeattributesclasses", &class);
            assert_eq!(reaches, ours, "{set} {name}");
            let class = json!({"metadata": {"name": "a"}, "driver": name});
            let reaches = reached(set, "volumesnapshotclasses", &class);
            assert_eq!(reaches, ours, "{set} {name}");
            let attachment = json!({
                "metadata": {"name": "a"},
                "spec": {"attacher": name, "nodeName": "a", "source": {}},
            });
            let reaches = reached(set, "volumeattachments", &attachment);
            assert_eq!(reaches, ours, "{set} {name}");
            let volume = json!({
                "metadata": {"name": "a"},
                "spec": {"csi": {"driver": name, "volumeHandle": "a"}},
            });
            assert_eq!(
                reached(set, "persistentvolumes", &volume),
                ours,
                "{set} {name}"
            );
        }
        let nfs = json!({
            "metadata": {"name": "a"},
            "spec": {"nfs": {"server": "a", "path": "/"}},
        });
        assert!(!reached(set, "persistentvolumes", &nfs));
    }
}

/// With failurePolicy Fail, an absent webhook would keep finalizers from being removed.
#[test]
fn what_is_being_deleted_does_not_need_the_webhook() {
    let deleted = json!({"name": "a", "deletionTimestamp": "2026-11-22T11:04:59Z"});
    let driver = "rds.csi.srvlab.io";
    for (resource, mut object) in [
        ("persistentvolumeclaims", claim_of(Some("rds-csi"))),
        (
            "persistentvolumes",
            json!({"metadata": {}, "spec": {"csi": {"driver": driver}}}),
        ),
        (
            "storageclasses",
            json!({"metadata": {}, "provisioner": driver}),
        ),
        (
            "volumeattributesclasses",
            json!({"metadata": {}, "driverName": driver}),
        ),
        (
            "volumesnapshotclasses",
            json!({"metadata": {}, "driver": driver}),
        ),
        (
            "volumeattachments",
            json!({"metadata": {}, "spec": {"attacher": driver}}),
        ),
        ("virtualmachineinstancemigrations", json!({"metadata": {}})),
    ] {
        assert!(reached("minimal", resource, &object), "{resource}");
        object["metadata"] = deleted.clone();
        assert!(!reached("minimal", resource, &object), "{resource}");
    }
}

/// The driver notes on a PersistentVolume who has it, and each release of the chart labels its
/// classes anew: with failurePolicy Fail an absent webhook stops neither.
#[test]
fn volumes_and_classes_need_the_webhook_for_what_is_judged_and_no_other_change() {
    let driver = "rds.csi.srvlab.io";
    let class = |key: &str| json!({"metadata": {"name": "a"}, key: driver});
    let volume = json!({"metadata": {"name": "a"}, "spec": {"csi": {"driver": driver}}});
    for (resource, old, changes) in [
        (
            "persistentvolumes",
            volume,
            &["/spec/mountOptions", "/spec/claimRef"][..],
        ),
        (
            "storageclasses",
            class("provisioner"),
            &["/parameters", "/mountOptions"],
        ),
        (
            "volumeattributesclasses",
            class("driverName"),
            &["/parameters"],
        ),
        ("volumesnapshotclasses", class("driver"), &["/parameters"]),
    ] {
        let mut noted = old.clone();
        noted["metadata"]["annotations"] = json!({"who": "node-a"});
        assert!(!change_reaches(resource, &old, &noted), "{resource}");
        for change in changes {
            let changed = with(&old, change, &json!(["any"]));
            assert!(change_reaches(resource, &old, &changed), "{change}");
            assert!(change_reaches(resource, &changed, &old), "{change}");
            assert!(!change_reaches(resource, &changed, &changed), "{change}");
        }
    }
}

/// With failurePolicy Fail an absent webhook keeps no claim that exists from being bound.
#[test]
fn a_claim_needs_the_webhook_for_what_is_judged_and_no_other_change() {
    let resource = "persistentvolumeclaims";
    let old = claim_of(Some("rds-csi"));
    for (path, value) in [
        ("/metadata/annotations", json!({"who": "a scheduler"})),
        ("/spec/volumeName", json!("pvc-1")),
        ("/spec/volumeAttributesClassName", json!("fast")),
        ("/status", json!({"phase": "Bound"})),
    ] {
        assert!(
            !change_reaches(resource, &old, &with(&old, path, &value)),
            "{path}"
        );
    }
    for (path, value) in [
        ("/spec/accessModes", json!(["ReadWriteMany"])),
        ("/spec/volumeMode", json!("Block")),
        (
            "/spec/dataSource",
            json!({"kind": "VolumeSnapshot", "name": "a"}),
        ),
        (
            "/spec/dataSourceRef",
            json!({"kind": "VolumeSnapshot", "name": "a"}),
        ),
        ("/spec/resources", json!({"requests": {"storage": "2Gi"}})),
    ] {
        let changed = with(&old, path, &value);
        assert!(change_reaches(resource, &old, &changed), "{path}");
        assert!(change_reaches(resource, &changed, &old), "{path}");
        assert!(!change_reaches(resource, &changed, &changed), "{path}");
    }
    let without = claim_of(None);
    assert!(change_reaches(resource, &without, &old));
    let annotated = with(
        &without,
        "/metadata/annotations",
        &json!({OLD_CLASS: "rds-csi"}),
    );
    assert!(change_reaches(resource, &without, &annotated));
}

/// An object with another value at a place whose parent it has.
fn with(object: &Value, path: &str, value: &Value) -> Value {
    let mut changed = object.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap()[key] = value.clone();
    changed
}

#[test]
fn seven_kinds_are_reviewed_with_the_care_that_an_api_server_needs() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        let webhooks = webhooks(set);
        let mut resources = Vec::new();
        for webhook in &webhooks {
            assert_eq!(webhook.match_policy.as_deref(), Some("Equivalent"));
            assert_eq!(webhook.side_effects, "None");
            assert_eq!(webhook.admission_review_versions, ["v1"]);
            assert!(webhook.timeout_seconds.unwrap() <= 5);
            assert!(webhook.namespace_selector.is_none() && webhook.object_selector.is_none());
            for rule in webhook.rules.as_deref().unwrap() {
                let operations = rule.operations.as_deref().unwrap();
                for resource in rule.resources.as_deref().unwrap() {
                    let is_move = MOVES.contains(&resource.as_str());
                    assert_eq!(
                        operations.contains(&"UPDATE".to_owned()),
                        !is_move,
                        "{resource}"
                    );
                    assert!(operations.contains(&"CREATE".to_owned()), "{resource}");
                    resources.push(resource.clone());
                }
            }
        }
        assert_eq!(
            resources,
            [
                "persistentvolumeclaims",
                "persistentvolumes",
                "storageclasses",
                "volumeattributesclasses",
                "volumesnapshotclasses",
                "volumeattachments",
                "virtualmachineinstancemigrations",
            ]
        );
    }
}

/// A rule for all versions gets an object as it was sent, and never converted, so that must not
/// be read by conditions that know the fields of one version. Of a migration they read the
/// metadata alone, and an older KubeVirt serves no v1 to convert it to.
#[test]
fn objects_are_reviewed_in_versions_whose_fields_are_known() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        for webhook in webhooks(set) {
            let rules = webhook.rules.unwrap();
            let [rule] = rules.as_slice() else {
                panic!("{}: {rules:?}", webhook.name);
            };
            let (resource, _) = webhook.name.split_once('.').unwrap();
            let expected: &[&str] = match resource {
                "volumeattributesclasses" => &["v1", "v1beta1"],
                "virtualmachineinstancemigrations" => &["*"],
                _ => &["v1"],
            };
            let versions = rule.api_versions.as_deref().unwrap();
            assert_eq!(versions, expected, "{}", webhook.name);
        }
    }
}

const IGNORE: &str = "Ignore";
const FAIL: &str = "Fail";

#[test]
fn an_absent_webhook_admits_unless_a_value_says_otherwise() {
    for (set, policies) in [
        ("minimal", [IGNORE; 7]),
        (
            "provided",
            [FAIL, IGNORE, IGNORE, IGNORE, IGNORE, IGNORE, IGNORE],
        ),
        ("full", [FAIL; 7]),
    ] {
        let found: Vec<String> = webhooks(set)
            .into_iter()
            .map(|webhook| webhook.failure_policy.unwrap())
            .collect();
        assert_eq!(found, policies, "{set}");
    }
}

#[test]
fn the_api_server_finds_the_webhook_by_its_service() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        let release = render(set);
        let service: Service = release.one("-webhook");
        let deployment: Deployment = release.one("-webhook");
        let spec = service.spec.unwrap();
        let pods = deployment.spec.unwrap().template;
        let labels = pods.metadata.unwrap().labels.unwrap();
        assert!(
            spec.selector
                .unwrap()
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        );
        let container = &pods.spec.unwrap().containers[0];
        let port = &spec.ports.as_deref().unwrap()[0];
        let ports = container.ports.as_deref().unwrap();
        let reviews = ports.iter().find(|p| p.name.as_deref() == Some("reviews"));
        assert_eq!(reviews.unwrap().container_port, 8443, "as --listen says");
        for webhook in webhooks(set) {
            let target = webhook.client_config.service.unwrap();
            assert_eq!(Some(&target.name), service.metadata.name.as_ref());
            assert_eq!(Some(&target.namespace), service.metadata.namespace.as_ref());
            assert_eq!(target.port, Some(port.port));
            assert_eq!(target.path.as_deref(), Some("/validate"));
        }
    }
}

#[test]
fn the_ca_comes_from_whoever_makes_the_certificate() {
    for (set, bundled, injected) in [
        ("minimal", false, false),
        ("cert-manager", false, true),
        ("provided", true, false),
    ] {
        let configuration: ValidatingWebhookConfiguration = render(set).one("-webhook");
        let annotations = configuration.metadata.annotations.unwrap_or_default();
        let from = annotations.get("cert-manager.io/inject-ca-from");
        assert_eq!(
            from.map(String::as_str),
            injected.then_some("rds-csi/rds-csi-webhook")
        );
        for webhook in configuration.webhooks.unwrap() {
            let bundle = webhook.client_config.ca_bundle.map(|bytes| bytes.0);
            assert_eq!(bundle.is_some(), bundled, "{set}");
            assert!(bundle.is_none_or(|pem| pem.starts_with(b"-----BEGIN CERTIFICATE-----")));
        }
    }
}
