//! What is kept of a cluster by watching it, over real HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "functions that only tests call panic where the tests do"
)]

use std::sync::Arc;
use std::time::Duration;

use rds_csi_cluster::{Reader as _, Watched};
use rds_csi_core::attachment::observation::{KubeVirt, Machine};
use rds_csi_tests::api_server::objects::machine;
use rds_csi_tests::api_server::{FakeApiServer, Fault};
use rds_csi_tests::wait::until;
use serde_json::json;
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(30);

fn volume(api: &FakeApiServer, name: &str, driver: &str) {
    api.put(&json!({
        "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"csi": {"driver": driver, "volumeHandle": name}},
    }));
}

fn attach(api: &FakeApiServer, name: &str, attacher: &str) {
    api.put(&json!({
        "kind": "VolumeAttachment", "metadata": {"name": name},
        "spec": {"attacher": attacher, "nodeName": "node-a",
            "source": {"persistentVolumeName": "pv-1"}},
    }));
}

/// A pod that mounts a claim, if one is named.
fn pod(api: &FakeApiServer, namespace: &str, name: &str, node: &str, claim: Option<&str>) {
    let volume = claim.map(|claim| json!({"persistentVolumeClaim": {"claimName": claim}}));
    api.put(&json!({
        "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node, "volumes": volume.into_iter().collect::<Vec<_>>()},
    }));
}

/// A cluster with something of everything, and what is kept of it; ends with the set.
async fn start() -> (FakeApiServer, Arc<Watched>, JoinSet<()>) {
    let api = FakeApiServer::start().await.unwrap();
    volume(&api, "pv-1", "rds.csi.srvlab.io");
    volume(&api, "pv-2", "other.example");
    attach(&api, "va-1", "rds.csi.srvlab.io");
    attach(&api, "va-2", "other.example");
    pod(&api, "ns", "with", "node-a", Some("data"));
    pod(&api, "ns", "without", "node-a", None);
    pod(&api, "ns", "elsewhere", "node-b", Some("data"));
    pod(&api, "ns-2", "another", "node-a", Some("data"));
    let server = FakeApiServer::client(api.address()).await.unwrap();
    let watched = Arc::new(Watched::over(server));
    let mut tasks = JoinSet::new();
    let follower = watched.clone();
    tasks.spawn(async move { follower.follow().await });
    complete(&watched).await;
    (api, watched, tasks)
}

async fn complete(watched: &Watched) {
    until("everything is known", DEADLINE, async || {
        Ok(watched.is_complete().then_some(()))
    })
    .await
    .unwrap();
}

/// The names of pods of namespace `ns` on `node-a`, and of the attachments.
async fn seen(watched: &Watched) -> (Vec<String>, Vec<String>) {
    let pods = watched.pods("ns", "node-a").await.unwrap();
    let attachments = watched.volume_attachments().await.unwrap();
    (
        pods.into_iter().map(|pod| pod.name).collect(),
        attachments.into_iter().map(|found| found.name).collect(),
    )
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn what_is_watched_is_answered_without_a_request() {
    let (api, watched, _tasks) = start().await;
    // A watch begins once its kind is known.
    let readings = || {
        let requests = api.requests().into_iter();
        let is_reading = |call: &str| !call.starts_with("watch");
        requests.filter(|request| is_reading(&request.call)).count()
    };
    let before = readings();
    let (pods, attachments) = seen(&watched).await;
    assert_eq!((pods, attachments), (names(&["with"]), names(&["va-1"])));
    assert!(watched.persistent_volume("pv-1").await.unwrap().is_some());
    assert_eq!(readings(), before);
    // Not kept, and not absent for that.
    assert!(watched.persistent_volume("pv-2").await.unwrap().is_some());
    assert!(watched.persistent_volume("pv-3").await.unwrap().is_none());
    assert_eq!(readings(), before + 2);
}

#[tokio::test]
async fn what_changes_is_followed() {
    let (api, watched, _tasks) = start().await;
    attach(&api, "va-3", "rds.csi.srvlab.io");
    api.delete("volumeattachments", "va-1");
    pod(&api, "ns", "new", "node-a", Some("more"));
    let now = (names(&["new", "with"]), names(&["va-3"]));
    until("changes are seen", DEADLINE, async || {
        Ok((seen(&watched).await == now).then_some(()))
    })
    .await
    .unwrap();
}

/// While nothing can be watched the cluster is asked, and its refusal is no absence.
#[tokio::test]
async fn a_broken_watch_hides_nothing() {
    let (api, watched, _tasks) = start().await;
    let call = "watch volumeattachments";
    api.fail(call, Fault::Status(500), u32::MAX);
    api.cut_watches();
    until("the watch is known to be broken", DEADLINE, async || {
        Ok((!watched.is_complete()).then_some(()))
    })
    .await
    .unwrap();
    attach(&api, "va-4", "rds.csi.srvlab.io");
    let (_, attachments) = seen(&watched).await;
    assert_eq!(attachments, names(&["va-1", "va-4"]));
    api.fail("list volumeattachments", Fault::Status(403), 1);
    watched.volume_attachments().await.unwrap_err();
    api.heal();
    attach(&api, "va-5", "rds.csi.srvlab.io");
    complete(&watched).await;
    let (_, attachments) = seen(&watched).await;
    assert_eq!(attachments, names(&["va-1", "va-4", "va-5"]));
}

/// A list of all machines would do as well here, but for what it costs.
#[tokio::test]
async fn of_machines_those_are_read_that_are_named() {
    let (api, watched, _tasks) = start().await;
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    for name in ["vm.a", "vm.b", "vm"] {
        machine(&api, name);
    }
    let read = async |names: &[&str]| {
        let names = names.iter().copied().collect();
        match watched.kubevirt("ns", &names).await.unwrap() {
            KubeVirt::Present { machines, .. } => machines,
            other => panic!("{other:?}"),
        }
    };
    let names = |machines: Vec<Machine>| -> Vec<String> {
        machines.into_iter().map(|machine| machine.name).collect()
    };
    assert_eq!(names(read(&["vm.a", "No&Name=", "gone"]).await), ["vm.a"]);
    assert_eq!(names(read(&["vm", "vm.b"]).await), ["vm", "vm.b"]);
    assert!(read(&[]).await.is_empty());
}
