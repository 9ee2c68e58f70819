//! What pods without rights see of their volumes: owners, parts, and what they may only
//! look at.

use futures::future::join_all;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use serde_json::{Value, json};

use crate::stand::{Stand, mount, pod_at, pod_with, raw, with, write_word};

/// As restricted as a pod can be.
const RESTRICTED: &str = r#"{
    "allowPrivilegeEscalation": false,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"}
}"#;
const USER: u32 = 1000;
const GROUP: u32 = 2000;
/// Writes 1 MiB to a raw device and compares what the device itself gives back.
const RAW: &str = "
    head -c 1048576 /dev/urandom >/tmp/data
    dd if=/tmp/data of=/dev/raw bs=1M conv=fsync,notrunc 2>/dev/null
    dd if=/dev/raw bs=1M count=1 iflag=direct 2>/dev/null | cmp - /tmp/data
    stat -L -c '%u:%g' /dev/raw";

/// A pod that is no root, with a filesystem in several places and a raw device.
fn owner(shared: &Claim, device: &Claim) -> Value {
    let mut owner = pod_at("owner", Some("node-a"), shared, "/data");
    for place in [
        json!({"name": "shared", "mountPath": "/alpha", "subPath": "alpha"}),
        json!({"name": "shared", "mountPath": "/beta", "subPath": "beta/deep"}),
        json!({"name": "shared", "mountPath": "/look", "readOnly": true}),
    ] {
        mount(&mut owner, place);
    }
    let mut owner = with(owner, device, "/dev/raw");
    owner["spec"]["securityContext"] =
        json!({"runAsUser": USER, "runAsGroup": 3000, "runAsNonRoot": true, "fsGroup": GROUP});
    owner["spec"]["containers"][0]["securityContext"] = serde_json::from_str(RESTRICTED).unwrap();
    owner
}

/// A pod that is root and asks for its volumes read-only.
fn reader(shared: &Claim, sealed: &Claim) -> Value {
    let reader = pod_at("reader", Some("node-a"), shared, "/data");
    let mut reader = with(reader, sealed, "/dev/sealed");
    for volume in reader["spec"]["volumes"].as_array_mut().unwrap() {
        volume["persistentVolumeClaim"]["readOnly"] = json!(true);
    }
    reader
}

#[tokio::test]
async fn a_pod_without_rights_owns_its_volumes_and_reads_only_what_it_may() {
    let cluster = Cluster::shared().await.unwrap();
    let [ext4, xfs, _] = cluster.kinds("").await.unwrap();
    let within = &cluster;
    let both = [ext4, xfs].map(|filesystem| async move {
        let stand = Stand::within(within, &format!("work-views-{}", filesystem.name)).await;
        view(&stand, filesystem).await;
        stand.close().await;
    });
    join_all(both).await;
}

async fn view(stand: &Stand, filesystem: Claim) {
    let mut shared = filesystem;
    shared.name = "shared".to_owned();
    let (device, sealed) = (raw("raw"), raw("sealed"));
    let claims = [&shared, &device, &sealed].map(Claim::manifest);
    stand.apply(&claims).await;
    stand.apply(&[owner(&shared, &device)]).await;
    stand.ready(&["owner"]).await;

    assert_owned(stand).await;
    let device = stand.sh("owner", RAW).await;
    assert_eq!(
        device,
        format!("{USER}:3000"),
        "an unprivileged pod's raw device"
    );
    // A raw device is read-only for all pods of a node or for none.
    let writer = pod_with("writer", Some("node-a"), &sealed);
    stand.apply(&[writer]).await;
    stand.ready(&["writer"]).await;
    stand.sh("writer", &write_word(&sealed, "sealed")).await;
    stand.remove(&["pod/writer"]).await;
    stand.apply(&[reader(&shared, &sealed)]).await;
    stand.ready(&["reader"]).await;
    assert_sealed(stand).await;
}

/// fsGroup and subPath, as a user that is not root.
async fn assert_owned(stand: &Stand) {
    let script = "id -u; echo alpha >/alpha/file; echo beta >/beta/file; sync
        cat /data/alpha/file /data/beta/deep/file /look/alpha/file
        ls /alpha /beta; stat -c '%u:%g' /data/alpha/file /beta/file; stat -c %g /data";
    let seen = stand.sh("owner", script).await;
    let owner = format!("{USER}:{GROUP}");
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        [
            "1000", "alpha", "beta", "alpha", "/alpha:", "file", "/beta:", "file", &owner, &owner,
            "2000"
        ]
    );
    refused(
        stand,
        "owner",
        "echo x >/look/alpha/file",
        "Read-only file system",
    )
    .await;
}

/// Claims that a pod takes read-only: the kernel refuses root itself.
async fn assert_sealed(stand: &Stand) {
    assert_eq!(stand.sh("reader", "cat /data/alpha/file").await, "alpha");
    refused(
        stand,
        "reader",
        "echo x >/data/other",
        "Read-only file system",
    )
    .await;
    let read = "dd if=/dev/sealed bs=512 count=1 iflag=direct 2>/dev/null | head -n 1";
    assert_eq!(stand.sh("reader", read).await, "sealed");
    let write = "dd if=/dev/urandom of=/dev/sealed bs=4k count=1 conv=fsync,notrunc";
    refused(stand, "reader", write, "not permitted").await;
    assert_eq!(stand.sh("reader", read).await, "sealed");
    // The pod that may write still does.
    stand.sh("owner", "echo again >/data/again; sync").await;
    assert_eq!(stand.sh("reader", "cat /data/again").await, "again");
}

/// Something that a pod must not be able to do.
async fn refused(stand: &Stand, pod: &str, script: &str, words: &str) {
    let script = format!("if ({script}) 2>&1; then echo ALLOWED; fi");
    let said = stand.sh(pod, &script).await;
    assert!(!said.contains("ALLOWED") && said.contains(words), "{said}");
}
