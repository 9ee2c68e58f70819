//! KubeVirt, as far as the attachment rules see it: two kinds, and the pods of machines.
//! KubeVirt itself does not run: what it would make, tests make.

use serde_json::{Value, json};

use super::Cluster;
use super::claim::{Claim, pod};

/// The two kinds that the rules read, by schemas that take everything.
///
/// # Errors
/// The API refused them, or does not serve them in time.
pub async fn install(cluster: &Cluster) -> anyhow::Result<()> {
    let kind = |kind: &str, plural: &str, short: &str| {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = |name: &str| {
            json!({
                "name": name, "served": true, "storage": name == "v1",
                "schema": {"openAPIV3Schema": anything},
            })
        };
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.kubevirt.io")},
            "spec": {
                "group": "kubevirt.io",
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "shortNames": [short],
                    "singular": kind.to_lowercase()},
                "versions": [version("v1"), version("v1alpha3")],
            },
        })
    };
    let kinds = [
        kind("VirtualMachineInstance", "virtualmachineinstances", "vmi"),
        kind(
            "VirtualMachineInstanceMigration",
            "virtualmachineinstancemigrations",
            "vmim",
        ),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": kinds});
    cluster.apply(&list.to_string()).await?;
    for plural in [
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ] {
        let name = format!("crd/{plural}.kubevirt.io");
        let words = [
            "wait",
            "--for=condition=Established",
            &name,
            "--timeout=60s",
        ];
        cluster.kubectl(&words).await?;
    }
    Ok(())
}

/// A machine that runs, with disks on claims that they are named after.
#[must_use]
pub fn machine(name: &str, claims: &[&Claim]) -> Value {
    let disk = |claim: &&Claim| json!({"name": claim.name, "persistentVolumeClaim": {"claimName": claim.name}});
    let volumes: Vec<Value> = claims.iter().map(disk).collect();
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name},
        "spec": {"volumes": volumes},
        "status": {"phase": "Running"},
    })
}

/// A migration of a machine, in a phase.
#[must_use]
pub fn migration(name: &str, machine: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": name},
        "spec": {"vmiName": machine},
        "status": {"phase": phase},
    })
}

/// A migration that KubeVirt asks for as a node is emptied, which has not begun.
#[must_use]
pub fn evacuation(name: &str, machine: &str, node: &str) -> Value {
    let mut evacuation = migration(name, machine, "Pending");
    evacuation["metadata"]["annotations"] = json!({"kubevirt.io/evacuationMigration": node});
    evacuation
}

/// The pod of a machine, by the machine's name and UID, on a node; for the migration of
/// that UID, if one is named.
#[must_use]
pub fn launcher(
    name: &str,
    node: &str,
    claim: &Claim,
    machine: (&str, &str),
    migration: Option<&str>,
) -> Value {
    let mut pod = pod(name, Some(node), claim);
    let (machine, uid) = machine;
    pod["metadata"]["labels"] = json!({"kubevirt.io": "virt-launcher"});
    // One that has ended stays, until its machine goes.
    pod["spec"]["restartPolicy"] = json!("Never");
    if let Some(migration) = migration {
        pod["metadata"]["labels"]["kubevirt.io/migrationJobUID"] = json!(migration);
    }
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "name": machine, "uid": uid, "controller": true, "blockOwnerDeletion": true,
    }]);
    pod
}
