//! Claims of every kind, made and changed, and what the rule says of them.

use proptest::prelude::*;
use rds_csi_core::access::judge_claim;
use rds_csi_core::names::DriverName;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::storage_classes::StorageClasses;
use crate::verdict::LONGEST_WARNING;

/// `ours` (the driver's), `theirs`, and whichever of them is the default.
fn classes(default: Option<&str>) -> StorageClasses {
    let class = |name: &str, provisioner: &str| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {
                "storageclass.kubernetes.io/is-default-class": (default == Some(name)).to_string(),
            }},
            "provisioner": provisioner,
        }))
        .unwrap()
    };
    [
        class("ours", "rds.csi.srvlab.io"),
        class("theirs", "ebs.csi.aws.com"),
    ]
    .iter()
    .collect()
}

fn claim(spec: Value) -> PersistentVolumeClaim {
    let mut claim = json!({"metadata": {"name": "c", "namespace": "t"}});
    claim["spec"] = spec;
    serde_json::from_value(claim).unwrap()
}

fn judge_in(
    classes: Option<&StorageClasses>,
    new: &PersistentVolumeClaim,
    old: Option<&PersistentVolumeClaim>,
) -> Verdict {
    let context = RuleContext {
        driver: &DriverName::default(),
        classes,
    };
    super::review(new, old, &context)
}

fn create(spec: Value) -> Verdict {
    judge_in(Some(&classes(None)), &claim(spec), None)
}

fn update(old: Value, new: Value) -> Verdict {
    judge_in(Some(&classes(Some("ours"))), &claim(new), Some(&claim(old)))
}

fn fields(verdict: &Verdict) -> Vec<&str> {
    verdict.denials.iter().map(|d| d.field.as_str()).collect()
}

#[rstest]
fn every_mode_and_volume_mode_is_judged_on_a_class_of_ours(
    #[values(
        "ReadWriteOnce",
        "ReadWriteOncePod",
        "ReadWriteMany",
        "ReadOnlyMany",
        "Sometimes"
    )]
    mode: &str,
    #[values(None, Some("Filesystem"), Some("Block"))] volume_mode: Option<&str>,
    #[values("named", "annotated", "default", "retroactive")] how: &str,
) {
    let allowed = match mode {
        "ReadWriteOnce" | "ReadWriteOncePod" => true,
        "ReadWriteMany" => volume_mode == Some("Block"),
        _ => false,
    };
    let mut spec = json!({"accessModes": [mode]});
    if let Some(volume_mode) = volume_mode {
        spec["volumeMode"] = volume_mode.into();
    }
    let without_class = claim(spec.clone());
    spec["storageClassName"] = "ours".into();
    let named = claim(spec.clone());
    let verdict = match how {
        "named" => judge_in(Some(&classes(None)), &named, None),
        "annotated" => {
            spec["storageClassName"] = "theirs".into();
            let mut annotated = claim(spec);
            annotated.metadata.annotations = Some(
                [(
                    "volume.beta.kubernetes.io/storage-class".into(),
                    "ours".into(),
                )]
                .into(),
            );
            judge_in(Some(&classes(None)), &annotated, None)
        }
        "default" => judge_in(Some(&classes(Some("ours"))), &without_class, None),
        _ => judge_in(Some(&classes(None)), &named, Some(&without_class)),
    };
    let expected: &[&str] = if allowed {
        &[]
    } else {
        &["spec.accessModes[0]"]
    };
    assert_eq!(fields(&verdict), expected, "{verdict:?}");
}

#[rstest]
#[case::class_of_another_driver(Some("theirs"), None, false)]
#[case::static_binding(Some(""), Some("ours"), false)]
#[case::no_class_and_no_default(None, None, false)]
#[case::default_of_another_driver(None, Some("theirs"), false)]
#[case::default_of_ours(None, Some("ours"), true)]
fn only_claims_that_we_would_provision_are_refused(
    #[case] class: Option<&str>,
    #[case] default: Option<&str>,
    #[case] refused: bool,
) {
    let mut spec = json!({"accessModes": ["ReadWriteMany"]});
    if let Some(class) = class {
        spec["storageClassName"] = class.into();
    }
    let verdict = judge_in(Some(&classes(default)), &claim(spec), None);
    assert_eq!(verdict.is_allowed(), !refused, "{verdict:?}");
    assert!(verdict.warnings.is_empty());
}

#[test]
fn the_refusal_says_what_why_and_what_to_write_instead() {
    let verdict = create(json!({"storageClassName": "ours", "accessModes": ["ReadWriteMany"]}));
    assert_eq!(
        verdict.message().unwrap(),
        "spec.accessModes[0]: ReadWriteMany needs volumeMode: Block on storage class \"ours\" \
         (driver rds.csi.srvlab.io): two nodes that mount one ext4 or xfs destroy it. Set \
         volumeMode: Block for a VM disk, or accessModes: [ReadWriteOnce] for a filesystem."
    );
}

#[test]
fn every_bad_entry_is_named() {
    let verdict = create(json!({
        "storageClassName": "ours",
        "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
    }));
    assert_eq!(
        fields(&verdict),
        ["spec.accessModes[1]", "spec.accessModes[2]"]
    );
}

#[test]
fn an_unknown_class_passes_with_a_warning_only_where_we_would_refuse() {
    let with = |mode: &str| create(json!({"storageClassName": "later", "accessModes": [mode]}));
    assert_eq!(with("ReadWriteOnce"), Verdict::allow());
    let verdict = with("ReadWriteMany");
    assert!(verdict.is_allowed());
    assert!(verdict.warnings[0].contains("\"later\" is not known"));
}

#[test]
fn before_the_classes_are_read_everything_passes_with_a_warning() {
    let rwx = claim(json!({"storageClassName": "ours", "accessModes": ["ReadWriteMany"]}));
    let verdict = judge_in(None, &rwx, None);
    assert!(verdict.is_allowed());
    assert_eq!(
        verdict.warnings,
        ["the storage classes are not read yet; the driver checks again"]
    );
    let none = claim(json!({"storageClassName": "", "accessModes": ["ReadWriteMany"]}));
    assert_eq!(judge_in(None, &none, None), Verdict::allow());
}

#[test]
fn a_claim_that_exists_is_left_alone_unless_a_judged_field_changes() {
    let bad = json!({"storageClassName": "ours", "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}}});
    assert_eq!(update(bad.clone(), bad.clone()), Verdict::allow());
    let mut grown = bad.clone();
    grown["resources"]["requests"]["storage"] = "2Gi".into();
    assert_eq!(update(bad.clone(), grown.clone()), Verdict::allow());
    grown["resources"]["requests"]["storage"] = "2Ei".into();
    assert_eq!(
        fields(&update(bad.clone(), grown)),
        ["spec.resources.requests.storage"]
    );
    let mut bound = bad.clone();
    bound["volumeName"] = "pv-1".into();
    assert_eq!(update(bad, bound), Verdict::allow());
}

#[test]
fn a_claim_without_class_is_not_given_the_default_by_an_update() {
    let waiting = json!({"accessModes": ["ReadWriteMany"]});
    let mut changed = waiting.clone();
    changed["resources"] = json!({"requests": {"storage": "1Gi"}});
    assert_eq!(update(waiting, changed), Verdict::allow());
}

#[test]
fn a_claim_that_is_being_deleted_passes() {
    let mut going = claim(json!({"storageClassName": "ours", "accessModes": ["ReadWriteMany"]}));
    going.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-11-22T11:04:59Z")).unwrap();
    let old = claim(json!({"accessModes": ["ReadWriteMany"]}));
    let verdict = judge_in(Some(&classes(None)), &going, Some(&old));
    assert_eq!(verdict, Verdict::allow());
}

#[rstest]
#[case::snapshot(json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}), true)]
#[case::clone(json!({"kind": "PersistentVolumeClaim", "name": "c"}), true)]
#[case::importer(json!({"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "i"}), false)]
#[case::other_group(json!({"apiGroup": "example.com", "kind": "VolumeSnapshot", "name": "i"}), false)]
fn copies_are_refused_and_populators_are_not(#[case] source: Value, #[case] refused: bool) {
    for field in ["dataSource", "dataSourceRef"] {
        let mut spec = json!({"storageClassName": "ours", "accessModes": ["ReadWriteOnce"]});
        spec[field] = source.clone();
        let expected = format!("spec.{field}");
        let expected: &[&str] = if refused { &[&expected] } else { &[] };
        assert_eq!(fields(&create(spec)), expected);
    }
}

#[rstest]
#[case::usual(json!({"requests": {"storage": "20Gi"}}), &[])]
#[case::one_byte(json!({"requests": {"storage": "1"}}), &[])]
#[case::largest(json!({"requests": {"storage": "1Pi"}}), &[])]
#[case::over_the_largest(json!({"requests": {"storage": "1125899906842625"}}), &["spec.resources.requests.storage"])]
#[case::two_to_the_63(json!({"requests": {"storage": "9223372036854775808"}}), &["spec.resources.requests.storage"])]
#[case::zero(json!({"requests": {"storage": "0"}}), &["spec.resources.requests.storage"])]
#[case::negative(json!({"requests": {"storage": "-1Gi"}}), &["spec.resources.requests.storage"])]
#[case::no_quantity(json!({"requests": {"storage": "10GB"}}), &["spec.resources.requests.storage"])]
#[case::limit_below(json!({"requests": {"storage": "2Gi"}, "limits": {"storage": "1Gi"}}), &["spec.resources.requests.storage"])]
#[case::limit_negative(json!({"requests": {"storage": "2Gi"}, "limits": {"storage": "-1"}}), &["spec.resources.limits.storage"])]
#[case::nothing_between(json!({"requests": {"storage": "1Gi"}, "limits": {"storage": "1Gi"}}), &[])]
#[case::nothing_said(json!({}), &[])]
fn sizes_are_judged(#[case] resources: Value, #[case] expected: &[&str]) {
    let verdict = create(json!({
        "storageClassName": "ours", "accessModes": ["ReadWriteOnce"], "resources": resources,
    }));
    assert_eq!(fields(&verdict), expected, "{verdict:?}");
}

#[rstest]
#[case(json!({"labels": {"app.kubernetes.io/managed-by": "cdi-controller"}}), true)]
#[case(json!({"labels": {"kubevirt.io/created-by": "0b5c"}}), true)]
#[case(json!({"annotations": {"cdi.kubevirt.io/storage.import.source": "http"}}), true)]
#[case(json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), false)]
#[case(json!({}), false)]
fn a_vm_disk_for_one_node_is_warned_about(#[case] metadata: Value, #[case] warned: bool) {
    for (mode, volume_mode) in [("ReadWriteOnce", "Block"), ("ReadWriteMany", "Block")] {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": metadata,
            "spec": {"storageClassName": "ours", "accessModes": [mode], "volumeMode": volume_mode},
        }))
        .unwrap();
        let verdict = judge_in(Some(&classes(None)), &claim, None);
        assert!(verdict.is_allowed());
        let expected = usize::from(warned && mode == "ReadWriteOnce");
        assert_eq!(verdict.warnings.len(), expected);
        // It was cut if it did not fit.
        assert!(
            verdict
                .warnings
                .iter()
                .all(|w| w.chars().count() <= LONGEST_WARNING && !w.ends_with('…'))
        );
    }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("ReadWriteOnce".to_owned()),
        Just("ReadWriteOncePod".to_owned()),
        Just("ReadWriteMany".to_owned()),
        Just("ReadOnlyMany".to_owned()),
        "\\PC{0,12}",
    ]
}

proptest! {
    #[test]
    fn what_admission_lets_in_the_driver_accepts(
        modes in proptest::collection::vec(words(), 0..4),
        volume_mode in proptest::option::of(prop_oneof![
            Just("Filesystem".to_owned()), Just("Block".to_owned()), "\\PC{0,8}",
        ]),
    ) {
        let verdict = create(json!({
            "storageClassName": "ours", "accessModes": modes, "volumeMode": volume_mode,
        }));
        let core = judge_claim(&modes, volume_mode.as_deref());
        prop_assert_eq!(verdict.is_allowed(), core.is_empty());
        let core: Vec<_> = core.into_iter().map(|refusal| refusal.field).collect();
        prop_assert_eq!(fields(&verdict), core);
    }

    #[test]
    fn a_claim_that_exists_can_always_change_its_metadata_and_go(
        modes in proptest::collection::vec(words(), 0..4),
        volume_mode in proptest::option::of("\\PC{0,8}"),
        size in "\\PC{0,12}",
        class in proptest::option::of(prop_oneof![Just("ours"), Just("theirs"), Just("gone")]),
        finalizers in proptest::collection::vec("[a-z/]{1,8}", 0..3),
        going: bool,
    ) {
        let old = claim(json!({
            "storageClassName": class, "accessModes": modes, "volumeMode": volume_mode,
            "resources": {"requests": {"storage": size}},
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "c"},
        }));
        let mut new = old.clone();
        new.metadata.finalizers = Some(finalizers);
        new.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        if going {
            new.metadata.deletion_timestamp =
                serde_json::from_value(json!("2026-11-22T11:04:59Z")).unwrap();
        }
        for known in [Some(&classes(Some("ours"))), None] {
            prop_assert_eq!(judge_in(known, &new, Some(&old)), Verdict::allow());
        }
    }

    #[test]
    fn no_size_panics_and_what_passes_can_be_made(text in "\\PC{0,12}|[-+]?[0-9]{1,22}(|[KMGTPE]i|[mkMGTPE]|e[0-9]{1,3})") {
        let verdict = create(json!({
            "storageClassName": "ours", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": text}},
        }));
        if verdict.is_allowed() {
            let required = quantity::bytes(&text).unwrap();
            let size = CapacityRange::from_csi(required, 0).unwrap().choose(Bytes::mib(300));
            prop_assert!(size.is_ok());
        }
    }
}
