//! The controller tries what its device does about hosts and sessions, and goes by it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rds_csi_core::cluster_id::ClusterId;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_driver::config::ControllerConfig;
use rds_csi_tests::api_server::{FakeApiServer, Fault as ApiFault};
use rds_csi_tests::fabric::{self, Ways};
use rds_csi_tests::plugin::CLUSTER;
use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;
use rds_sim::Fault;
use rds_sim::fault::{Harm, Moment};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;

use crate::cluster::{page, setup, shows};
use crate::fence::{NAME, attach, lost, offered};
use crate::harness::{PATIENCE, World};

/// What the page says of a device that fencing works on.
pub(crate) const ENDS: &str = "rds_csi_device_export_ends_sessions{} 1";

/// The annotation of the Lease with what was seen.
const SAID: &str = "rds.csi.srvlab.io/device-access";

/// A world whose device has an NVMe/TCP port, of which the controller does not know yet.
pub(crate) struct Fabric {
    pub(crate) api: FakeApiServer,
    pub(crate) world: World,
    ways: Arc<Ways>,
    serving: JoinSet<()>,
    listener: Option<TcpListener>,
}

pub(crate) async fn fabric(switches: &[&str]) -> Fabric {
    fabric_of(switches, |_| {}).await
}

/// The same with another configuration.
pub(crate) async fn fabric_of(
    switches: &[&str],
    change: impl FnOnce(&mut ControllerConfig) + 'static,
) -> Fabric {
    let api = FakeApiServer::start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut setup = setup(&api);
    for pair in switches {
        setup.device.variants.set_pair(pair).unwrap();
    }
    let admin = setup.change;
    setup.change = Box::new(move |config| {
        admin(config);
        (config.probe, config.nvme_port) = (true, port);
        change(config);
    });
    setup.down = true;
    let world = setup.start().await;
    Fabric {
        api,
        world,
        ways: Arc::default(),
        serving: JoinSet::new(),
        listener: Some(listener),
    }
}

impl Fabric {
    /// The device is reached, and whatever was said of its ways counts.
    pub(crate) async fn begin(&mut self) {
        if let Some(listener) = self.listener.take() {
            let (sim, ways) = (Arc::clone(&self.world.sim), Arc::clone(&self.ways));
            self.serving.spawn(fabric::serve(sim, listener, ways));
        }
        self.world
            .inject(Fault::RefuseConnections { refuse: false });
        self.world.reachable().await;
    }

    /// What was seen, as all controllers hear it.
    pub(crate) async fn seen(&self) -> String {
        let said = async || Ok(said(&self.api));
        until("the device is tried", PATIENCE, said).await.unwrap()
    }
}

fn said(api: &FakeApiServer) -> Option<String> {
    let leases = api.list("leases");
    let said = leases.first()?.pointer("/metadata/annotations")?;
    let said = said.get(SAID)?;
    said.as_str().map(str::to_owned)
}

pub(crate) fn slot() -> String {
    let cluster: ClusterId = CLUSTER.parse().unwrap();
    VolumeId::probe(&cluster).to_string()
}

#[rstest]
#[case::exact("exact")]
#[case::list("list")]
#[case::ignored("ignored")]
#[tokio::test]
async fn a_device_is_tried_once_and_nothing_is_left_of_that(#[case] rule: &str) {
    let mut fabric = fabric(&[&format!("access-rule={rule}")]).await;
    fabric.begin().await;
    let seen = fabric.seen().await;
    let expected = format!("rule={rule},keeps-sessions=true,ends-sessions=true,");
    assert!(seen.starts_with(&expected), "{seen}");
    assert!(seen.ends_with(",version=7.24.4 (stable)"), "{seen}");
    let world = &fabric.world;
    for line in [
        &format!("rds_csi_device_access_rule{{rule=\"{rule}\"}} 1"),
        ENDS,
        "rds_csi_device_access_keeps_sessions{} 1",
    ] {
        shows(world, "/metrics", line).await;
    }
    world.assert_empty();
    let tried = fabric.ways.let_in.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(fabric.ways.let_in.load(Ordering::Relaxed), tried, "once");
    world.assert_empty();
}

/// A device that means something else by a name, or heeds a change of it too late, is told
/// from one that lets everybody in, and no name is relied upon.
#[rstest]
#[case::other_name("other-name")]
#[case::at_export("at-export")]
#[tokio::test]
async fn a_device_whose_rule_cannot_be_followed_is_seen_and_keeps_nobody_out(#[case] rule: &str) {
    let mut fabric = fabric(&[&format!("access-rule={rule}")]).await;
    fabric.begin().await;
    let seen = fabric.seen().await;
    let expected = "rule=other,keeps-sessions=false,ends-sessions=true,";
    assert!(seen.starts_with(expected), "{seen}");
    for line in ["rds_csi_device_access_rule{rule=\"other\"} 1", ENDS] {
        shows(&fabric.world, "/metrics", line).await;
    }
    fabric.world.assert_empty();
}

#[tokio::test]
async fn sessions_that_a_change_of_hosts_ends_are_told() {
    let mut fabric = fabric(&["access-rule=list"]).await;
    fabric.ways.ends_on_change.store(true, Ordering::Relaxed);
    fabric.begin().await;
    let seen = fabric.seen().await;
    let expected = "rule=list,keeps-sessions=false,ends-sessions=true,";
    assert!(seen.starts_with(expected), "{seen}");
    shows(
        &fabric.world,
        "/metrics",
        "rds_csi_device_access_keeps_sessions{} 0",
    )
    .await;
}

/// Nobody is shut out by ending an export that sessions outlive: the volume goes to no other
/// node until a person has said that the lost one is off.
#[tokio::test]
async fn a_device_whose_sessions_outlive_their_export_gives_a_lost_nodes_volume_to_nobody() {
    let mut fabric = fabric(&[]).await;
    fabric.ways.outlives_export.store(true, Ordering::Relaxed);
    fabric.begin().await;
    let seen = fabric.seen().await;
    assert!(seen.contains("ends-sessions=false"), "{seen}");
    shows(
        &fabric.world,
        "/metrics",
        "rds_csi_device_export_ends_sessions{} 0",
    )
    .await;
    let Fabric { api, mut world, .. } = fabric;
    let volume = lost(&api, &world, Claim::block(NAME, 64)).await;
    let made = offered(&world);
    let told = [
        "while node node-a may still write",
        "kubectl annotate pv pvc-3c9f4d8e-6a51-4f0b-8a1d-2b7e9f5c6d10 rds.csi.srvlab.io/granted-attachments-",
    ];
    let not_yet = ["while node node-a may still write", "could not read yet"];
    let refused = async |world: &World, words: [&str; 2]| {
        let refused = attach(&api, world, &volume, "node-b").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "never final: {refused}");
        for part in words {
            assert!(refused.message().contains(part), "{refused}");
        }
        assert_eq!(offered(world), made, "and the export is left as it is");
    };
    refused(&world, told).await;
    // Another one, which tries nothing, has not heard of it yet, and then has.
    world.config.probe = false;
    api.fail("get leases", ApiFault::Status(503), u32::MAX);
    let other = world.another(api.address()).await;
    other.reachable().await;
    refused(&other, not_yet).await;
    // What was seen of another version counts until this one was tried.
    world.stop().await;
    let mut lease = api.list("leases").remove(0);
    let (before, version) = seen.rsplit_once("version=").unwrap();
    assert_ne!(version, "6.49");
    lease["metadata"]["annotations"][SAID] = json!(format!("{before}version=6.49"));
    api.put(&lease);
    api.heal();
    other.hears().await;
    refused(&other, told).await;
    // What the message says.
    api.put(
        &json!({"kind": "PersistentVolume", "metadata": {"name": NAME,
        "annotations": {"rds.csi.srvlab.io/granted-attachments": Value::Null}}}),
    );
    attach(&api, &other, &volume, "node-b").await.unwrap();
}

#[tokio::test]
async fn without_a_way_to_the_device_all_goes_on_as_without_a_trial() {
    let mut fabric = fabric(&[]).await;
    // Nobody listens.
    fabric.listener = None;
    fabric.begin().await;
    let world = &fabric.world;
    let tried = async || {
        let scripts = world.sim.executed();
        let tried = scripts.iter().any(|run| run.script.contains(&slot()));
        Ok((tried && world.items().is_empty()).then_some(()))
    };
    until("it was tried and is cleaned", PATIENCE, tried)
        .await
        .unwrap();
    assert!(page(world, "/readyz").await.contains("200 OK"));
    assert_eq!(said(&fabric.api), None);
    assert!(!page(world, "/metrics").await.contains(ENDS));
    let volume = lost(&fabric.api, world, Claim::block(NAME, 64)).await;
    let made = offered(world);
    attach(&fabric.api, world, &volume, "node-b").await.unwrap();
    assert_ne!(offered(world), made, "fenced, as nobody knows better");
}

#[rstest]
#[case::an_item(true)]
#[case::a_file(false)]
#[tokio::test]
async fn what_a_crash_left_is_removed_and_does_not_count(#[case] item: bool) {
    let mut fabric = fabric(&[]).await;
    let (slot, file) = (slot(), format!("storage-pool/rds-csi/{}.img", slot()));
    let add = format!(
        "/disk add type=file slot=\"{slot}\" file-path=\"/{file}\" file-size=4194304 mount-filesystem=no comment=\"rds-csi/lab/probe\""
    );
    fabric.world.sim.with_model(|model| {
        model.exec(&add);
        if !item {
            model.exec(&format!("/disk remove [/disk find slot=\"{slot}\"]"));
        }
    });
    assert_eq!(fabric.world.items().len(), usize::from(item));
    assert_eq!(fabric.world.files().len(), 1);
    fabric.begin().await;
    fabric.seen().await;
    fabric.world.assert_empty();
}

/// An item in the same slot that does not say that it is ours is left alone.
#[tokio::test]
async fn what_somebody_else_has_there_is_left() {
    let mut fabric = fabric(&[]).await;
    let slot = slot();
    let add = format!(
        "/disk add type=file slot=\"{slot}\" file-path=\"/storage-pool/mine.img\" file-size=4194304 mount-filesystem=no comment=\"mine\""
    );
    fabric.world.sim.with_model(|model| model.exec(&add));
    let before = fabric.world.device();
    fabric.begin().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(fabric.world.device(), before);
    assert_eq!(said(&fabric.api), None);
}

/// Cut anywhere, a trial says nothing and leaves nothing.
#[rstest]
#[case::making("type=file slot=\"rds-csi-probe")]
#[case::offering("nvme-tcp-server-allow-host-name=\"\"")]
#[case::renewing("nvme-tcp-export=no")]
#[tokio::test]
async fn a_trial_that_is_cut_off_is_cleaned_up(#[case] at: &str) {
    let mut fabric = fabric(&[]).await;
    fabric
        .world
        .inject(Fault::on(at, Harm::Cut(Moment::AfterStatements(1))));
    fabric.begin().await;
    let world = &fabric.world;
    let cut = async || {
        let scripts = world.sim.executed();
        let tried = scripts.iter().any(|run| run.script.contains(at));
        Ok((tried && world.device() == (vec![], vec![])).then_some(()))
    };
    until("it was cut and is cleaned", PATIENCE, cut)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(said(&fabric.api), None);
    world.assert_empty();
}
