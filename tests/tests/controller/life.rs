//! The life of a volume, every call of it twice, on devices of many kinds.

use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_tests::volume::Claim;
use tonic::Code;

use crate::harness::{GIB, MIB, NAME, Setup, World, code};

async fn life(world: &World, name: &str) {
    let claim = Claim::block(name, 100).mode(Mode::MultiNodeMultiWriter);
    let volume = world.create(&claim).await.unwrap();
    assert_eq!(volume.volume.capacity_bytes, 100 * MIB);
    world.assert_whole(&volume, 100 * MIB);
    let again = world.create(&claim).await.unwrap();
    assert_eq!(again.volume, volume.volume);

    for node in ["node-a", "node-b", "node-a", "node-b"] {
        let context = volume.attach(&world.plugin, node).await.unwrap();
        assert_eq!(context["size"], (100 * MIB).to_string());
    }
    let third = volume.attach(&world.plugin, "node-c").await;
    assert_eq!(code(third), Code::FailedPrecondition);
    assert_eq!(
        code(world.delete(volume.id()).await),
        Code::FailedPrecondition
    );
    for _ in 0..2 {
        let size = world.expand(volume.id(), 150 * MIB, 0).await.unwrap();
        assert_eq!(size, 152 * MIB, "rounded up to 4 MiB");
        world.assert_whole(&volume, 152 * MIB);
    }
    let listed = world.list(0, "").await.unwrap();
    assert_eq!(listed.entries.len(), 1);
    let entry = listed.entries[0].volume.as_ref().unwrap();
    assert_eq!(entry.volume_id, volume.id());
    assert_eq!(entry.capacity_bytes, 152 * MIB);

    for node in ["node-a", "node-b", "node-a"] {
        volume.detach(&world.plugin, node).await.unwrap();
    }
    for _ in 0..2 {
        world.delete(volume.id()).await.unwrap();
        world.assert_empty();
    }
}

const SWITCHES: [&[&str]; 17] = [
    &[],
    &["error-status=one"],
    &["width=none"],
    &["width=40", "wrap=values", "line-ends=lf"],
    &["serialize=no"],
    &["serialize=no", "width=40", "wrap=values"],
    &[
        "serialize=no",
        "width=133",
        "line-ends=lf",
        "server-properties=always",
    ],
    &[
        "serialize=no",
        "server-properties=exported",
        "empty-print=nothing",
    ],
    &["empty-print=nothing", "empty-find=no-such-item"],
    &["server-properties=exported"],
    &["server-properties=always"],
    &["json-numbers=float", "booleans=yes-no"],
    &["json-numbers=text"],
    &["abort-on-failure=no", "onerror=no"],
    &[
        "duplicate-slot=rename",
        "duplicate-nqn=reject",
        "duplicate-file=reject",
    ],
    &[
        "file-remove-in-use=fail",
        "remove-connected=fail",
        "add-over-file=fail",
        "shrink=reject",
    ],
    &[
        "clock-format=legacy",
        "space=apparent",
        "allocation=full",
        "slot-limit=truncate",
    ],
];

#[tokio::test]
async fn a_volume_lives_on_devices_of_every_kind() {
    for pairs in SWITCHES {
        println!("{pairs:?}");
        let world = Setup::switches(pairs).connected().await;
        life(&world, NAME).await;
        life(&world, &"x".repeat(128)).await;
    }
}

#[tokio::test]
async fn a_create_and_a_delete_take_two_round_trips_each() {
    let world = World::new().await;
    let executions = || world.sim.counters().executions;
    let before = executions();
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    assert_eq!(executions() - before, 2);
    world.delete(volume.id()).await.unwrap();
    assert_eq!(executions() - before, 4);
    // What is there, or gone, already is seen by the reading alone.
    world.delete(volume.id()).await.unwrap();
    assert_eq!(executions() - before, 5);
    assert_eq!(world.sim.counters().logins, 1);
}

#[tokio::test]
async fn a_name_stands_for_one_volume() {
    let world = World::new().await;
    let volume = world
        .create(&Claim::filesystem(NAME, 1024, "ext4"))
        .await
        .unwrap();
    let before = world.device();
    let larger = world.create(&Claim::filesystem(NAME, 1025, "ext4")).await;
    assert_eq!(code(larger), Code::AlreadyExists);
    for (key, value) in [
        ("nvmePort", "4421"),
        ("volumePath", "/storage-pool/rds-csi/gold"),
    ] {
        let claim = Claim::filesystem(NAME, 1024, "ext4").parameter(key, value);
        let status = world.create(&claim).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    }
    let mut request = Claim::filesystem(NAME, 512, "ext4").request();
    let range = request.capacity_range.as_mut().unwrap();
    range.limit_bytes = 512 * MIB;
    let limited = world
        .plugin
        .controller()
        .create_volume(request.clone())
        .await;
    assert_eq!(code(limited), Code::AlreadyExists);

    // Whatever the volume satisfies is the same volume.
    for (required, limit) in [(0, 0), (1, 0), (GIB, GIB), (512 * MIB, 2 * GIB), (0, GIB)] {
        let range = request.capacity_range.as_mut().unwrap();
        (range.required_bytes, range.limit_bytes) = (required, limit);
        let mut client = world.plugin.controller();
        let answer = client.create_volume(request.clone()).await.unwrap();
        assert_eq!(answer.into_inner().volume.unwrap(), volume.volume);
    }
    request.capacity_range = None;
    let mut client = world.plugin.controller();
    client.create_volume(request).await.unwrap();
    assert_eq!(world.device(), before);
}

#[tokio::test]
async fn a_restarted_controller_goes_on_where_the_last_one_ended() {
    let mut world = World::new().await;
    let claim = Claim::filesystem(NAME, 1024, "ext4");
    let volume = world.create(&claim).await.unwrap();
    volume.attach(&world.plugin, "node-a").await.unwrap();
    world.restart().await;
    assert_eq!(world.create(&claim).await.unwrap().volume, volume.volume);
    volume.attach(&world.plugin, "node-a").await.unwrap();
    world.restart().await;
    assert_eq!(
        world.expand(volume.id(), 2 * GIB, 0).await.unwrap(),
        2 * GIB
    );
    world.restart().await;
    assert_eq!(
        world.expand(volume.id(), 2 * GIB, 0).await.unwrap(),
        2 * GIB
    );
    volume.detach(&world.plugin, "node-a").await.unwrap();
    world.delete(volume.id()).await.unwrap();
    world.restart().await;
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn a_directory_below_the_own_one_is_found_again_at_deletion() {
    let world = World::new().await;
    let claim = Claim::block(NAME, 64).parameter("volumePath", "/storage-pool/rds-csi/gold");
    let volume = world.create(&claim).await.unwrap();
    assert_eq!(
        volume.volume.volume_context["volumePath"],
        "/storage-pool/rds-csi/gold"
    );
    let file = format!("storage-pool/rds-csi/gold/{}.img", volume.id());
    assert_eq!(world.files(), [(file, 64 << 20)]);
    volume.attach(&world.plugin, "node-a").await.unwrap();
    volume.detach(&world.plugin, "node-a").await.unwrap();
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}
