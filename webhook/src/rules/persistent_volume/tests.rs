//! Volumes made by hand, and those that exist already.

use rds_csi_core::names::DriverName;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn volume() -> Value {
    json!({
        "metadata": {"name": "pv-1"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "csi": {
                "driver": "rds.csi.srvlab.io",
                "fsType": "ext4",
                "volumeHandle": "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy",
                "volumeAttributes": {
                    "nvmeAddress": "10.0.0.1",
                    "nqn": "nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjmhy",
                    "volumePath": "/storage-pool/rds-csi",
                    "storage.kubernetes.io/csiProvisionerIdentity": "1700-8081-rds.csi.srvlab.io",
                },
            },
        },
    })
}

/// The volume with the value at a pointer replaced.
fn with(pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut changed = volume();
    changed.pointer_mut(parent).unwrap()[key] = value;
    changed
}

fn judge(new: &Value, old: Option<&Value>) -> Vec<String> {
    let read = |value: &Value| serde_json::from_value(value.clone()).unwrap();
    let context = RuleContext {
        driver: &DriverName::default(),
        classes: None,
    };
    let old = old.map(read);
    let verdict = review(&read(new), old.as_ref(), &context);
    verdict.denials.into_iter().map(|d| d.field).collect()
}

#[test]
fn a_well_formed_volume_passes_with_the_keys_that_sidecars_add() {
    assert_eq!(judge(&volume(), None), [""; 0]);
}

#[rstest]
#[case("/spec/csi/volumeHandle", json!("pvc-../../etc"), "spec.csi.volumeHandle")]
#[case("/spec/csi/volumeHandle", json!(""), "spec.csi.volumeHandle")]
#[case("/spec/csi/volumeAttributes", json!(null), "spec.csi.volumeAttributes")]
#[case("/spec/csi/volumeAttributes/nvmeAddress", json!("rds.example.com"), "spec.csi.volumeAttributes")]
#[case("/spec/csi/volumeAttributes/nqn", json!("nqn.x\", traddr=1.2.3.4"), "spec.csi.volumeAttributes")]
#[case("/spec/csi/volumeAttributes/nqn", json!("nqn.2000-02.com.mikrotik:pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"), "spec.csi.volumeAttributes[nqn]")]
#[case("/spec/csi/volumeAttributes/nqn", json!("nqn.2000-02.com.mikrotik:xpvc-bvhguhbpbnhx5gsxb5fgwhjmhy"), "spec.csi.volumeAttributes[nqn]")]
#[case("/spec/csi/volumeHandle", json!("pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa"), "spec.csi.volumeAttributes[nqn]")]
#[case("/spec/csi/fsType", json!("btrfs"), "spec.csi.fsType")]
#[case("/spec/mountOptions", json!(["noatime", "norecovery"]), "spec.mountOptions[1]")]
#[case("/spec/accessModes", json!(["ReadWriteMany"]), "spec.accessModes[0]")]
#[case("/spec/accessModes", json!(["ReadOnlyMany"]), "spec.accessModes[0]")]
#[case("/spec/volumeMode", json!("Blok"), "spec.volumeMode")]
fn a_bad_field_is_named_when_it_comes_and_passed_over_when_it_was_there(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] field: &str,
) {
    let bad = with(pointer, value);
    assert_eq!(judge(&bad, None), [field]);
    assert_eq!(judge(&bad, Some(&volume())), [field]);
    let mut released = bad.clone();
    released["metadata"]["finalizers"] = json!(["kubernetes.io/pv-protection"]);
    assert_eq!(judge(&released, Some(&bad)), [""; 0]);
}

#[test]
fn other_drivers_and_volumes_that_go_pass() {
    let mut bad = with("/spec/accessModes", json!(["ReadWriteMany"]));
    bad["metadata"]["deletionTimestamp"] = json!("2026-11-22T11:04:59Z");
    assert_eq!(judge(&bad, None), [""; 0]);
    let mut foreign = with("/spec/accessModes", json!(["ReadWriteMany"]));
    foreign["spec"]["csi"]["driver"] = json!("ebs.csi.aws.com");
    assert_eq!(judge(&foreign, None), [""; 0]);
    let nfs =
        json!({"spec": {"nfs": {"server": "x", "path": "/"}, "accessModes": ["ReadWriteMany"]}});
    assert_eq!(judge(&nfs, None), [""; 0]);
}

#[test]
fn a_shared_block_volume_passes_whatever_its_filesystem_would_be() {
    let mut block = with("/spec/accessModes", json!(["ReadWriteMany"]));
    block["spec"]["volumeMode"] = json!("Block");
    block["spec"]["csi"]["fsType"] = json!("btrfs");
    assert_eq!(judge(&block, None), [""; 0]);
}

#[test]
fn volumes_of_the_older_driver_pass() {
    let mut old = with(
        "/spec/csi/volumeHandle",
        json!("pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e"),
    );
    old["spec"]["csi"]["volumeAttributes"] = json!({
        "rdsAddress": "10.42.67.1", "nvmeAddress": "10.42.68.1", "nvmePort": "4420",
        "nqn": "nqn.2000-02.com.mikrotik:pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e",
        "volumePath": "/storage-pool/metal-csi", "ctrlLossTmo": "-1", "reconnectDelay": "5",
        "keepAliveTmo": "0", "migrationTimeoutSeconds": "300",
    });
    assert_eq!(judge(&old, None), [""; 0]);
}
