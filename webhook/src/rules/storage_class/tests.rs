//! Classes with right, wrong and unknown parameters.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rds_csi_core::names::DriverName;
use serde_json::{Value, json};

use super::*;

fn judge(new: &Value, old: Option<&Value>) -> Verdict {
    let read = |value: &Value| serde_json::from_value(value.clone()).unwrap();
    let context = RuleContext {
        driver: &DriverName::default(),
        classes: None,
    };
    let old = old.map(read);
    review(&read(new), old.as_ref(), &context)
}

fn fields(verdict: &Verdict) -> Vec<&str> {
    verdict.denials.iter().map(|d| d.field.as_str()).collect()
}

fn class() -> Value {
    json!({
        "metadata": {"name": "rds-nvme"},
        "provisioner": "rds.csi.srvlab.io",
        "parameters": {"nvmeAddress": "10.0.0.1", "reconnectDelay": "5"},
        "mountOptions": ["noatime"],
    })
}

#[test]
fn a_good_class_passes() {
    assert_eq!(judge(&class(), None), Verdict::allow());
}

#[test]
fn every_bad_parameter_and_option_is_named() {
    let mut bad = class();
    bad["parameters"] =
        json!({"nvmeAddres": "10.0.0.1", "nvmePort": "0", "csi.storage.k8s.io/fstype": "xfs"});
    bad["mountOptions"] = json!(["nouuid", "data=journal"]);
    let verdict = judge(&bad, None);
    assert_eq!(
        fields(&verdict),
        [
            "parameters[nvmeAddres]",
            "parameters[nvmePort]",
            "mountOptions[1]"
        ]
    );
    assert!(
        verdict.denials[0]
            .message
            .contains("did you mean nvmeAddress?")
    );
    assert!(verdict.denials[1].message.contains("1 to 65535"));
}

#[test]
fn topologies_are_warned_about() {
    let mut class = class();
    class["allowedTopologies"] =
        json!([{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}]);
    let verdict = judge(&class, None);
    assert_eq!((verdict.is_allowed(), verdict.warnings.len()), (true, 1));
    assert!(!verdict.warnings[0].ends_with('…'));
    assert_eq!(judge(&class, Some(&class)), Verdict::allow());
}

#[test]
fn a_bad_class_that_exists_can_still_be_made_the_default_and_other_drivers_pass() {
    let mut bad = class();
    bad["parameters"] = json!({"x": "y"});
    let mut default = bad.clone();
    default["metadata"]["annotations"] =
        json!({"storageclass.kubernetes.io/is-default-class": "true"});
    assert_eq!(judge(&default, Some(&bad)), Verdict::allow());
    bad["provisioner"] = json!("ebs.csi.aws.com");
    assert_eq!(judge(&bad, None), Verdict::foreign());
}

proptest! {
    #[test]
    fn a_class_that_is_let_in_can_provision(
        parameters in proptest::collection::btree_map(
            "nvmePort|ctrlLossTmo|fastIoFailTmo|volumePath|csi.storage.k8s.io/fstype|\\PC{0,8}",
            "-?[0-9]{0,5}|/[a-z/.]{0,8}|xfs|\\PC{0,8}", 0..5),
    ) {
        let mut class = class();
        class["parameters"] = json!(parameters);
        let map: BTreeMap<String, String> = parameters;
        prop_assert_eq!(
            judge(&class, None).is_allowed(),
            StorageClassParameters::parse(&map).is_ok()
        );
    }
}
