//! What the claim of a machine's disk is told, by events, of refusals and of migrations.

use rds_csi_core::names::event;
use rds_csi_tests::api_server::{FakeApiServer, Fault};
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::cluster::{came_true, is_told, setup, shows, start, wish};
use crate::harness::PATIENCE;
use crate::migration::{NAME, disk, launcher, migration, refused, running, running_on};

/// What was told with this reason, in the order of the alphabet.
fn told(api: &FakeApiServer, reason: &str) -> Vec<String> {
    let events = api.list("events").into_iter();
    let of_it = events.filter(|event| event["reason"] == reason);
    let note = |event: serde_json::Value| event["note"].as_str().unwrap().to_owned();
    let mut told: Vec<String> = of_it.map(note).collect();
    told.sort();
    told
}

/// Waits until something was told so often. Events come in the order in which they are put, so
/// one that would be too many is there by the time a later one is.
async fn hears(api: &FakeApiServer, reason: &str, count: usize) -> Vec<String> {
    let what = format!("{reason} is told {count} times");
    let heard = until(&what, PATIENCE, async || {
        let told = told(api, reason);
        Ok((told.len() >= count).then_some(told))
    });
    let told = heard.await.unwrap();
    assert_eq!(told.len(), count, "{told:?}");
    told
}

/// It stands in the StorageClass, and is read from the PersistentVolume.
#[tokio::test]
async fn a_claim_hears_of_a_migration_that_takes_longer_than_its_class_says() {
    let api = FakeApiServer::start().await.unwrap();
    // Whoever leads first then comes into the middle of it, and goes by the attachments' age.
    api.fail("get leases", Fault::Status(503), u32::MAX);
    let world = setup(&api).connected().await;
    let claim = disk().parameter("migrationTimeoutSeconds", "30");
    let volume = running_on(&api, &world, claim).await;
    wish(&api, NAME, "va-b", "node-b");
    launcher(&api, "node-b", "vm", Some("move-uid"));
    migration(&api, "move", "vm", "Running");
    volume.attach(&world.plugin, "node-b").await.unwrap();
    for (name, made) in [
        ("va-a", "2020-01-01T00:00:00Z"),
        ("va-b", "2020-01-02T00:00:00Z"),
    ] {
        api.put(&json!({"kind": "VolumeAttachment",
            "metadata": {"name": name, "creationTimestamp": made},
            "status": {"attached": true}}));
    }
    api.heal();
    let told = is_told(&api, event::MIGRATION_TAKES_LONG).await;
    let claim = (&told["regarding"]["namespace"], &told["regarding"]["name"]);
    assert_eq!(claim, (&json!("ns"), &json!("data")));
    assert_eq!(told["type"], "Warning");
    let note = told["note"].as_str().unwrap();
    for part in [
        "migration ns/move from node-a to node-b has taken ",
        "nothing is done about it",
        "kubectl describe vmim -n ns move",
    ] {
        assert!(note.contains(part), "{part} not in {note}");
    }
    let counted = "rds_csi_migration_migrations_total{result=\"long\"} 1\n";
    shows(&world, "/metrics", counted).await;
}

/// Both are by one rule, about one node.
#[tokio::test]
async fn a_claim_hears_each_reason_of_a_refusal_once() {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    wish(&api, NAME, "va-b", "node-b");
    for _ in 0..2 {
        refused(&world, &volume, "node-b").await;
    }
    launcher(&api, "node-b", "vm", Some("move-uid"));
    for _ in 0..2 {
        refused(&world, &volume, "node-b").await;
    }
    api.delete("pods", "ns/virt-launcher-vm-node-b");
    refused(&world, &volume, "node-b").await;
    let counted = "rds_csi_attachment_conflicts_total{rule=\"same-machine\"} 5\n";
    shows(&world, "/metrics", counted).await;
    // Whatever was told before is posted by the time this is.
    wish(&api, NAME, "va-c", "node-c");
    refused(&world, &volume, "node-c").await;
    let told = hears(&api, event::ATTACHMENT_CONFLICT, 3).await;
    assert!(told.iter().any(|told| told.contains("node-c")), "{told:?}");
    for reason in [
        "its migration move-uid exists no more",
        "no pod on node node-b asks for it",
    ] {
        let found = told.iter().any(|told| told.contains(reason));
        assert!(found, "{reason} not in {told:?}");
    }
}

/// It goes back before its first node has let go, which never does then; and it is stopped as soon
/// as it has moved for the third time.
#[tokio::test]
async fn a_claim_hears_that_its_machine_has_arrived_though_no_node_is_left_by_it() {
    let (api, world) = start().await;
    let volume = running(&api, &world).await;
    came_true(&api, "va-a");
    let arrives = async |name: &str, node: &str, wished: &str| {
        migration(&api, name, "vm", "Running");
        launcher(&api, node, "vm", Some(&format!("{name}-uid")));
        wish(&api, NAME, wished, node);
        volume.attach(&world.plugin, node).await.unwrap();
        came_true(&api, wished);
    };
    let ends = |node: &str| api.delete("pods", &format!("ns/virt-launcher-vm-{node}"));
    let lets_go = async |node: &str, wished: &str| {
        volume.detach(&world.plugin, node).await.unwrap();
        api.delete("volumeattachments", wished);
    };
    let active = "rds_csi_migration_active_migrations 1\n";

    arrives("first", "node-b", "va-b").await;
    shows(&world, "/metrics", active).await;
    migration(&api, "first", "vm", "Succeeded");
    ends("node-a");
    arrives("second", "node-a", "va-a").await;
    let told = hears(&api, event::MIGRATION_COMPLETED, 1).await;
    let words = "on node-b from node-a with migration ns/first";
    assert!(told[0].contains(words), "{told:?}");

    migration(&api, "second", "vm", "Succeeded");
    ends("node-b");
    lets_go("node-b", "va-b").await;
    let told = hears(&api, event::MIGRATION_COMPLETED, 2).await;
    let words = "on node-a from node-b with migration ns/second";
    assert!(told.iter().any(|told| told.contains(words)), "{told:?}");

    arrives("third", "node-b", "va-b").await;
    shows(&world, "/metrics", active).await;
    migration(&api, "third", "vm", "Succeeded");
    for (node, wished) in [("node-a", "va-a"), ("node-b", "va-b")] {
        ends(node);
        lets_go(node, wished).await;
    }
    hears(&api, event::MIGRATION_COMPLETED, 3).await;
    hears(&api, event::MIGRATION_FAILED, 0).await;
    let started = self::told(&api, event::MIGRATION_STARTED);
    for name in ["second", "third"] {
        let of_it = format!("nodes node-a and node-b have the volume for migration ns/{name}");
        let both = [of_it.clone(), of_it.replace("a and node-b", "b and node-a")];
        let is_it = |told: &&String| both.contains(told);
        assert_eq!(started.iter().filter(is_it).count(), 1, "{started:?}");
    }
}
