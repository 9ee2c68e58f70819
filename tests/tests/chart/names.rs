//! What changes with a value, and what never may.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::storage::v1::CSIDriver;

use crate::helm::{name, render, render_anew, render_with, sets};

#[test]
fn another_driver_name_leaves_nothing_of_the_first() {
    let release = render("renamed");
    assert!(!release.text.contains("rds.csi.srvlab.io"));
    assert!(!release.text.contains("rds-csi-srvlab-io"), "leases");
    let driver: CSIDriver = release.one("");
    assert_eq!(
        driver.metadata.name.as_deref(),
        Some("second.storage.example.com")
    );
}

/// Two devices in one cluster are two releases: no object may be of both.
#[test]
fn two_releases_share_no_object() {
    let first = render("minimal");
    for object in render("renamed").objects {
        for other in first.of(object["kind"].as_str().unwrap()) {
            assert_ne!(name(&object), name(other), "{}", object["kind"]);
        }
    }
}

#[test]
fn the_driver_object_says_what_the_driver_does() {
    for set in sets() {
        let driver: CSIDriver = render(&set).one("");
        let spec = driver.spec;
        assert_eq!(spec.attach_required, Some(true));
        assert_eq!(spec.fs_group_policy.as_deref(), Some("File"));
        assert_eq!(spec.volume_lifecycle_modes.unwrap(), ["Persistent"]);
        assert_eq!(spec.storage_capacity, Some(false));
        assert_eq!(spec.pod_info_on_mount, Some(false));
        assert_eq!(spec.se_linux_mount, Some(false));
        assert_eq!(spec.requires_republish, Some(false));
    }
}

/// A workload's selector cannot be changed: an upgrade that tried would fail.
#[test]
fn selectors_are_what_they_were_in_the_first_version() {
    let mut found = BTreeMap::new();
    let release = render("full");
    for deployment in release.all::<Deployment>() {
        let labels = deployment.spec.unwrap().selector.match_labels.unwrap();
        found.insert(deployment.metadata.name.unwrap(), labels);
    }
    let nodes: DaemonSet = release.one("-node");
    found.insert(
        nodes.metadata.name.unwrap(),
        nodes.spec.unwrap().selector.match_labels.unwrap(),
    );
    for component in ["controller", "node", "webhook"] {
        let expected = [
            ("app.kubernetes.io/component", component),
            ("app.kubernetes.io/instance", "rds-csi"),
            ("app.kubernetes.io/name", "rds-csi"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            found.remove(&format!("rds-csi-{component}")),
            Some(BTreeMap::from(expected))
        );
    }
    assert!(found.is_empty());
}

/// An upgrade that changes nothing must replace no pod.
#[test]
fn rendering_twice_gives_the_same() {
    for set in sets() {
        assert_eq!(render(&set).text, render_anew(&set, &[]), "{set}");
    }
}

#[test]
fn every_object_has_the_labels_that_were_asked_for() {
    for object in render("full").objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["example.com/team"], "storage", "{}", name(&object));
        assert_eq!(labels["app.kubernetes.io/instance"], "rds-csi");
    }
}

#[test]
fn the_release_gives_objects_their_names() {
    let release = render_with("minimal", &["--set", "fullnameOverride=storage"]);
    let nodes: DaemonSet = release.one("-node");
    assert_eq!(nodes.metadata.name.as_deref(), Some("storage-node"));
}
