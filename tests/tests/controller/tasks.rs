//! Calls at once, callers that leave, and an end in the middle of an operation.

use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;
use tonic::Code;

use crate::harness::{MIB, NAME, PATIENCE, Setup, World, code, soon};

async fn slow() -> World {
    Setup::switches(&["exec-latency-ms=150"]).connected().await
}

/// Waits until the device has got one more script with these words.
async fn sent(world: &World, words: &str) {
    let count = || {
        let scripts = world.sim.executed().into_iter();
        scripts
            .filter(|script| script.script.contains(words))
            .count()
    };
    let before = count();
    let more = async || Ok((count() > before).then_some(()));
    until("the device was asked", PATIENCE, more).await.unwrap();
}

#[tokio::test]
async fn of_two_calls_for_one_volume_at_once_one_is_aborted() {
    let world = slow().await;
    let claim = Claim::block(NAME, 64);
    let (first, second) = tokio::join!(world.create(&claim), world.create(&claim));
    let (volume, other) = one_of(first, second);
    assert_eq!(other, Code::Aborted);
    world.assert_whole(&volume, 64 * MIB);
    assert_eq!(world.create(&claim).await.unwrap().volume, volume.volume);

    let id = volume.id();
    let (size, other) = tokio::join!(world.expand(id, 68 * MIB, 0), world.expand(id, 72 * MIB, 0));
    assert_eq!(one_of(size, other).1, Code::Aborted);
    assert_eq!(world.expand(id, 72 * MIB, 0).await.unwrap(), 72 * MIB);

    let attach = |node| volume.attach(&world.plugin, node);
    let (first, second) = tokio::join!(attach("node-a"), attach("node-a"));
    assert_eq!(one_of(first, second).1, Code::Aborted);
    attach("node-a").await.unwrap();
    volume.detach(&world.plugin, "node-a").await.unwrap();

    let (first, second) = tokio::join!(world.delete(id), world.delete(id));
    assert_eq!(one_of(first, second).1, Code::Aborted);
    world.delete(id).await.unwrap();
    world.assert_empty();
}

fn one_of<T: std::fmt::Debug>(
    first: Result<T, tonic::Status>,
    second: Result<T, tonic::Status>,
) -> (T, Code) {
    match (first, second) {
        (Ok(done), other) | (other, Ok(done)) => (done, code(other)),
        (Err(first), Err(second)) => panic!("{first}, {second}"),
    }
}

#[tokio::test]
async fn calls_for_one_volume_exclude_each_other_and_other_volumes_go_on() {
    let world = slow().await;
    let volume = world.create(&Claim::block(NAME, 64)).await.unwrap();
    let others = async {
        sent(&world, "/disk remove").await;
        let attached = volume.attach(&world.plugin, "node-a").await;
        assert_eq!(code(attached), Code::Aborted);
        assert_eq!(code(world.create(&volume.claim).await), Code::Aborted);
        assert_eq!(code(world.expand(volume.id(), 1, 0).await), Code::Aborted);
        let detached = volume.detach(&world.plugin, "node-a").await;
        assert_eq!(code(detached), Code::Aborted);
        world.create(&Claim::block("another", 64)).await.unwrap()
    };
    let (deleted, another) = tokio::join!(world.delete(volume.id()), others);
    deleted.unwrap();
    world.assert_whole(&another, 64 * MIB);
    assert_eq!(world.items().len(), 1);
}

#[tokio::test]
async fn a_create_goes_on_when_its_caller_leaves() {
    let world = slow().await;
    let claim = Claim::block(NAME, 64);
    tokio::select! {
        made = world.create(&claim) => panic!("the device is slow: {made:?}"),
        () = sent(&world, "/disk print") => {}
    }
    // The look was sent; the step was not.
    world.assert_empty();
    let made = async || Ok(world.create(&claim).await.ok());
    let volume: Volume = until("it is made", PATIENCE, made).await.unwrap();
    world.assert_whole(&volume, 64 * MIB);
    let adds = world.sim.executed().into_iter();
    let adds = adds.filter(|script| script.script.contains("/disk add"));
    assert_eq!(adds.count(), 1, "the first create made it");
}

#[tokio::test]
async fn an_end_waits_for_the_create_whose_caller_has_left() {
    let mut world = slow().await;
    let claim = Claim::block(NAME, 64);
    tokio::select! {
        made = world.create(&claim) => panic!("the device is slow: {made:?}"),
        () = sent(&world, "/disk print") => {}
    }
    world.stop.cancel();
    soon(world.ended()).await.unwrap();
    let items = world.items();
    assert_eq!(items.len(), 1);
    assert!(items[0].file().unwrap().export, "{items:?}");
    assert!(!world.config.endpoint.exists());
}
