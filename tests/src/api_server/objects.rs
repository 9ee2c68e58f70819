//! Objects of a cluster as their controllers make them, as small as they are read.

use csi_proto::v1::volume_capability::access_mode::Mode;
use serde_json::{Map, Value, json};

use super::FakeApiServer;
use crate::volume::Volume;

/// The PersistentVolume that external-provisioner makes of a volume, bound to a claim of the
/// namespace `ns`.
pub fn bind(api: &FakeApiServer, volume: &Volume, claim: &str) {
    let mode = match volume.claim.mode {
        Mode::MultiNodeMultiWriter => "ReadWriteMany",
        _ => "ReadWriteOnce",
    };
    let volume_mode = if volume.claim.filesystem.is_some() {
        "Filesystem"
    } else {
        "Block"
    };
    api.put(&json!({
        "kind": "PersistentVolume",
        "metadata": {"name": volume.claim.name},
        "spec": {
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": volume.id(),
                "volumeAttributes": volume.volume.volume_context},
            "accessModes": [mode], "volumeMode": volume_mode,
            "claimRef": {"namespace": "ns", "name": claim},
        },
        "status": {"phase": "Bound"},
    }));
}

/// A VolumeAttachment of a PersistentVolume.
pub fn wish(api: &FakeApiServer, volume: &str, name: &str, node: &str) {
    api.put(&json!({
        "kind": "VolumeAttachment",
        "metadata": {"name": name},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node,
            "source": {"persistentVolumeName": volume}},
    }));
}

/// A node that kubelet was heard of lately, or not, on a machine of its own.
pub fn node(api: &FakeApiServer, name: &str, ready: bool) {
    let ready = if ready { "True" } else { "Unknown" };
    api.put(&json!({
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": machine_info(name)},
    }));
}

/// What kubelet says of the machine of that name, which is not the node's for ever.
#[must_use]
pub fn machine_info(name: &str) -> Value {
    json!({"systemUUID": format!("uuid-{name}"), "machineID": format!("id-{name}"),
        "bootID": "first"})
}

/// A pod of anybody's with a claim of the namespace `ns`, on a node.
pub fn run(api: &FakeApiServer, node: &str, claim: &str) {
    api.put(&json!({
        "kind": "Pod",
        "metadata": {"name": format!("user-{node}"), "namespace": "ns"},
        "spec": {"nodeName": node, "containers": [{"name": "main"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": "Pending"},
    }));
}

/// The pod of a machine with a disk, by its claim, on a node; for a migration, if one is named.
pub fn launch(
    api: &FakeApiServer,
    node: &str,
    (machine, claim): (&str, &str),
    migration: Option<&str>,
) {
    api.put(&json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("virt-launcher-{machine}-{node}"), "namespace": "ns",
            "labels": {"kubevirt.io": "virt-launcher", "kubevirt.io/migrationJobUID": migration},
            "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "controller": true,
                "kind": "VirtualMachineInstance", "name": machine, "uid": format!("{machine}-uid")}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "compute"}],
            "volumes": [{"name": "root", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": "Pending"},
    }));
}

/// A machine of KubeVirt that runs, in the namespace `ns`.
pub fn machine(api: &FakeApiServer, name: &str) {
    api.put(&json!({
        "kind": "VirtualMachineInstance", "apiVersion": "kubevirt.io/v1",
        "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-uid")},
        "status": {"phase": "Running"},
    }));
}

/// Makes an object of the namespace `ns` so many kilobytes larger than what is read of it, as
/// objects in a cluster are: much of each is who wrote which field.
pub fn swell(api: &FakeApiServer, kind: &str, name: &str, kilobytes: usize) {
    // Of 64 bytes each.
    let fields: Map<String, Value> = (0..kilobytes * 16)
        .map(|number| {
            (
                format!("k:{{\"name\":\"field-of-an-object-{number:04}\"}}"),
                json!({"f:value": {}}),
            )
        })
        .collect();
    api.put(&json!({
        "kind": kind,
        "metadata": {"name": name, "namespace": "ns",
            "managedFields": [{"manager": "virt-handler", "operation": "Update",
                "fieldsType": "FieldsV1", "fieldsV1": fields}]},
    }));
}

/// A migration of a machine, in a phase.
pub fn migration(api: &FakeApiServer, name: &str, machine: &str, phase: &str) {
    api.put(&json!({
        "kind": "VirtualMachineInstanceMigration", "apiVersion": "kubevirt.io/v1",
        "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-uid")},
        "spec": {"vmiName": machine},
        "status": {"phase": phase},
    }));
}
