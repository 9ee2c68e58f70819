//! A controller that asks an API server who may have a volume: over the CSI socket on
//! the one side and real HTTP on the other.

use std::collections::BTreeSet;
use std::time::Duration;

use rds_csi_cluster::{Cluster as _, ClusterError, Reader as _};
use rds_csi_core::attachment::NodeIdentity;
use rds_csi_tests::api_server::objects::{bind, run};
pub(crate) use rds_csi_tests::api_server::objects::{node, wish};
use rds_csi_tests::api_server::{FakeApiServer, Fault};
use rds_csi_tests::metrics;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::Code;

use crate::harness::{NAME, PATIENCE, Setup, World, code};
use crate::{leftovers, migration};

const GRANTED: &str = "/metadata/annotations/rds.csi.srvlab.io~1granted-attachments";
const FIRST_USED: &str = "/metadata/annotations/rds.csi.srvlab.io~1first-used";

pub(crate) fn setup(api: &FakeApiServer) -> Setup {
    let setup = Setup {
        api: Some(api.address()),
        ..Setup::default()
    };
    setup.config(|config| config.admin = "127.0.0.1:0".parse().ok())
}

/// What the attacher writes down once it was answered that a node may have the volume.
pub(crate) fn came_true(api: &FakeApiServer, attachment: &str) {
    api.put(
        &json!({"kind": "VolumeAttachment", "metadata": {"name": attachment},
        "status": {"attached": true}}),
    );
}

pub(crate) async fn start() -> (FakeApiServer, World) {
    let api = FakeApiServer::start().await.unwrap();
    let world = setup(&api).connected().await;
    (api, world)
}

/// Provisions a volume, and the PersistentVolume that external-provisioner then makes.
pub(crate) async fn provision(api: &FakeApiServer, world: &World, claim: Claim) -> Volume {
    let volume = world.create(&claim).await.unwrap();
    bind(api, &volume, "data");
    volume
}

fn noted(api: &FakeApiServer, pointer: &str) -> Option<Value> {
    let volume = api.get("persistentvolumes", NAME).unwrap();
    volume.pointer(pointer).cloned()
}

fn pod() -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {
            "containers": [{"volumeMounts": [{"name": "v"}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
        "status": {"phase": "Running", "containerStatuses": [
            {"state": {"running": {"startedAt": "2026-02-02T00:00:00Z"}}}]},
    })
}

pub(crate) async fn page(world: &World, path: &str) -> String {
    metrics::page(world.admin.unwrap(), path).await.unwrap()
}

/// Waits until a page of the admin port has a text.
pub(crate) async fn shows(world: &World, path: &str, text: &str) {
    let found = async || Ok(page(world, path).await.contains(text).then_some(()));
    until(text, PATIENCE, found).await.unwrap();
}

/// Waits until an event has a reason: that one.
pub(crate) async fn is_told(api: &FakeApiServer, reason: &str) -> Value {
    let posted = async || {
        let mut events = api.list("events").into_iter();
        Ok(events.find(|found| found["reason"] == reason))
    };
    until("the claim is told", PATIENCE, posted).await.unwrap()
}

#[tokio::test]
async fn of_two_unanswered_wishes_one_comes_true_though_the_controller_forgets() {
    let (api, mut world) = start().await;
    let volume = provision(&api, &world, Claim::filesystem(NAME, 64, "ext4")).await;
    let unasked = volume.attach(&world.plugin, "node-a").await;
    assert_eq!(code(unasked), Code::NotFound);
    wish(&api, NAME, "va-a", "node-a");
    wish(&api, NAME, "va-b", "node-b");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    world.restart().await;
    let refused = volume.attach(&world.plugin, "node-a").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for part in [
        "node node-b has the volume",
        "kubectl delete volumeattachment va-b",
    ] {
        assert!(refused.message().contains(part), "{refused}");
    }
    node(&api, "node-b", false);
    let refused = volume.attach(&world.plugin, "node-a").await.unwrap_err();
    assert!(
        refused.message().contains("kubectl taint node node-b"),
        "{refused}"
    );
    let kept = volume.detach(&world.plugin, "node-b").await.unwrap_err();
    assert_eq!(kept.code(), Code::Unavailable);
    assert!(
        kept.message().contains("is not ready and may still write"),
        "{kept}"
    );
    node(&api, "node-b", true);
    volume.attach(&world.plugin, "node-b").await.unwrap();
    // Detached is who has no attachment any more, not who was called so.
    for node in ["node-b", "", "a node that never was"] {
        volume.detach(&world.plugin, node).await.unwrap();
    }
    let refused = volume.attach(&world.plugin, "node-a").await;
    assert_eq!(code(refused), Code::FailedPrecondition);
    let deleted = world.delete(volume.id()).await.unwrap_err();
    assert_eq!(deleted.code(), Code::FailedPrecondition);
    assert!(deleted.message().contains("node-a and node-b"), "{deleted}");
    api.delete("volumeattachments", "va-b");
    run(&api, "node-a", "data");
    volume.attach(&world.plugin, "node-a").await.unwrap();
    api.delete("volumeattachments", "va-a");
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}

/// The webhook counts what it lets pass, each object once, and this is compared with that.
#[tokio::test]
async fn an_attachment_is_counted_once_however_often_it_is_asked_for() {
    let (api, mut world) = start().await;
    let volume = provision(&api, &world, Claim::block(NAME, 64)).await;
    let counted = async |world: &World, count: u32| {
        let text = format!("\nrds_csi_attachments_granted_total {count}\n");
        shows(world, "/metrics", &text).await;
    };
    counted(&world, 0).await;
    node(&api, "node-a", true);
    wish(&api, NAME, "va-a", "node-a");
    wish(&api, NAME, "va-b", "node-b");
    for _ in 0..3 {
        volume.attach(&world.plugin, "node-a").await.unwrap();
    }
    let refused = volume.attach(&world.plugin, "node-b").await;
    assert_eq!(code(refused), Code::FailedPrecondition);
    counted(&world, 1).await;
    // The same one again, though its entry is written anew.
    volume.detach(&world.plugin, "node-a").await.unwrap();
    volume.attach(&world.plugin, "node-a").await.unwrap();
    counted(&world, 1).await;
    // One that is made anew is another one.
    api.delete("volumeattachments", "va-a");
    wish(&api, NAME, "va-a", "node-a");
    volume.attach(&world.plugin, "node-a").await.unwrap();
    counted(&world, 2).await;
    world.restart().await;
    volume.attach(&world.plugin, "node-a").await.unwrap();
    counted(&world, 0).await;
    // What came true without this driver's word was granted by another one.
    volume.detach(&world.plugin, "node-a").await.unwrap();
    api.delete("volumeattachments", "va-a");
    came_true(&api, "va-b");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    let granted = noted(&api, GRANTED).unwrap();
    assert!(granted.as_str().unwrap().ends_with("@node-b"), "{granted}");
    counted(&world, 0).await;
}

#[rstest]
#[case("get persistentvolumes", Fault::Status(500))]
#[case("list volumeattachments", Fault::Status(429))]
#[case("list volumeattachments", Fault::Status(403))]
#[case("list volumeattachments", Fault::Status(410))]
#[case("patch persistentvolumes", Fault::Status(503))]
#[case("patch persistentvolumes", Fault::Lost(504))]
#[tokio::test]
async fn an_api_server_that_refuses_gives_nobody_a_volume(
    #[case] call: &str,
    #[case] fault: Fault,
) {
    let (api, world) = start().await;
    let volume = provision(&api, &world, Claim::block(NAME, 64)).await;
    wish(&api, NAME, "va-a", "node-a");
    wish(&api, NAME, "va-b", "node-b");
    node(&api, "node-a", true);
    api.fail(call, fault, u32::MAX);
    let refused = volume.attach(&world.plugin, "node-a").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains(call), "{refused}");
    // To let go the node is asked for, and whether it was the one that had the volume.
    let detached = volume.detach(&world.plugin, "node-a").await;
    if call == "patch persistentvolumes" {
        detached.unwrap();
    } else {
        assert_eq!(code(detached), Code::Unavailable);
    }
    api.fail("get nodes", Fault::Status(500), 1);
    let kept = volume.detach(&world.plugin, "node-a").await.unwrap_err();
    assert_eq!(kept.code(), Code::Unavailable);
    assert!(kept.message().contains("get nodes"), "{kept}");
    api.heal();
    volume.attach(&world.plugin, "node-a").await.unwrap();
    let attachment = api.get("volumeattachments", "va-a").unwrap();
    let uid = attachment["metadata"]["uid"].as_str().unwrap();
    let node = api.get("nodes", "node-a").unwrap();
    let object = node["metadata"]["uid"].as_str().unwrap();
    let identity = NodeIdentity::of("uuid-node-a", "id-node-a", object).unwrap();
    let granted = Value::from(format!("{uid}@node-a/{identity}"));
    assert_eq!(noted(&api, GRANTED), Some(granted));
    let other = volume.attach(&world.plugin, "node-b").await;
    assert_eq!(code(other), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_slow_api_server_still_serves_and_one_that_hangs_is_given_up() {
    let (api, world) = start().await;
    let volume = provision(&api, &world, Claim::block(NAME, 64)).await;
    wish(&api, NAME, "va-a", "node-a");
    api.fail(
        "get persistentvolumes",
        Fault::Slow(Duration::from_secs(2)),
        1,
    );
    volume.attach(&world.plugin, "node-a").await.unwrap();
    api.fail("list volumeattachments", Fault::Hang, 1);
    let refused = volume.attach(&world.plugin, "node-a").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("within 10s"), "{refused}");
    shows(
        &world,
        "/metrics",
        "{call=\"list volumeattachments\",result=\"timeout\"} 1",
    )
    .await;
    volume.attach(&world.plugin, "node-a").await.unwrap();
}

#[tokio::test]
async fn the_first_pod_that_uses_a_filesystem_leaves_a_note_that_the_next_attachment_carries() {
    let (api, world) = start().await;
    let volume = provision(&api, &world, Claim::filesystem(NAME, 64, "ext4")).await;
    wish(&api, NAME, "va-a", "node-a");
    let context = volume.attach(&world.plugin, "node-a").await.unwrap();
    assert_eq!(context.get("firstUsed"), None);
    api.fail("patch persistentvolumes", Fault::Status(500), 1);
    api.cut_watches();
    api.put(&pod());
    let note = async || Ok(noted(&api, FIRST_USED));
    let note = until("the use is noted", PATIENCE, note).await.unwrap();
    let context = volume.attach(&world.plugin, "node-a").await.unwrap();
    assert_eq!(context["firstUsed"], note.as_str().unwrap());
    let key = "rds.csi.srvlab.io/format-override";
    api.put(
        &json!({"kind": "PersistentVolume", "metadata": {"name": NAME,
        "annotations": {key: "restored from tape"}}}),
    );
    let context = volume.attach(&world.plugin, "node-a").await.unwrap();
    assert_eq!(context["formatOverride"], "restored from tape");
}

#[tokio::test]
async fn a_controller_starts_without_an_api_server_and_serves_once_it_is_there() {
    // A port that nobody listens on yet.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let world = Setup {
        api: Some(address),
        ..Setup::default()
    };
    let world = world.config(|config| config.admin = "127.0.0.1:0".parse().ok());
    let world = world.connected().await;
    let volume = world
        .create(&Claim::filesystem(NAME, 64, "ext4"))
        .await
        .unwrap();
    let refused = volume.attach(&world.plugin, "node-a").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("Connection refused"),
        "{refused}"
    );
    shows(&world, "/readyz", "Connection refused").await;
    shows(&world, "/metrics", "rds_csi_cluster_connection_state 0").await;

    let api = FakeApiServer::on(TcpListener::bind(address).await.unwrap()).unwrap();
    provision(&api, &world, Claim::filesystem(NAME, 64, "ext4")).await;
    wish(&api, NAME, "va-a", "node-a");
    volume.attach(&world.plugin, "node-a").await.unwrap();
    shows(&world, "/readyz", "cluster: ok").await;
    shows(&world, "/metrics", "rds_csi_cluster_connection_state 1").await;
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole_and_a_stale_write_is_refused() {
    let api = FakeApiServer::start().await.unwrap();
    for number in 0..1203 {
        let attacher = if number % 3 == 0 {
            "rds.csi.srvlab.io"
        } else {
            "other.example"
        };
        api.put(
            &json!({"kind": "VolumeAttachment", "metadata": {"name": format!("va-{number}")},
            "spec": {"attacher": attacher, "nodeName": "a", "source": {}}}),
        );
    }
    let server = FakeApiServer::client(api.address()).await.unwrap();
    assert_eq!(server.volume_attachments().await.unwrap().len(), 401);

    assert_eq!(server.persistent_volume(NAME).await.unwrap(), None);
    let object = json!({"kind": "PersistentVolume", "metadata": {"name": NAME}, "spec": {}});
    api.put(&object);
    let read = server.persistent_volume(NAME).await.unwrap().unwrap();
    server.annotate(&read, "a", "1").await.unwrap();
    for _ in 0..2 {
        let stale = server.annotate(&read, "a", "2").await.unwrap_err();
        assert!(matches!(stale, ClusterError::Changed { .. }), "{stale}");
        let now = server.persistent_volume(NAME).await.unwrap().unwrap();
        assert_eq!(now.annotations["a"], "1");
        api.put(&object);
    }
    api.delete("persistentvolumes", NAME);
    let gone = server.annotate(&read, "a", "2").await.unwrap_err();
    assert!(matches!(gone, ClusterError::Changed { .. }), "{gone}");
}

/// The chart grants exactly what the table of the port's documentation lists.
#[tokio::test]
async fn what_is_asked_is_what_the_table_of_permissions_says() {
    let (api, world) = leftovers::start().await;
    node(&api, "node-a", true);
    let volume = provision(&api, &world, Claim::filesystem(NAME, 64, "ext4")).await;
    wish(&api, NAME, "va-a", "node-a");
    volume.attach(&world.plugin, "node-a").await.unwrap();
    api.put(&pod());
    let note = async || Ok(noted(&api, FIRST_USED));
    until("the use is noted", PATIENCE, note).await.unwrap();
    shows(&world, "/readyz", "cluster: ok").await;
    volume.detach(&world.plugin, "node-a").await.unwrap();
    api.delete("volumeattachments", "va-a");
    world.delete(volume.id()).await.unwrap();
    leftovers::a_node_vanishes(&api, &world).await;
    api.delete("pods", "ns/user-node-b");
    api.delete("volumeattachments", "va-b");
    migration::machine_moves(&api, &world).await;
    // A controller looks after its lease every other second, and after migrations then.
    let asked = async || {
        let asked = |call: &str| api.requests().iter().any(|found| found.call == call);
        Ok((asked("patch leases") && asked("create events")).then_some(()))
    };
    until(
        "the lease is renewed and an event is posted",
        PATIENCE,
        asked,
    )
    .await
    .unwrap();

    let table = include_str!("../../../driver/cluster/src/lib.rs");
    let mut granted = BTreeSet::new();
    for row in table.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let words = |cell: &str| -> Vec<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        for (verb, resource) in words(cells[2]).iter().zip(words(cells[1]).iter().cycle()) {
            granted.insert(format!("{verb} {resource}"));
        }
    }
    let requests = api.requests();
    let asked: BTreeSet<_> = requests
        .iter()
        .map(|request| request.call.clone())
        .collect();
    assert_eq!(asked, granted);
    let agent = format!(
        "rds-csi-driver/{} (controller of rds.csi.srvlab.io)",
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        requests.iter().all(|request| request.user_agent == agent),
        "{requests:?}"
    );
}
