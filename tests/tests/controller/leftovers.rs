//! A node is removed from the cluster, and what it had is still attached to it: the controller
//! asks for it back after a while, which is shorter here.

use std::time::Duration;

use rds_csi_cluster::{Clearing as _, ClusterError};
use rds_csi_core::attachment::leftovers::Pace;
use rds_csi_core::names::event;
use rds_csi_tests::api_server::objects::run;
use rds_csi_tests::api_server::{FakeApiServer, Fault};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::cluster::{is_told, node, provision, setup, shows, wish};
use crate::harness::{NAME, PATIENCE, World};

/// For how long a node must have been away here.
pub(crate) const AGE: Duration = Duration::from_secs(1);

/// A shorter one than in real clusters.
pub(crate) fn pace() -> Pace {
    Pace {
        look: Duration::from_millis(100),
        age: AGE,
        gap: PATIENCE,
    }
}

/// A controller that is less patient.
pub(crate) async fn start() -> (FakeApiServer, World) {
    let api = FakeApiServer::start().await.unwrap();
    let setup = setup(&api).config(|config| {
        config.admin = "127.0.0.1:0".parse().ok();
        config.leftovers = pace();
    });
    let world = setup.connected().await;
    (api, world)
}

/// Attached, as external-attacher says it and holds it.
fn held(api: &FakeApiServer, name: &str) {
    api.put(&json!({
        "kind": "VolumeAttachment",
        "metadata": {"name": name, "finalizers": ["external-attacher/rds-csi-srvlab-io"]},
        "status": {"attached": true},
    }));
}

/// A volume that `node-a` has, which then goes away, and that `node-b` wants.
pub(crate) async fn left(api: &FakeApiServer, world: &World) -> Volume {
    for name in ["node-a", "node-b"] {
        node(api, name, true);
    }
    let volume = provision(api, world, Claim::block(NAME, 64)).await;
    wish(api, NAME, "va-a", "node-a");
    volume.attach(&world.plugin, "node-a").await.unwrap();
    held(api, "va-a");
    wish(api, NAME, "va-b", "node-b");
    api.delete("nodes", "node-a");
    volume
}

fn is_leaving(api: &FakeApiServer, name: &str) -> bool {
    let found = api.get("volumeattachments", name).unwrap();
    found.pointer("/metadata/deletionTimestamp").is_some()
}

pub(crate) async fn cleared(api: &FakeApiServer) {
    let leaving = async || Ok(is_leaving(api, "va-a").then_some(()));
    until("va-a is asked to leave", PATIENCE, leaving)
        .await
        .unwrap();
}

/// The events that say so.
pub(crate) fn told(api: &FakeApiServer) -> Vec<Value> {
    let mut events = api.list("events");
    events.retain(|found| found["reason"] == event::STALE_ATTACHMENT_CLEARED);
    events
}

async fn told_once(api: &FakeApiServer) -> Value {
    let posted = async || Ok(told(api).pop());
    let event = until("the claim is told", PATIENCE, posted).await.unwrap();
    sleep(AGE).await;
    assert_eq!(told(api).len(), 1);
    event
}

/// A node is removed, and its volume goes to another.
pub(crate) async fn a_node_vanishes(api: &FakeApiServer, world: &World) {
    let began = Instant::now();
    let volume = left(api, world).await;
    let refused = volume.attach(&world.plugin, "node-b").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    cleared(api).await;
    assert!(began.elapsed() >= AGE);
    assert!(!is_leaving(api, "va-b"));
    // What external-attacher does with one that leaves.
    volume.detach(&world.plugin, "node-a").await.unwrap();
    api.delete("volumeattachments", "va-a");
    run(api, "node-b", "data");
    volume.attach(&world.plugin, "node-b").await.unwrap();
}

#[tokio::test]
async fn a_volume_of_a_vanished_node_goes_to_another_and_its_claim_is_told() {
    let (api, world) = start().await;
    a_node_vanishes(&api, &world).await;
    let event = told_once(&api).await;
    assert_eq!(event["regarding"]["name"], "data");
    assert_eq!(event["regarding"]["namespace"], "ns");
    assert_eq!(event["type"], "Warning");
    let note = event["note"].as_str().unwrap();
    for part in ["va-a was deleted", "no node node-a since 2", "switch off"] {
        assert!(note.contains(part), "{part} not in {note}");
    }
    shows(
        &world,
        "/metrics",
        "rds_csi_attachment_stale_cleared_total 1\n",
    )
    .await;
    shows(&world, "/metrics", "rds_csi_attachment_stale 0\n").await;
}

/// While something cannot be read or done nothing is cleared, and once it can be it is.
#[rstest]
#[case("list volumeattachments", Fault::Status(500))]
#[case("list nodes", Fault::Status(403))]
#[case("list nodes", Fault::Status(404))]
#[case("get persistentvolumes", Fault::Status(503))]
#[case("list pods", Fault::Status(500))]
#[case("list pods", Fault::Slow(Duration::from_secs(60)))]
#[case("delete volumeattachments", Fault::Status(429))]
#[tokio::test]
async fn what_cannot_be_read_clears_nothing(#[case] call: &str, #[case] fault: Fault) {
    let (api, world) = start().await;
    left(&api, &world).await;
    api.fail(call, fault, u32::MAX);
    sleep(4 * AGE).await;
    assert!(!is_leaving(&api, "va-a"));
    assert_eq!(told(&api), [] as [Value; 0]);
    api.heal();
    cleared(&api).await;
    told_once(&api).await;
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_is_told_once() {
    let (api, world) = start().await;
    api.fail("delete volumeattachments", Fault::Lost(504), 1);
    left(&api, &world).await;
    cleared(&api).await;
    told_once(&api).await;
}

#[tokio::test]
async fn a_pod_of_the_claim_that_stands_there_keeps_it() {
    let (api, world) = start().await;
    left(&api, &world).await;
    api.put(&json!({
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "ns",
            "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "node-a",
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": {"phase": "Failed"},
    }));
    let stays = is_told(&api, event::STALE_ATTACHMENT_STAYS).await;
    let note = stays["note"].as_str().unwrap();
    assert!(note.contains("kubectl describe pod -n ns web"), "{note}");
    assert!(!is_leaving(&api, "va-a"));
    shows(&world, "/metrics", "rds_csi_attachment_stale 1\n").await;
    api.delete("pods", "ns/web");
    cleared(&api).await;
}

#[tokio::test]
async fn one_whose_volume_is_gone_is_cleared_without_anybody_to_tell() {
    let (api, world) = start().await;
    left(&api, &world).await;
    api.delete("persistentvolumes", NAME);
    cleared(&api).await;
    shows(
        &world,
        "/metrics",
        "{reason=\"StaleAttachmentCleared\",result=\"ok\"} 1",
    )
    .await;
    assert_eq!(told(&api), [] as [Value; 0]);
}

#[tokio::test]
async fn only_what_was_read_is_deleted() {
    let api = FakeApiServer::start().await.unwrap();
    let server = FakeApiServer::client(api.address()).await.unwrap();
    let read = async || server.read_attachments().await.unwrap().remove(0);
    wish(&api, NAME, "va-a", "node-a");
    let old = read().await;

    held(&api, "va-a");
    let newer = read().await;
    assert_eq!(old.attachment.uid, newer.attachment.uid);
    api.delete("volumeattachments", "va-a");
    wish(&api, NAME, "va-a", "node-a");
    let other = read().await;
    let of_its_version = rds_csi_cluster::ReadAttachment {
        resource_version: other.resource_version.clone(),
        ..newer.clone()
    };
    let of_its_uid = rds_csi_cluster::ReadAttachment {
        resource_version: newer.resource_version.clone(),
        ..other.clone()
    };
    for stale in [&old, &newer, &of_its_version, &of_its_uid] {
        let refused = server.clear(stale).await.unwrap_err();
        assert!(matches!(refused, ClusterError::Changed { .. }), "{refused}");
        assert_eq!(read().await, other);
    }
    server.clear(&other).await.unwrap();
    assert_eq!(api.get("volumeattachments", "va-a"), None);
    let gone = server.clear(&other).await.unwrap_err();
    assert!(matches!(gone, ClusterError::Changed { .. }), "{gone}");
}

#[tokio::test]
async fn every_node_and_every_pod_of_one_is_found_page_by_page() {
    let api = FakeApiServer::start().await.unwrap();
    for number in 0..120 {
        let name = format!("node-{number}");
        node(&api, &name, number % 2 == 0);
        for (namespace, at) in [("a", "node-7"), ("b", "node-7"), ("b", "node-8")] {
            api.put(&json!({"kind": "Pod",
                "metadata": {"name": format!("{at}-{name}"), "namespace": namespace},
                "spec": {"nodeName": at}}));
        }
    }
    let server = FakeApiServer::client(api.address()).await.unwrap();
    assert_eq!(server.node_names().await.unwrap().len(), 120);
    assert_eq!(server.pods_on("node-7").await.unwrap().len(), 240);
}
