//! Admission reviews, good and absurd, and the answers to them.

use std::sync::Arc;

use futures::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::storage_classes::StorageClasses;

/// A reviewer for the driver and the class of the recorded reviews.
fn reviewer() -> Reviewer {
    let class: StorageClass = serde_json::from_value(
        json!({"metadata": {"name": "lab-sc"}, "provisioner": "lab.csi.example"}),
    )
    .unwrap();
    let classes: StorageClasses = [&class].into_iter().collect();
    Reviewer::new(
        "lab.csi.example".parse().unwrap(),
        StorageClassStore::of(classes),
        Metrics::default(),
    )
}

fn recorded(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/reviews/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Without a cluster no review waits for anything.
fn reviewed(reviewer: &Reviewer, body: &[u8]) -> Result<Answer, ReviewError> {
    reviewer.review(body).now_or_never().unwrap()
}

fn ask(reviewer: &Reviewer, review: &Value) -> Value {
    let answer = reviewed(reviewer, review.to_string().as_bytes()).unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

#[test]
fn a_recorded_shared_block_claim_passes() {
    let answer = ask(&reviewer(), &recorded("pvc-CREATE-rwx-block"));
    assert_eq!(
        (&answer["allowed"], &answer["status"], &answer["warnings"]),
        (&json!(true), &json!({"code": 200}), &Value::Null)
    );
}

#[test]
fn a_recorded_shared_filesystem_claim_is_denied_with_its_field() {
    let mut review = recorded("pvc-CREATE-rwx-block");
    review["request"]["object"]["spec"]["volumeMode"] = json!("Filesystem");
    let answer = ask(&reviewer(), &review);
    assert_eq!(answer["allowed"], false);
    let status = &answer["status"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(422), &json!("Invalid"))
    );
    assert_eq!(
        status["details"]["causes"][0]["field"],
        "spec.accessModes[0]"
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("spec.accessModes[0]: ReadWriteMany needs volumeMode: Block"));
    assert!(
        message.contains("lab-sc") && message.contains("lab.csi.example"),
        "{message}"
    );
}

#[test]
fn a_recorded_restore_is_denied_in_a_dry_run_too() {
    let review = recorded("pvc-CREATE-rwx-block-dryrun-generateName");
    let answer = ask(&reviewer(), &review);
    assert_eq!(
        answer["status"]["details"]["causes"][0]["field"],
        "spec.dataSourceRef"
    );
}

#[test]
fn the_recorded_update_by_the_volume_binder_passes_and_retroactive_assignment_is_judged() {
    let mut review = recorded("persistentvolumeclaims-UPDATE-persistent-volume-binder");
    assert_eq!(ask(&reviewer(), &review)["allowed"], true);
    // A default class appears: the binder names it on a claim that waited without one.
    let request = &mut review["request"];
    for object in ["object", "oldObject"] {
        request[object]["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    }
    let old = request["oldObject"]["spec"].as_object_mut().unwrap();
    old.remove("storageClassName");
    let answer = ask(&reviewer(), &review);
    assert_eq!(answer["allowed"], false, "{answer}");
}

#[test]
fn kinds_and_operations_without_rules_pass_without_a_word_and_are_counted() {
    let reviewer = reviewer();
    // Without a cluster nobody can say who may have a volume.
    let attachment = recorded("volumeattachments-CREATE-attachdetach-controller");
    let mut pod = attachment.clone();
    pod["request"]["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"});
    let mut deletion = recorded("pvc-CREATE-rwx-block");
    deletion["request"]["operation"] = json!("DELETE");
    deletion["request"]["oldObject"] = deletion["request"]["object"].take();
    let mut future = deletion.clone();
    future["request"]["operation"] = json!("TELEPORT");
    for review in [attachment, pod, deletion, future] {
        let answer = ask(&reviewer, &review);
        assert_eq!(answer["allowed"], true);
        assert!(answer.get("warnings").is_none());
    }
    let page = reviewer.metrics.encode().unwrap();
    for series in [
        r#"reviews_total{kind="Other",operation="Create",verdict="Allowed"} 1"#,
        r#"reviews_total{kind="VolumeAttachment",operation="Create",verdict="Allowed"} 1"#,
        r#"reviews_total{kind="PersistentVolumeClaim",operation="Delete",verdict="Allowed"} 1"#,
        r#"reviews_total{kind="PersistentVolumeClaim",operation="Other",verdict="Allowed"} 1"#,
    ] {
        assert!(page.contains(series), "{series} not in\n{page}");
    }
}

#[test]
fn a_claim_without_a_name_yet_is_called_by_its_beginning() {
    let mut review = recorded("pvc-CREATE-rwx-block-dryrun-generateName");
    let named = ask(&reviewer(), &review);
    assert_eq!(named["status"]["details"]["name"], "gen-wlqb7");
    let request = review["request"].as_object_mut().unwrap();
    request.remove("name");
    request["object"]["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("name");
    let answer = ask(&reviewer(), &review);
    assert_eq!(answer["status"]["details"]["name"], "gen-*");
    assert_eq!(answer["status"]["message"], named["status"]["message"]);
}

#[test]
fn a_request_in_an_old_version_is_judged_in_the_version_it_was_converted_to() {
    let object = json!({
        "metadata": {"name": "fast"}, "provisioner": "lab.csi.example",
        "parameters": {"ctrlLossTmo": "soon"},
    });
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "name": "fast",
            "kind": {"group": "storage.k8s.io", "version": "v1", "kind": "StorageClass"},
            "requestKind": {"group": "storage.k8s.io", "version": "v1beta1", "kind": "StorageClass"},
            "object": object,
        },
    });
    let answer = ask(&reviewer(), &review);
    let causes = &answer["status"]["details"]["causes"];
    assert_eq!(causes[0]["field"], "parameters[ctrlLossTmo]");
    // Without matchPolicy Equivalent it comes as it is, and nobody knows the version.
    review["request"]["kind"]["version"] = json!("v1beta1");
    assert_eq!(ask(&reviewer(), &review)["allowed"], true);
}

#[test]
fn warnings_travel_with_the_answer() {
    let mut review = recorded("pvc-CREATE-rwx-block");
    review["request"]["object"]["spec"]["accessModes"] = json!(["ReadWriteOnce"]);
    review["request"]["object"]["metadata"]["labels"] = json!({"kubevirt.io/created-by": "vm"});
    let answer = ask(&reviewer(), &review);
    assert_eq!(answer["allowed"], true);
    let warnings = answer["warnings"].as_array().unwrap();
    assert!(
        warnings[0].as_str().unwrap().contains("live migration"),
        "{warnings:?}"
    );
}

#[test]
fn reviews_of_other_drivers_objects_are_counted() {
    let reviewer = reviewer();
    let review = |kind: &str, group: &str, object: Value| {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "operation": "CREATE", "name": "x", "object": object,
                "kind": {"group": group, "version": "v1", "kind": kind},
            },
        })
    };
    let class = |provisioner: &str| json!({"metadata": {"name": "x"}, "provisioner": provisioner});
    let volume = |driver: &str| {
        json!({"metadata": {"name": "x"}, "spec": {
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": driver, "volumeHandle": "pvc-5e1f4d7b-3c0a-4b52-9a76-1c39c0a7c1d2"}}})
    };
    for name in ["ebs.csi.aws.com", "lab.csi.example"] {
        ask(
            &reviewer,
            &review("StorageClass", "storage.k8s.io", class(name)),
        );
        ask(&reviewer, &review("PersistentVolume", "", volume(name)));
    }
    let hostpath = json!({"metadata": {"name": "x"}, "spec": {"hostPath": {"path": "/x"}}});
    ask(&reviewer, &review("PersistentVolume", "", hostpath));
    let page = reviewer.metrics.encode().unwrap();
    for series in [
        r#"foreign_reviews_total{kind="StorageClass"} 1"#,
        r#"foreign_reviews_total{kind="PersistentVolume"} 2"#,
    ] {
        assert!(page.contains(series), "{series} not in\n{page}");
    }
}

#[test]
fn what_is_no_review_is_an_error_that_says_so() {
    let mut no_uid = recorded("pvc-CREATE-rwx-block");
    no_uid["request"]["uid"] = json!("");
    let mut no_object = recorded("pvc-CREATE-rwx-block");
    no_object["request"]["object"] = Value::Null;
    let mut odd_object = recorded("pvc-CREATE-rwx-block");
    odd_object["request"]["object"]["spec"]["accessModes"] = json!("ReadWriteOnce");
    let mut beta = recorded("pvc-CREATE-rwx-block");
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let answer =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {}});
    let cases = [
        (String::new(), "reading the body"),
        ("[]".into(), "not admission.k8s.io/v1"),
        ("{}".into(), "not admission.k8s.io/v1"),
        (beta.to_string(), "v1beta1"),
        (answer.to_string(), "no request"),
        (no_uid.to_string(), "no request"),
        (no_object.to_string(), "no object"),
        (
            odd_object.to_string(),
            "reading the object of the request as PersistentVolumeClaim",
        ),
        ("[".repeat(100_000), "reading the body"),
    ];
    for (body, expected) in cases {
        let error = reviewed(&reviewer(), body.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,10}".prop_map(Value::from),
        Just(json!("lab-sc")),
        Just(json!("ReadWriteMany")),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,8}|spec|metadata|kind", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = reviewed(&reviewer(), &bytes);
    }

    #[test]
    fn no_change_of_a_recorded_review_panics(
        name in prop_oneof![Just("pvc-CREATE-rwx-block"), Just("persistentvolumeclaims-UPDATE-persistent-volume-binder")],
        pointer in prop_oneof![
            Just("/request"), Just("/request/object"), Just("/request/oldObject"), Just("/request/kind"),
            Just("/request/operation"), Just("/request/object/spec"), Just("/request/object/metadata"),
            Just("/request/object/spec/accessModes"), Just("/request/object/spec/resources"),
            Just("/request/object/spec/volumeMode"), Just("/request/object/spec/storageClassName"),
        ],
        value in any_json(),
    ) {
        let mut review = recorded(name);
        *review.pointer_mut(pointer).unwrap() = value;
        let _ = reviewed(&reviewer(), review.to_string().as_bytes());
    }
}

#[test]
fn a_reviewer_can_be_shared_between_connections() {
    fn shared<T: Send + Sync>(_: &Arc<T>) {}
    shared(&Arc::new(reviewer()));
}

#[test]
fn what_a_client_says_stays_on_one_short_line_of_the_log() {
    assert_eq!(loggable("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
    assert_eq!(loggable(&"x".repeat(100_000)).len(), 512);
}

#[test]
fn no_object_makes_an_answer_much_larger_than_a_usual_one() {
    let mut review = recorded("pvc-CREATE-rwx-block");
    let spec = &mut review["request"]["object"]["spec"];
    spec["accessModes"] = json!(vec!["x".repeat(20); 100_000]);
    spec["resources"]["requests"]["storage"] = json!("0".repeat(500_000));
    let answer = ask(&reviewer(), &review);
    assert_eq!(answer["allowed"], false);
    assert!(answer.to_string().len() < 16_384);
}
