//! Storage classes, and what CDI is told of them.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::storage::v1::StorageClass;
use rds_csi_core::access::judge_claim;
use rds_csi_core::names::DriverName;
use rds_csi_webhook::rules::{RuleContext, storage_class};
use serde_json::{Value, json};

use crate::helm::{render, render_with, sets};

#[test]
fn the_webhook_admits_every_class_of_the_chart() {
    let mut classes = 0;
    for set in sets() {
        for class in render(&set).all::<StorageClass>() {
            let driver: DriverName = class.provisioner.parse().unwrap();
            let context = RuleContext {
                driver: &driver,
                classes: None,
            };
            let verdict = storage_class::review(&class, None, &context);
            assert!(
                verdict.is_allowed() && verdict.warnings.is_empty(),
                "{verdict:?}"
            );
            classes += 1;
        }
    }
    assert!(classes > 10);
}

#[test]
fn a_class_is_what_its_entry_says() {
    let classes = render("full").all::<StorageClass>();
    let expected = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": classes[0].metadata,
        "provisioner": "rds.csi.srvlab.io",
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": false,
        "mountOptions": ["noatime", "discard"],
        "parameters": {
            "csi.storage.k8s.io/fstype": "xfs",
            "nvmeAddress": "fd01::3",
            "nvmePort": "4422",
            "rdsAddress": "fd00::2",
            "volumePath": "/pool1/kubernetes/volumes/fast",
            "ctrlLossTmo": "31536000",
            "reconnectDelay": "2",
            "keepAliveTmo": "10",
            "fastIoFailTmo": "30",
            "nrIoQueues": "4",
            "migrationTimeoutSeconds": "1800000",
        },
    });
    assert_eq!(serde_json::to_value(&classes[0]).unwrap(), expected);
    let annotations = classes[0].metadata.annotations.clone().unwrap();
    assert_eq!(
        annotations["storageclass.kubernetes.io/is-default-class"],
        "true"
    );
    assert_eq!(annotations["example.com/owner"], "storage");
}

/// Another default class would take over the claims of a cluster that has one.
#[test]
fn no_class_is_the_default_unless_asked_for() {
    for class in render("minimal").all::<StorageClass>() {
        let annotations = class.metadata.annotations.unwrap_or_default();
        assert!(!annotations.contains_key("storageclass.kubernetes.io/is-default-class"));
        assert_eq!(class.allow_volume_expansion, Some(true));
    }
}

fn profiles(set: &str, more: &[&str]) -> Vec<Value> {
    let release = render_with(set, more);
    let maps = release.all::<ConfigMap>().into_iter();
    maps.filter(|map| map.metadata.name.as_deref() == Some("rds-csi-storage-profiles"))
        .flat_map(|map| map.data.unwrap())
        .map(|(_, text)| serde_json::from_str(&text).unwrap())
        .collect()
}

#[test]
fn cdi_is_told_where_the_cluster_has_it() {
    assert_eq!(profiles("minimal", &[]).len(), 0);
    let has_cdi = ["--api-versions", "cdi.kubevirt.io/v1beta1/StorageProfile"];
    let told = profiles("minimal", &has_cdi);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["metadata"]["name"], "rds-csi-vm");
    assert_eq!(
        told[0]["spec"]["claimPropertySets"][0],
        json!({"accessModes": ["ReadWriteMany"], "volumeMode": "Block"})
    );
}

/// CDI makes claims of these: the driver must take each.
#[test]
fn cdi_is_told_of_nothing_that_the_driver_refuses() {
    for set in ["minimal", "full"] {
        for profile in profiles(set, &["--set", "cdi.storageProfiles=always"]) {
            for set in profile["spec"]["claimPropertySets"].as_array().unwrap() {
                let modes: Vec<String> =
                    serde_json::from_value(set["accessModes"].clone()).unwrap();
                assert_eq!(judge_claim(&modes, set["volumeMode"].as_str()), []);
            }
        }
    }
}

/// A Job cannot be changed, so all that is in it is part of its name.
#[test]
fn other_profiles_are_another_job() {
    let job = |setting: &str| {
        let arguments = ["--set", "cdi.storageProfiles=always", "--set-json", setting];
        let job: Job = render_with("minimal", &arguments).one("");
        job.metadata.name.unwrap()
    };
    let class = |mode: &str| {
        let set = json!({"accessModes": ["ReadWriteOnce"], "volumeMode": mode});
        let classes = json!([{"name": "disks", "claimPropertySets": [set]}]);
        job(&format!("storageClasses={classes}"))
    };
    assert_eq!(job(r#"log.level="debug""#), job(r#"log.level="info""#));
    assert_ne!(class("Block"), class("Filesystem"));
    let labels = |team: &str| job(&format!(r#"labels={{"team":"{team}"}}"#));
    assert_ne!(labels("storage"), labels("machines"));
}
