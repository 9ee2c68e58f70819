//! A node that asks a cluster whose its volumes are, over real HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::names::{DriverName, event};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::plugin::NodeProcess;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use serde_json::json;
use tokio::net::TcpListener;

use crate::cluster::{Cluster, DEADLINE};
use crate::faults::device::is_normal;
use crate::pod::Pod;

/// Several attempts of the engine.
const ATTEMPTS: Duration = Duration::from_secs(15);

fn attachment(volume: &Volume, node: &str) -> String {
    let id: VolumeId = volume.id().parse().unwrap();
    attachment_name(&id, &DriverName::default(), node)
}

/// The volume is bound to a claim of its name, and attached to the node.
fn attach(api: &FakeApiServer, volume: &Volume, node: &str) {
    let name = &volume.claim.name;
    api.put(&json!({
        "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"claimRef": {"namespace": "vms", "name": name, "uid": name},
            "csi": {"driver": "rds.csi.srvlab.io", "volumeHandle": volume.id()}},
        "status": {"phase": "Bound"},
    }));
    api.put(&json!({
        "kind": "VolumeAttachment", "metadata": {"name": attachment(volume, node)},
        "spec": {"attacher": "rds.csi.srvlab.io", "nodeName": node,
            "source": {"persistentVolumeName": name}},
        "status": {"attached": true},
    }));
}

/// The events on a volume's claim: reasons with their words.
fn told(api: &FakeApiServer, volume: &Volume) -> Vec<String> {
    let mut events = api.list("events");
    events.retain(|event| event["regarding"]["name"] == json!(volume.claim.name));
    let words = |event: &serde_json::Value| format!("{}: {}", event["reason"], event["note"]);
    events.iter().map(words).collect()
}

async fn ask(cluster: &mut Cluster, api: SocketAddr) {
    let node = &mut cluster.nodes[0];
    node.process.stop().await.unwrap();
    let kubeconfig = FakeApiServer::kubeconfig(api);
    let started = NodeProcess::start_asking(&node.guest, &node.name, &kubeconfig).await;
    node.process = started.unwrap();
}

/// Neither volume has a session after a while, and somebody is told why.
async fn assert_left_alone(
    cluster: &Cluster,
    api: &FakeApiServer,
    leaving: &Volume,
    absent: &Volume,
) {
    let node = cluster.node();
    tokio::time::sleep(ATTEMPTS).await;
    for volume in [leaving, absent] {
        let nqn = &volume.volume.volume_context["nqn"];
        assert_eq!(node.sessions(nqn).await, "", "{}", volume.claim.name);
    }
    let of_leaving = told(api, leaving);
    let failed = of_leaving
        .iter()
        .any(|words| words.contains(event::RECOVERY_FAILED) && words.contains("is being deleted"));
    assert!(failed, "{of_leaving:?}");
    // Its claim is found by its attachment: without one the log tells alone.
    let log = node.process.output();
    let failed = log
        .lines()
        .any(|line| line.contains("no VolumeAttachment of it") && line.contains(absent.id()));
    assert!(failed, "{log}");
}

#[tokio::test]
async fn a_volume_that_is_not_this_nodes_any_more_is_not_connected_anew() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    let listener = TcpListener::bind((cluster.lab.address(), 0)).await.unwrap();
    let api = FakeApiServer::on(listener).unwrap();
    ask(&mut cluster, api.address()).await;
    let (controller, node) = (cluster.controller(), cluster.node());
    // While it is exported the port is open, and whoever asks for another volume is told
    // not to retry.
    let anchor = Claim::block("anchor", 4).create(controller).await.unwrap();
    let mut used = Vec::new();
    for claim in [
        Claim::filesystem("kept", 64, "ext4"),
        Claim::filesystem("taken-ext4", 64, "ext4"),
        Claim::block("taken-block", 64),
    ] {
        let volume = claim.create(controller).await.unwrap();
        attach(&api, &volume, &node.name);
        let pod = Pod::start(controller, node, &volume, "pod").await;
        let written = pod.fill(node, &volume).await;
        used.push((volume, pod, written));
    }
    for (volume, ..) in &used {
        cluster.export(volume, false).await;
    }
    node.await_controllers(0).await;
    let (kept, taken) = used.split_first().unwrap();
    let [(leaving, ..), (absent, ..)] = taken else {
        panic!("two are taken");
    };
    api.put(&json!({
        "kind": "VolumeAttachment", "metadata": {"name": attachment(leaving, &node.name),
            "deletionTimestamp": "2026-02-02T00:00:00Z"},
    }));
    api.delete("volumeattachments", &attachment(absent, &node.name));
    for (volume, ..) in &used {
        cluster.export(volume, true).await;
    }
    is_normal(node, &kept.0, &kept.1).await;
    assert_left_alone(&cluster, &api, leaving, absent).await;
    // It is this node's again.
    for (volume, ..) in taken {
        api.delete("volumeattachments", &attachment(volume, &node.name));
        attach(&api, volume, &node.name);
    }
    for (volume, pod, written) in &used {
        is_normal(node, volume, pod).await;
        assert_eq!(pod.checksum(node, volume).await, *written);
        until("the return is told", DEADLINE, async || {
            let told = told(&api, volume);
            let back = told
                .iter()
                .any(|words| words.contains(event::CONNECTION_RECOVERY));
            Ok(back.then_some(()))
        })
        .await
        .unwrap();
        pod.stop(controller, node, volume).await;
        volume.delete(controller).await.unwrap();
    }
    anchor.delete(controller).await.unwrap();
    cluster.assert_clean().await;
}
