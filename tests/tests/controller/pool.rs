//! The pool: how much of it may be promised, and what happens while it is not well.

use std::collections::HashMap;

use csi_proto::v1::{GetCapacityRequest, GetCapacityResponse};
use rds_csi_tests::volume::Claim;
use rds_sim::Fault;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};
use tonic::{Code, Status};

use crate::harness::{GIB, MIB, NAME, Setup, World, code, soon};

async fn capacity(world: &World, pairs: &[(&str, &str)]) -> Result<GetCapacityResponse, Status> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let parameters: HashMap<_, _> = pairs.iter().map(owned).collect();
    let request = GetCapacityRequest {
        parameters,
        ..GetCapacityRequest::default()
    };
    let mut client = world.plugin.controller();
    Ok(client.get_capacity(request).await?.into_inner())
}

async fn available(world: &World) -> i64 {
    let answer = capacity(world, &[]).await.unwrap();
    assert_eq!(answer.maximum_volume_size, Some(answer.available_capacity));
    answer.available_capacity
}

/// How many of 100 volumes created at once there are; the others found no space.
async fn create_hundred(world: &World) -> usize {
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let plugin = world.plugin.clone();
        let claim = Claim::filesystem(&format!("volume-{number}"), 1024, "ext4");
        calls.spawn(async move { claim.create(&plugin).await });
    }
    let answers = soon(calls.join_all()).await;
    let mut made = 0;
    for answer in answers {
        match answer {
            Ok(volume) => {
                world.assert_whole(&volume, GIB);
                made += 1;
            }
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert_eq!((world.items().len(), world.files().len()), (made, made));
    made
}

#[tokio::test]
async fn a_hundred_volumes_at_once_are_made_in_time_by_a_slow_device() {
    // The simulator's own saving to disk is no time of the device.
    let world = Setup::switches(&["exec-latency-ms=50", "config-loss-seconds=60"])
        .pool(100)
        .connected()
        .await;
    let began = Instant::now();
    assert_eq!(create_hundred(&world).await, 100);
    let took = began.elapsed();
    println!("100 volumes at 50 ms a round trip took {took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(available(&world).await, 0);
}

#[tokio::test]
async fn a_hundred_volumes_at_once_never_promise_more_than_the_pool() {
    let world = Setup::default().pool(60).connected().await;
    assert_eq!(create_hundred(&world).await, 60);
    assert_eq!(available(&world).await, 0);
    // Those that had no space get it as soon as there is some.
    let id = world.items()[0].slot.clone();
    world.delete(&id).await.unwrap();
    assert_eq!(available(&world).await, GIB);
    let next = Claim::filesystem("next", 1024, "ext4");
    world.create(&next).await.unwrap();
    let more = Claim::filesystem("more", 1024, "ext4");
    assert_eq!(code(world.create(&more).await), Code::ResourceExhausted);
}

#[tokio::test]
async fn more_may_be_promised_where_the_ratio_says_so() {
    let setup = Setup::default().pool(4);
    let world = setup.config(|config| config.overcommit_percent = 150);
    let world = world.connected().await;
    assert_eq!(available(&world).await, 6 * GIB);
    let volume = world.create(&Claim::block(NAME, 5 * 1024)).await.unwrap();
    assert_eq!(available(&world).await, GIB);
    let large = world
        .create(&Claim::block("large", 1025))
        .await
        .unwrap_err();
    assert_eq!(large.code(), Code::ResourceExhausted);
    let grown = world.expand(volume.id(), 6 * GIB + 1, 0).await;
    assert_eq!(code(grown), Code::ResourceExhausted);
    world.assert_whole(&volume, 5 * GIB);
    assert_eq!(
        world.expand(volume.id(), 6 * GIB, 0).await.unwrap(),
        6 * GIB
    );
    assert_eq!(available(&world).await, 0);
}

#[tokio::test]
async fn the_disks_of_others_count_and_their_files_do() {
    let world = Setup::default().pool(4).connected().await;
    world.inject(Fault::ForeignItem {
        slot: "mail".to_owned(),
        file_path: "/storage-pool/mail.img".to_owned(),
        nqn: None,
        comment: String::new(),
        size: 3 << 30,
    });
    assert_eq!(available(&world).await, GIB);
    world.inject(Fault::ForeignFile {
        path: "/storage-pool/log.txt".to_owned(),
        content: "x".repeat(8 << 20),
    });
    // Free space is 4 GiB less what is written, and still more than may be promised.
    assert_eq!(available(&world).await, GIB);
}

#[tokio::test]
async fn a_pool_that_is_not_clean_takes_no_new_volume() {
    let world = World::new().await;
    let volume = world.create(&Claim::block("old", 64)).await.unwrap();
    let state = |state: &str| Fault::PoolState {
        state: state.to_owned(),
    };
    world.inject(state("degraded"));
    assert_eq!(available(&world).await, 0);
    let claim = Claim::block(NAME, 64);
    let status = world.create(&claim).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("degraded"), "{status}");
    assert_eq!(world.items().len(), 1);
    // What is there goes on.
    world.create(&volume.claim).await.unwrap();
    volume.attach(&world.plugin, "node-a").await.unwrap();
    volume.detach(&world.plugin, "node-a").await.unwrap();
    world.delete(volume.id()).await.unwrap();
    world.inject(state("clean"));
    world.create(&claim).await.unwrap();
}

#[tokio::test]
async fn a_full_pool_takes_no_volume_and_shows_no_capacity() {
    let world = World::new().await;
    let old = world.create(&Claim::block("old", 64)).await.unwrap();
    world.inject(Fault::PoolFull { full: true });
    let claim = Claim::block(NAME, 64);
    assert_eq!(code(world.create(&claim).await), Code::ResourceExhausted);
    let grown = world.expand(old.id(), 128 * MIB, 0).await;
    assert_eq!(code(grown), Code::ResourceExhausted);
    assert_eq!(available(&world).await, 0);
    world.assert_whole(&old, 64 * MIB);
    assert_eq!(world.items().len(), 1);
    world.delete(old.id()).await.unwrap();
    world.inject(Fault::PoolFull { full: false });
    let volume = world.create(&claim).await.unwrap();
    world.assert_whole(&volume, 64 * MIB);
}

#[tokio::test]
async fn a_pool_that_is_not_mounted_is_waited_for() {
    let world = World::new().await;
    let old = world.create(&Claim::block("old", 64)).await.unwrap();
    let before = world.items();
    world.inject(Fault::PoolMounted { mounted: false });
    let claim = Claim::block(NAME, 64);
    assert_eq!(code(world.create(&claim).await), Code::Unavailable);
    assert_eq!(code(world.create(&old.claim).await), Code::Unavailable);
    assert_eq!(code(world.delete(old.id()).await), Code::Unavailable);
    assert_eq!(available(&world).await, 0);
    assert_eq!(world.items(), before);
    world.inject(Fault::PoolMounted { mounted: true });
    world.create(&claim).await.unwrap();
    world.delete(old.id()).await.unwrap();
    assert_eq!(world.items().len(), 1);
}

#[tokio::test]
async fn capacity_is_told_only_for_what_a_create_would_take() {
    let world = World::new().await;
    for pair in [
        ("volumePath", "/storage-pool"),
        ("volumePath", "/other/rds-csi"),
        ("rdsAddress", "192.0.2.1"),
        ("nvmePort", "0"),
        ("colour", "blue"),
    ] {
        let asked = capacity(&world, &[pair]).await;
        assert_eq!(code(asked), Code::InvalidArgument, "{pair:?}");
        let claim = Claim::block(NAME, 64).parameter(pair.0, pair.1);
        assert_eq!(code(world.create(&claim).await), Code::InvalidArgument);
    }
    let below = [("volumePath", "/storage-pool/rds-csi/gold")];
    let answer = capacity(&world, &below).await.unwrap();
    assert_eq!(answer.available_capacity, 100 * GIB);
    world.assert_empty();
}
