//! What a node asks an API server, over real HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

use std::collections::BTreeSet;

use rds_csi_cluster::{Held, NodeApiServer, NodeCluster as _, Notice, Severity};
use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::names::{DriverName, event};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::api_server::{FakeApiServer, Fault};
use serde_json::json;

const NODE: &str = "node-a";

fn volume() -> VolumeId {
    "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap()
}

async fn start() -> (FakeApiServer, NodeApiServer) {
    let api = FakeApiServer::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, FakeApiServer::kubeconfig(api.address())).unwrap();
    let node = NodeApiServer::new(Some(&path), &DriverName::default(), NODE).await;
    (api, node.unwrap())
}

fn attach(api: &FakeApiServer) {
    let name = attachment_name(&volume(), &DriverName::default(), NODE);
    api.put(&json!({
        "kind": "VolumeAttachment", "metadata": {"name": name},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": NODE,
            "source": {"persistentVolumeName": "pv-1"}},
        "status": {"attached": true},
    }));
}

fn bind(api: &FakeApiServer) {
    api.put(&json!({
        "kind": "PersistentVolume", "metadata": {"name": "pv-1"},
        "spec": {"claimRef": {"namespace": "vms", "name": "disk", "uid": "u-1"},
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": volume().as_str()}},
        "status": {"phase": "Bound"},
    }));
}

fn notice() -> Notice {
    Notice {
        severity: Severity::Warning,
        reason: event::CONNECTION_FAILURE,
        message: "ä".repeat(1000),
    }
}

fn nqn(epoch: &str) -> Nqn {
    format!("nqn.2000-02.com.mikrotik:{epoch}{}", volume())
        .parse()
        .unwrap()
}

#[tokio::test]
async fn an_attachment_is_asked_for_by_name_and_an_error_is_no_absence() {
    let (api, node) = start().await;
    assert_eq!(node.attachment(&volume()).await.unwrap(), None);
    attach(&api);
    let found = node.attachment(&volume()).await.unwrap().unwrap();
    let attachment = &found.attachment;
    assert_eq!(
        (attachment.node.as_str(), attachment.leaving),
        (NODE, false)
    );
    let (made, renewed) = (nqn(""), nqn("epoch-0123456789ab:"));
    let is_of = |held: &Held| {
        (
            held.is_of(&volume(), &made),
            held.is_of(&volume(), &renewed),
        )
    };
    assert_eq!(is_of(&found), (true, false));
    let name = &attachment.name;
    api.put(
        &json!({"kind": "VolumeAttachment", "metadata": {"name": name},
        "status": {"attachmentMetadata": {"nqn": renewed.as_str()}}}),
    );
    let found = node.attachment(&volume()).await.unwrap().unwrap();
    assert_eq!(is_of(&found), (false, true));
    api.put(&json!({"kind": "VolumeAttachment",
        "metadata": {"name": name, "deletionTimestamp": "2026-02-02T00:00:00Z"}}));
    let found = node.attachment(&volume()).await.unwrap().unwrap();
    assert!(found.attachment.leaving);
    for fault in [Fault::Status(403), Fault::Status(500), Fault::Status(429)] {
        api.fail("get volumeattachments", fault, 1);
        node.attachment(&volume()).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_event_is_posted_on_the_claim_in_its_namespace() {
    let (api, node) = start().await;
    // Nobody to tell.
    node.post(&volume(), &notice()).await.unwrap();
    attach(&api);
    node.post(&volume(), &notice()).await.unwrap();
    bind(&api);
    for _ in 0..2 {
        node.post(&volume(), &notice()).await.unwrap();
    }
    let events = api.list("events");
    assert_eq!(events.len(), 2, "each says something new: {events:?}");
    // Nobody but its user is to be told that it was taken from this node.
    let name = attachment_name(&volume(), &DriverName::default(), NODE);
    api.delete("volumeattachments", &name);
    node.post(&volume(), &notice()).await.unwrap();
    let events = api.list("events");
    assert_eq!(events.len(), 3, "{events:?}");
    for event in events {
        assert_eq!(event["metadata"]["namespace"], "vms");
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["reason"], event::CONNECTION_FAILURE);
        assert_eq!(event["reportingInstance"], NODE);
        let regarding = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": "vms", "name": "disk", "uid": "u-1"});
        assert_eq!(event["regarding"], regarding);
        let note = event["note"].as_str().unwrap();
        assert!(note.len() <= 1024 && note.len() > 1000, "{}", note.len());
    }
    api.fail("create events", Fault::Status(403), 1);
    node.post(&volume(), &notice()).await.unwrap_err();
    let asked: BTreeSet<String> = api.requests().into_iter().map(|asked| asked.call).collect();
    assert_eq!(asked, granted());
}

/// The table of the port's documentation, which the chart grants.
fn granted() -> BTreeSet<String> {
    let table = include_str!("../../driver/cluster/src/node.rs");
    let rows = table.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cell = |cells: &[&str], number: usize| {
        let cell = cells.get(number).and_then(|cell| cell.split('`').nth(1));
        cell.map(str::to_owned)
    };
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        Some(format!("{} {}", cell(&cells, 2)?, cell(&cells, 1)?))
    })
    .collect()
}
