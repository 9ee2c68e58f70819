//! The device is away: at the start, for a moment, for an hour, or behind another key.

use std::time::Duration;

use csi_proto::v1::{ControllerGetCapabilitiesRequest, ProbeRequest};
use rds_csi_routeros::Rds as _;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use rds_sim::{Fault, Options, Sim};
use rstest::rstest;
use tokio::time::Instant;
use tonic::Code;

use crate::cluster::{self, node, provision, setup};
use crate::fence::{self, attach, offered};
use crate::harness::{MIB, NAME, PATIENCE, Setup, World, code, write_key};

/// What works without a device.
async fn assert_serves(world: &World, volume: &Volume) {
    let probe = world.plugin.identity().probe(ProbeRequest {}).await;
    assert_eq!(probe.unwrap().into_inner().ready, Some(true));
    let mut controller = world.plugin.controller();
    let request = ControllerGetCapabilitiesRequest {};
    controller
        .controller_get_capabilities(request)
        .await
        .unwrap();
    volume.detach(&world.plugin, "node-a").await.unwrap();
}

/// What does not, and says so at once.
async fn assert_unavailable(world: &World, volume: &Volume) {
    assert_eq!(code(world.create(&volume.claim).await), Code::Unavailable);
    assert_eq!(code(world.delete(volume.id()).await), Code::Unavailable);
    assert_eq!(code(world.list(0, "").await), Code::Unavailable);
    let attached = volume.attach(&world.plugin, "node-a").await;
    assert_eq!(code(attached), Code::Unavailable);
    let size = volume.claim.size * 2;
    let grown = world.expand(volume.id(), size, 0).await;
    assert_eq!(code(grown), Code::Unavailable);
}

fn volume() -> Volume {
    Volume {
        claim: Claim::block(NAME, 64),
        volume: csi_proto::v1::Volume {
            volume_id: "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".to_owned(),
            ..csi_proto::v1::Volume::default()
        },
    }
}

#[rstest]
#[case::alone(false)]
#[case::in_a_cluster(true)]
#[tokio::test]
async fn a_controller_starts_without_the_device_and_works_once_it_is_there(#[case] asks: bool) {
    let api = FakeApiServer::start().await.unwrap();
    let mut setup = if asks { setup(&api) } else { Setup::default() };
    setup.down = true;
    let world = setup.start().await;
    assert_serves(&world, &volume()).await;
    assert_unavailable(&world, &volume()).await;
    world.inject(Fault::RefuseConnections { refuse: false });
    world.reachable().await;
    let made = world.create(&volume().claim).await.unwrap();
    assert_eq!(made.id(), volume().id());
    world.assert_whole(&made, 64 * MIB);
}

/// Cuts the controller off from its device.
async fn cut(world: &World) {
    world.inject(Fault::RefuseConnections { refuse: true });
    world.inject(Fault::CutConnections);
    let down = async || Ok((!world.rds.link().connected).then_some(()));
    until("the device is away", PATIENCE, down).await.unwrap();
}

fn record(api: &FakeApiServer) -> String {
    let volume = api.get("persistentvolumes", fence::NAME).unwrap();
    let annotations = &volume["metadata"]["annotations"];
    let record = &annotations["rds.csi.srvlab.io/granted-attachments"];
    record.as_str().unwrap_or_default().to_owned()
}

/// Who has let go, who cannot be asked any more, and all at once. A node that may still write
/// keeps the volume, device or not.
#[tokio::test]
async fn a_volume_in_a_cluster_is_let_go_of_without_the_device() {
    let (api, world) = cluster::start().await;
    let volume = provision(&api, &world, Claim::block(fence::NAME, 64)).await;
    node(&api, "node-a", true);
    attach(&api, &world, &volume, "node-a").await.unwrap();
    cut(&world).await;
    let began = Instant::now();
    let granted = record(&api);
    assert!(granted.contains("@node-a/"), "{granted}");
    volume.detach(&world.plugin, "").await.unwrap();
    assert_eq!(
        record(&api),
        granted,
        "each node's attachment says what it has"
    );
    node(&api, "node-a", false);
    let kept = volume.detach(&world.plugin, "node-a").await;
    assert_eq!(code(kept), Code::Unavailable);
    node(&api, "node-a", true);
    volume.detach(&world.plugin, "node-a").await.unwrap();
    assert_eq!(record(&api), format!("{granted}=released"));
    api.delete("volumeattachments", "va-node-a");
    assert!(began.elapsed() < Duration::from_secs(5));

    // One whose object has vanished lets go too, and is shut out once the device is back.
    world.inject(Fault::RefuseConnections { refuse: false });
    world.reachable().await;
    node(&api, "node-b", true);
    attach(&api, &world, &volume, "node-b").await.unwrap();
    let made = offered(&world);
    cut(&world).await;
    let began = Instant::now();
    api.delete("nodes", "node-b");
    volume.detach(&world.plugin, "node-b").await.unwrap();
    assert!(!record(&api).contains("=released"), "{}", record(&api));
    api.delete("volumeattachments", "va-node-b");
    let refused = attach(&api, &world, &volume, "node-a").await;
    assert_eq!(code(refused), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(5));
    world.inject(Fault::RefuseConnections { refuse: false });
    world.reachable().await;
    attach(&api, &world, &volume, "node-a").await.unwrap();
    assert_ne!(offered(&world), made);
}

/// The clock of this process is moved; the connections are real, and so is the time
/// that each call takes.
#[tokio::test]
async fn an_hour_without_the_device_costs_no_caller_a_wait() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    volume.attach(&world.plugin, "node-a").await.unwrap();
    world.inject(Fault::RefuseConnections { refuse: true });
    world.inject(Fault::CutConnections);
    assert_serves(&world, &volume).await;
    tokio::time::pause();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3600) {
        let asked = Instant::now();
        assert_unavailable(&world, &volume).await;
        assert!(asked.elapsed() < Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    world.inject(Fault::RefuseConnections { refuse: false });
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn a_device_that_reboots_is_worked_with_again_once_its_pool_is_mounted() {
    let world = World::new().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    world.inject(Fault::Reboot {
        down_ms: 100,
        mount_ms: 60_000,
        power_cut: false,
    });
    let back = async || Ok((world.list(0, "").await.is_ok()).then_some(()));
    until("it is back", PATIENCE, back).await.unwrap();
    // Items come before files: nothing that is not seen is gone.
    assert_unavailable_pool(&world, &volume).await;
    world.inject(Fault::PoolMounted { mounted: true });
    assert_eq!(
        world.create(&volume.claim).await.unwrap().volume,
        volume.volume
    );
    volume.attach(&world.plugin, "node-a").await.unwrap();
}

async fn assert_unavailable_pool(world: &World, volume: &Volume) {
    let before = world.items();
    assert_eq!(code(world.create(&volume.claim).await), Code::Unavailable);
    assert_eq!(code(world.delete(volume.id()).await), Code::Unavailable);
    let never = world.delete("pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert_eq!(code(never), Code::Unavailable);
    let attached = volume.attach(&world.plugin, "node-a").await;
    assert_eq!(code(attached), Code::Unavailable);
    let grown = world.expand(volume.id(), 128 * MIB, 0).await;
    assert_eq!(code(grown), Code::Unavailable);
    assert_eq!(world.items(), before);
}

#[tokio::test]
async fn a_device_behind_another_host_key_is_told_nothing() {
    let stranger = Sim::start(Options::default()).await.unwrap();
    let pinned = stranger.host_key().unwrap().parse().unwrap();
    let setup = Setup::default().config(|config| config.rds.host_keys = vec![pinned]);
    let world = setup.start().await;
    let status = world.create(&volume().claim).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("WRONG HOST KEY"), "{status}");
    assert_unavailable(&world, &volume()).await;
    assert_serves(&world, &volume()).await;
    let counters = world.sim.counters();
    assert_eq!((counters.logins, counters.executions), (0, 0));
    world.assert_empty();
}

#[tokio::test]
async fn a_key_that_is_not_let_in_is_a_denial_until_it_is_exchanged() {
    let stranger = Sim::start(Options::default()).await.unwrap();
    let key = stranger.client_key().unwrap().to_owned();
    let setup = Setup::default().config(move |config| write_key(&config.rds.key_file, &key));
    let world = setup.start().await;
    let denied = world.delete(volume().id()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let status = world.create(&volume().claim).await.unwrap_err();
    // An earlier process, with a key that was let in, may have left a part of it.
    assert_eq!(status.code(), Code::Unavailable);
    for told in [denied.message(), status.message()] {
        assert!(
            told.contains("was rejected; the device needs the key"),
            "{told}"
        );
    }
    assert!(!status.message().contains("PRIVATE"), "{status}");
    write_key(&world.config.rds.key_file, world.sim.client_key().unwrap());
    world.reachable().await;
    world.create(&volume().claim).await.unwrap();
}
