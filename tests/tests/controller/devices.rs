//! Devices that remove late, export too few or admit one connection: nobody has seen
//! whether a real one does, so a volume must come to its end on each.

use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;
use tonic::Code;

use crate::harness::{MIB, NAME, PATIENCE, Setup, code};

#[tokio::test]
async fn a_file_that_lingers_after_its_removal_is_waited_for_and_not_taken_for_gone() {
    let world = Setup::switches(&["deletion-delay-ms=3000"])
        .connected()
        .await;
    let claim = Claim::block(NAME, 64);
    let volume = world.create(&claim).await.unwrap();
    let early = world.delete(volume.id()).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable, "{early}");
    assert!(early.message().contains("its file is there"), "{early}");
    // What is still to be seen may be anybody's: it is neither a volume nor given out.
    assert_eq!(code(world.create(&claim).await), Code::AlreadyExists);
    let attached = volume.attach(&world.plugin, "node-a").await;
    assert_eq!(code(attached), Code::NotFound);
    until("the deletion ends", PATIENCE, async || {
        match world.delete(volume.id()).await {
            Ok(()) => Ok(Some(())),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                Ok(None)
            }
        }
    })
    .await
    .unwrap();
    world.assert_empty();
    let volume = world.create(&claim).await.unwrap();
    world.assert_whole(&volume, 64 * MIB);
}

#[tokio::test]
async fn a_volume_that_the_device_does_not_export_is_kept_and_completed_or_removed() {
    let world = Setup::switches(&["export-limit=1"]).connected().await;
    let first = world.create(&Claim::block("first", 64)).await.unwrap();
    for end in ["completed", "removed"] {
        let claim = Claim::block(end, 64);
        for _ in 0..2 {
            let refused = world.create(&claim).await.unwrap_err();
            // Not final: a part of it is there, and nobody may forget that.
            assert_eq!(refused.code(), Code::Unavailable, "{refused}");
            assert!(refused.message().contains("export"), "{refused}");
            assert_eq!((world.items().len(), world.files().len()), (2, 2));
        }
        if end == "completed" {
            world.delete(first.id()).await.unwrap();
            let volume = world.create(&claim).await.unwrap();
            world.assert_whole(&volume, 64 * MIB);
            world.delete(volume.id()).await.unwrap();
            world.create(&first.claim).await.unwrap();
        } else {
            let items = world.items();
            let half_made = items.iter().find(|item| item.slot != first.id());
            world.delete(&half_made.unwrap().slot).await.unwrap();
        }
        assert_eq!((world.items().len(), world.files().len()), (1, 1));
    }
}

#[tokio::test]
async fn one_connection_with_one_command_at_a_time_is_enough() {
    let switches = ["connection-limit=1", "extra-exec=refuse"];
    let world = Setup::switches(&switches).connected().await;
    let claims: Vec<_> = (0..8)
        .map(|number| Claim::block(&format!("volume-{number}"), 64))
        .collect();
    let made = futures::future::join_all(claims.iter().map(|claim| world.create(claim))).await;
    for volume in made {
        world.assert_whole(&volume.unwrap(), 64 * MIB);
    }
    // A connection that was cut still counts on some devices until they notice.
    world.inject(rds_sim::Fault::CutConnections);
    until("it is worked with again", PATIENCE, async || {
        Ok(world.list(0, "").await.ok())
    })
    .await
    .unwrap();
    assert_eq!(world.items().len(), claims.len());
}
