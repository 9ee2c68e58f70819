//! A cluster for the webhook to list and to watch, with what such objects usually carry.

use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects::{launch, machine, migration, swell};
use serde_json::{Value, json};

/// How many nodes the pods are spread over.
const NODES: usize = 50;
/// How many namespaces.
const NAMESPACES: usize = 20;

/// How much there is of everything.
pub(crate) struct Size {
    pub(crate) classes: usize,
    pub(crate) pods: usize,
    /// Claims, each with its PersistentVolume and a pod that uses it.
    pub(crate) claims: usize,
    /// Attachments, of the first volumes.
    pub(crate) attachments: usize,
}

pub(crate) fn fill(api: &FakeApiServer, size: &Size) {
    for number in 0..NODES {
        api.put(&json!({
            "kind": "Node", "metadata": {"name": node(number)},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }));
    }
    (0..size.classes).for_each(|number| api.put(&class(number)));
    for number in 0..size.claims {
        api.put(&volume(number));
    }
    for number in 0..size.attachments {
        api.put(&attachment(number, &node(number)));
    }
    for number in 0..size.pods {
        api.put(&pod(number, number < size.claims));
    }
}

/// The class of that number.
pub(crate) fn class(number: usize) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": format!("class-{number}"),
            "labels": {"app.kubernetes.io/managed-by": "Helm", "team": format!("team-{number}")},
        },
        "provisioner": "rds.csi.srvlab.io",
        "parameters": {"csi.storage.k8s.io/fstype": "xfs", "nvmeAddress": "10.0.1.2"},
        "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
    })
}

/// The node of the pod of that number.
pub(crate) fn node(number: usize) -> String {
    format!("node-{}", number % NODES)
}

fn namespace(number: usize) -> String {
    format!("team-{}", number % NAMESPACES)
}

fn volume(number: usize) -> Value {
    // 26 letters of base32 are 130 bits, and a volume's id has 128: the last two are zero.
    let digits = format!("{number:025}0").into_bytes();
    let letters = digits.into_iter().map(|digit| digit - b'0' + b'a');
    let letters: String = letters.map(char::from).collect();
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": format!("pv-{number}"),
            "annotations": {"pv.kubernetes.io/provisioned-by": "rds.csi.srvlab.io"},
            "finalizers": ["kubernetes.io/pv-protection", "external-attacher/rds-csi-srvlab-io"],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "20Gi"},
            "claimRef": {"namespace": namespace(number), "name": format!("claim-{number}"),
                "uid": format!("8eddff48-16e0-4664-902d-{number:012}")},
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": format!("pvc-{letters}"),
                "fsType": "ext4", "volumeAttributes": {"nvmeAddress": "10.0.1.2",
                    "nvmePort": "4420", "nqn": format!("nqn.2000-02.com.mikrotik:pvc-{letters}")}},
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "class-1",
        },
        "status": {"phase": "Bound"},
    })
}

/// A volume's attachment to a node.
pub(crate) fn attachment(number: usize, node: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
        "metadata": {"name": format!("csi-{number:064x}"),
            "finalizers": ["external-attacher/rds-csi-srvlab-io"]},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node,
            "source": {"persistentVolumeName": format!("pv-{number}")}},
        "status": {"attached": true},
    })
}

/// A machine on one node that moves to the next, with its disk: another volume than those that
/// are counted in [`Size`].
pub(crate) fn moving(api: &FakeApiServer, number: usize) {
    let (name, claim) = (format!("vm-{number}"), format!("claim-{number}"));
    let mut disk = volume(number);
    disk["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    disk["spec"]["volumeMode"] = json!("Block");
    disk["spec"]["claimRef"]["namespace"] = json!("ns");
    api.put(&disk);
    api.put(&attachment(number, &node(number)));
    machine(api, &name);
    migration(api, &format!("move-{number}"), &name, "Scheduling");
    let job = format!("move-{number}-uid");
    launch(api, &node(number), (&name, &claim), None);
    launch(api, &node(number + 1), (&name, &claim), Some(&job));
    for (kind, name, kilobytes) in [
        ("VirtualMachineInstance", &name, 20),
        (
            "VirtualMachineInstanceMigration",
            &format!("move-{number}"),
            2,
        ),
    ] {
        swell(api, kind, name, kilobytes);
    }
}

/// A pod, of some 10 kB as pods are; with a claim or without.
fn pod(number: usize, with_claim: bool) -> Value {
    let environment: Vec<_> = (0..60)
        .map(|index| {
            let address = format!("service-{index}.team-{index}.svc.cluster.local:8080");
            json!({"name": format!("SERVICE_{index}_ADDRESS"), "value": address})
        })
        .collect();
    let mut volumes = vec![json!({"name": "config", "configMap": {"name": "config"}})];
    if with_claim {
        let claim = json!({"claimName": format!("claim-{number}")});
        volumes.push(json!({"name": "data", "persistentVolumeClaim": claim}));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("app-{number}"), "namespace": namespace(number),
            "labels": {"app": "app", "pod-template-hash": "6d4cf56db6"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": "app-6d4cf56db6", "controller": true,
                "uid": format!("7c1dff48-16e0-4664-902d-{number:012}")}],
        },
        "spec": {
            "nodeName": node(number), "volumes": volumes,
            "containers": [{"name": "app", "image": "registry.example/app:1.2.3",
                "env": environment, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        },
        "status": {"phase": "Running", "podIP": "10.244.1.7", "containerStatuses": [
            {"name": "app", "ready": true, "state": {"running": {"startedAt": "2026-11-22T11:10:02Z"}}}]},
    })
}
