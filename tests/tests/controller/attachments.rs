//! Which nodes get a volume, and who is told why not.

use csi_proto::v1::ControllerUnpublishVolumeRequest;
use csi_proto::v1::volume_capability::access_mode::Mode;
use rds_csi_tests::volume::{Claim, Volume};
use rstest::rstest;
use tonic::{Code, Status};

use crate::harness::{MIB, NAME, Setup, World, code};

async fn volume(world: &World, claim: Claim) -> Volume {
    world.create(&claim).await.unwrap()
}

async fn detach(world: &World, id: &str, node: &str) -> Result<(), Status> {
    let request = ControllerUnpublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: node.to_owned(),
        ..ControllerUnpublishVolumeRequest::default()
    };
    let mut client = world.plugin.controller();
    client.controller_unpublish_volume(request).await.map(drop)
}

#[rstest]
#[case::filesystem(Claim::filesystem(NAME, 64, "ext4"))]
#[case::block(Claim::block(NAME, 64))]
#[case::one_pod(Claim::block(NAME, 64).mode(Mode::SingleNodeSingleWriter))]
#[case::some_pods(Claim::filesystem(NAME, 64, "ext4").mode(Mode::SingleNodeMultiWriter))]
#[tokio::test]
async fn a_volume_for_one_node_is_attached_to_one(#[case] claim: Claim) {
    let world = World::new().await;
    let volume = volume(&world, claim).await;
    for _ in 0..2 {
        let context = volume.attach(&world.plugin, "node-a").await.unwrap();
        assert_eq!(context["size"], (64 * MIB).to_string());
    }
    let second = volume.attach(&world.plugin, "node-b").await.unwrap_err();
    assert_eq!(second.code(), Code::FailedPrecondition);
    assert!(second.message().contains("node node-a has"), "{second}");
    // Another node's detachment frees nothing.
    volume.detach(&world.plugin, "node-b").await.unwrap();
    let again = volume.attach(&world.plugin, "node-b").await;
    assert_eq!(code(again), Code::FailedPrecondition);
    volume.detach(&world.plugin, "node-a").await.unwrap();
    volume.attach(&world.plugin, "node-b").await.unwrap();
}

#[tokio::test]
async fn a_shared_block_volume_is_attached_to_two_and_the_third_is_told_which() {
    let world = World::new().await;
    let claim = Claim::block(NAME, 64).mode(Mode::MultiNodeMultiWriter);
    let volume = volume(&world, claim).await;
    volume.attach(&world.plugin, "node-a").await.unwrap();
    volume.attach(&world.plugin, "node-b").await.unwrap();
    let third = volume.attach(&world.plugin, "node-c").await.unwrap_err();
    assert_eq!(third.code(), Code::FailedPrecondition);
    assert!(third.message().contains("node-a and node-b"), "{third}");
    let deleted = world.delete(volume.id()).await.unwrap_err();
    assert_eq!(deleted.code(), Code::FailedPrecondition);
    assert!(deleted.message().contains("node-a and node-b"), "{deleted}");
    world.assert_whole(&volume, 64 * MIB);
    volume.detach(&world.plugin, "node-a").await.unwrap();
    volume.attach(&world.plugin, "node-c").await.unwrap();
    let fourth = volume.attach(&world.plugin, "node-a").await.unwrap_err();
    assert!(fourth.message().contains("node-b and node-c"), "{fourth}");
}

#[tokio::test]
async fn a_node_that_is_not_among_those_told_is_not_found() {
    let named = || ["node-a", "node-b"].map(str::to_owned).into();
    let setup = Setup::default().config(move |config| config.nodes = named());
    let world = setup.connected().await;
    let volume = volume(&world, Claim::block(NAME, 64)).await;
    let refused = volume.attach(&world.plugin, "node-c").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("node-a, node-b"), "{refused}");
    // It was not attached, so it is not in the others' way.
    volume.attach(&world.plugin, "node-b").await.unwrap();
    volume.detach(&world.plugin, "node-b").await.unwrap();
    world.delete(volume.id()).await.unwrap();
}

#[tokio::test]
async fn one_node_does_not_get_a_volume_in_two_ways() {
    let world = World::new().await;
    let volume = volume(&world, Claim::block(NAME, 64)).await;
    volume.attach(&world.plugin, "node-a").await.unwrap();
    let mut other = volume.clone();
    other.claim.mode = Mode::MultiNodeMultiWriter;
    let attached = other.attach(&world.plugin, "node-a").await;
    assert_eq!(code(attached), Code::AlreadyExists);
    let second = other.attach(&world.plugin, "node-b").await;
    assert_eq!(code(second), Code::FailedPrecondition);
    volume.attach(&world.plugin, "node-a").await.unwrap();
}

#[tokio::test]
async fn what_is_not_attached_is_detached_already() {
    let world = World::new().await;
    let claim = Claim::block(NAME, 64).mode(Mode::MultiNodeMultiWriter);
    let volume = volume(&world, claim).await;
    for id in ["pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa", "volume", volume.id()] {
        for node in ["node-a", "", "a node that never was"] {
            detach(&world, id, node).await.unwrap();
        }
    }
    assert_eq!(
        code(detach(&world, "", "node-a").await),
        Code::InvalidArgument
    );
    volume.attach(&world.plugin, "node-a").await.unwrap();
    volume.attach(&world.plugin, "node-b").await.unwrap();
    // No node is all nodes.
    detach(&world, volume.id(), "").await.unwrap();
    world.delete(volume.id()).await.unwrap();
    detach(&world, volume.id(), "node-a").await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn a_volume_that_does_not_exist_is_not_found() {
    let world = World::new().await;
    let mut volume = volume(&world, Claim::block(NAME, 64)).await;
    for id in [
        "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "volume",
        "pvc-1; /system reset",
    ] {
        volume.volume.volume_id = id.to_owned();
        let attached = volume.attach(&world.plugin, "node-a").await;
        assert_eq!(code(attached), Code::NotFound, "{id}");
    }
}
