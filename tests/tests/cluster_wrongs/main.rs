//! Who of the product asked the API server for what, held against the roles of the
//! release: nothing was asked for that is not granted, and what is granted was used or has
//! a reason.
//!
//! The audit log is that of the cluster since its start. The name of this program sorts last
//! of the cluster's tests, and cargo runs them in order: it judges what all others brought
//! about, the faults too.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

mod requests;

use std::collections::BTreeSet;
use std::time::Duration;

use rds_csi_core::names::event;
use rds_csi_tests::cluster::claim::{Claim, pod};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::{NAMESPACE, WEBHOOK_SECRET};
use rds_csi_tests::cluster::{Cluster, DEADLINE, cdi, kubevirt};
use rds_csi_tests::wait::until;
use serde_json::json;

use requests::{Request, Right, is_granted, requests, rights};

/// How long something that nobody waits for may take.
const LONG: Duration = Duration::from_secs(300);

/// Rights that this test does not bring about, nor always another, and why they are granted all
/// the same.
const RARE: &[(&str, &str, &str, &str)] = &[
    (
        "rds-csi-driver",
        "volumeattachments.storage.k8s.io",
        "delete",
        "an attachment whose node has not existed for ten minutes and that nobody else deletes",
    ),
    (
        "rds-csi-resizer",
        "events",
        "patch",
        "an event that comes again, such as of a resize that fails twice in the same words",
    ),
];

/// A node loses the device and gets it back, and tells the claim of both.
async fn an_outage(cluster: &Cluster, namespace: &Namespace, name: &str) {
    let pod = namespace.get("pod", name).await.unwrap();
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let node = cluster.node(node).unwrap();
    node.cut_appliance().await.unwrap();
    let lost = namespace.event(name, event::CONNECTION_FAILURE, LONG).await;
    node.restore().await.unwrap();
    lost.unwrap();
    let back = namespace.event(name, event::CONNECTION_RECOVERY, LONG);
    back.await.unwrap();
}

/// A machine with its disk begins to move, and the claim is told.
async fn a_migration(cluster: &Cluster, namespace: &Namespace) {
    kubevirt::install(cluster).await.unwrap();
    let disk = Claim::block("disk").access("ReadWriteMany");
    namespace.apply(&disk.manifest()).await.unwrap();
    namespace.bound("disk").await.unwrap();
    let uid = async |kind: &str, name: &str| {
        let object = namespace.get(kind, name).await.unwrap();
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    namespace
        .apply(&kubevirt::machine("vm", &[&disk]))
        .await
        .unwrap();
    let machine = uid("vmi", "vm").await;
    let machine = ("vm", machine.as_str());
    let source = kubevirt::launcher("source", "node-a", &disk, machine, None);
    namespace.apply(&source).await.unwrap();
    namespace.running("source").await.unwrap();
    let migration = kubevirt::migration("move", "vm", "Scheduling");
    namespace.apply(&migration).await.unwrap();
    let migration = uid("vmim", "move").await;
    let target = kubevirt::launcher("target", "node-b", &disk, machine, Some(&migration));
    namespace.apply(&target).await.unwrap();
    namespace.running("target").await.unwrap();
    let told = namespace.event("disk", event::MIGRATION_STARTED, LONG);
    told.await.unwrap();
    for pod in ["source", "target"] {
        namespace.remove("pod", pod).await.unwrap();
    }
}

/// CDI is there and is told of the classes.
async fn a_profile(cluster: &Cluster) {
    cdi::install(cluster).await.unwrap();
    cluster.install(&json!({})).await.unwrap();
    cdi::make_profile(cluster, "rds-csi-vm").await.unwrap();
    cdi::told(cluster).await.unwrap();
}

/// Another node asks for the volume that the pod uses, and the webhook, which reads the volume
/// and who has it before it refuses anything, refuses.
async fn a_second_node(cluster: &Cluster, namespace: &Namespace, volume: &str) {
    let pod = namespace.get("pod", "life").await.unwrap();
    let mut others = cluster.node_names().into_iter();
    let other = others.find(|name| pod["spec"]["nodeName"] != *name);
    let asked = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
        "metadata": {"name": "wrongs-second"},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": other.unwrap(),
            "source": {"persistentVolumeName": volume}},
    });
    let words = ["create", "--dry-run=server"];
    let refused = namespace.kubectl_with(&words, &asked).await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("has the volume"), "{refused}");
}

/// A volume's whole life, and what goes wrong in it: every program does what it is for.
async fn a_whole_life(cluster: &Cluster, namespace: &Namespace) {
    let claim = Claim::filesystem("life");
    namespace.apply(&claim.manifest()).await.unwrap();
    let volume = namespace.bound("life").await.unwrap();
    namespace.apply(&pod("life", None, &claim)).await.unwrap();
    namespace.running("life").await.unwrap();
    an_outage(cluster, namespace, "life").await;
    a_second_node(cluster, namespace, &volume).await;
    let patch = json!({"spec": {"resources": {"requests": {"storage": "128Mi"}}}}).to_string();
    let grow = ["patch", "pvc", "life", "--patch", &patch];
    namespace.kubectl(&grow).await.unwrap();
    until("the claim has grown", LONG, async || {
        let claim = namespace.get("pvc", "life").await?;
        Ok((claim["status"]["capacity"]["storage"] == "128Mi").then_some(()))
    })
    .await
    .unwrap();
    // Refused twice in the same words, which is one event that counts.
    let huge = Claim::filesystem("huge").size("4Ti").manifest();
    namespace.apply(&huge).await.unwrap();
    until("a second attempt was refused", LONG, async || {
        let events = cluster
            .get(&["events", "--namespace", namespace.name()])
            .await?;
        let mut all = events["items"].as_array().into_iter().flatten();
        let again = all.any(|event| {
            event["reason"] == "ProvisioningFailed" && event["count"].as_u64() > Some(1)
        });
        Ok(again.then_some(()))
    })
    .await
    .unwrap();
    namespace.remove("pod", "life").await.unwrap();
    namespace.remove("pvc", "life").await.unwrap();
    let volume = format!("pv/{volume}");
    let gone = ["wait", "--for=delete", &volume, "--timeout=170s"];
    cluster.kubectl(&gone).await.unwrap();
}

async fn a_new_certificate(cluster: &Cluster) {
    let product = Namespace::named(cluster, NAMESPACE);
    cluster.empty_webhook_secret().await.unwrap();
    until("the webhook has filled its Secret", DEADLINE, async || {
        let secret = product.get("secret", WEBHOOK_SECRET).await?;
        Ok(secret["data"]["tls.crt"].is_string().then_some(()))
    })
    .await
    .unwrap();
}

/// Waits until the new certificate is in use: a claim that only the webhook refuses is refused.
async fn a_review(namespace: &Namespace) {
    let mut copy = Claim::filesystem("copy").manifest();
    copy["spec"]["dataSource"] = json!({"kind": "PersistentVolumeClaim", "name": "another"});
    until("the webhook refuses", DEADLINE, async || {
        let words = ["create", "--dry-run=server"];
        let refused = namespace.kubectl_with(&words, &copy).await.err();
        let said = refused
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        Ok(said.contains("is invalid: spec.").then_some(()))
    })
    .await
    .unwrap();
}

/// The rights that nobody has used; each of them has a reason.
fn idle(all: &BTreeSet<Request>, rights: &BTreeSet<Right>) -> BTreeSet<String> {
    let used = |right: &&Right| {
        let mut mine = all.iter().filter(|request| request.is_by(&right.role));
        mine.any(|request| request.is_allowed && request.is_within(right))
    };
    let idle: BTreeSet<String> = rights
        .iter()
        .filter(|right| !used(right))
        .map(Right::to_string)
        .collect();
    let rare: BTreeSet<String> = RARE
        .iter()
        .map(|(role, resource, verb, _)| format!("{role}: {verb} {resource}"))
        .collect();
    let without_reason: Vec<_> = idle.difference(&rare).collect();
    assert!(
        without_reason.is_empty(),
        "granted and never used: {without_reason:#?}"
    );
    let granted: BTreeSet<String> = rights.iter().map(Right::to_string).collect();
    assert!(rare.is_subset(&granted), "reasons for nothing: {rare:?}");
    idle
}

#[tokio::test]
async fn every_right_is_used_or_has_a_reason_and_nothing_else_was_ever_asked_for() {
    let cluster = Cluster::whole().await.unwrap();
    let namespace = Namespace::new(&cluster, "wrongs").await.unwrap();
    let mut log = cluster.audit();
    let mut all = requests(&mut log).unwrap();
    a_profile(&cluster).await;
    a_new_certificate(&cluster).await;
    a_whole_life(&cluster, &namespace).await;
    a_migration(&cluster, &namespace).await;
    a_review(&namespace).await;
    let recent = requests(&mut log).unwrap();
    let rights = rights(&cluster).await;

    // Refused requests of earlier tests may be of pods that outlived their roles, at an
    // uninstallation or a change of mode; what they asked for is granted all the same.
    all.extend(recent.iter().cloned());
    let beyond: Vec<_> = all
        .iter()
        .filter(|request| !is_granted(request, &rights))
        .collect();
    assert!(beyond.is_empty(), "asked for and not granted: {beyond:#?}");
    let refused: Vec<_> = recent
        .iter()
        .filter(|request| !request.is_allowed)
        .collect();
    assert!(refused.is_empty(), "granted and refused: {refused:#?}");

    let idle = idle(&all, &rights);
    println!(
        "{} rights, of which used: {}",
        rights.len(),
        rights.len() - idle.len()
    );
    for (role, resource, verb, reason) in RARE {
        let right = format!("{role}: {verb} {resource}");
        if idle.contains(&right) {
            println!("not used here: {right}: {reason}");
        }
    }
    namespace.delete().await.unwrap();
    cdi::remove(&cluster).await.unwrap();
    cluster.install(&json!({})).await.unwrap();
}
