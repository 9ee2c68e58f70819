//! The connection breaks between any two steps, or the answer is not one.

use std::time::Duration;

use rds_csi_tests::volume::Claim;
use rds_sim::Fault;
use rds_sim::fault::{Harm, Moment};
use rds_sim::model::Denied;
use tonic::Code;

use crate::harness::{GIB, MIB, Setup, World, code};

/// More statements than any script has.
const STATEMENTS: usize = 14;

fn cuts() -> Vec<Harm> {
    let mut harms = vec![
        Harm::Cut(Moment::Before),
        Harm::Cut(Moment::MidAnswer),
        Harm::Cut(Moment::After),
        Harm::Endless,
        Harm::Garbage,
        Harm::Truncate { bytes: 60 },
    ];
    harms.extend((0..STATEMENTS).map(|count| Harm::Cut(Moment::AfterStatements(count))));
    harms
}

async fn world() -> World {
    let setup = Setup::default().config(|config| config.rds.output_limit = 256 << 10);
    setup.connected().await
}

#[tokio::test]
async fn a_create_that_was_cut_off_is_completed_by_the_next_one() {
    let world = world().await;
    let mut half_made = 0;
    for (number, harm) in cuts().into_iter().enumerate() {
        println!("{harm:?}");
        let claim = Claim::block(&format!("volume-{number}"), 64);
        world.inject(Fault::on("/disk add", harm));
        assert_eq!(code(world.create(&claim).await), Code::Unavailable);
        let made = world.items();
        assert!(made.len() == number || made.len() == number + 1);
        let whole = |item: &rds_sim::model::Item| item.file().unwrap().export;
        half_made += made.iter().filter(|item| !whole(item)).count();

        let volume = world.create(&claim).await.unwrap();
        world.assert_whole(&volume, 64 * MIB);
        assert_eq!(world.items().len(), number + 1);
        assert_eq!(world.files().len(), number + 1);
    }
    assert!(
        half_made >= 4,
        "{half_made}: the cuts met no half-made volume"
    );
}

#[tokio::test]
async fn a_create_that_was_cut_off_can_be_deleted_instead() {
    let world = world().await;
    let known = Claim::block("volume", 64);
    let id = world.create(&known).await.unwrap().id().to_owned();
    world.delete(&id).await.unwrap();
    for harm in cuts() {
        println!("{harm:?}");
        world.inject(Fault::on("/disk add", harm));
        assert_eq!(code(world.create(&known).await), Code::Unavailable);
        world.delete(&id).await.unwrap();
        world.assert_empty();
    }
}

#[tokio::test]
async fn a_delete_that_was_cut_off_is_completed_by_the_next_one() {
    let world = world().await;
    let mut half_gone = 0;
    let directories = ["/storage-pool/rds-csi", "/storage-pool/rds-csi/gold"];
    for (harm, directory) in cuts()
        .into_iter()
        .flat_map(|harm| directories.map(|directory| (harm, directory)))
    {
        println!("{harm:?} {directory}");
        let claim = Claim::block("volume", 64).parameter("volumePath", directory);
        let volume = world.create(&claim).await.unwrap();
        world.inject(Fault::on("/disk remove", harm));
        assert_eq!(code(world.delete(volume.id()).await), Code::Unavailable);
        half_gone += usize::from(world.items().is_empty() && !world.files().is_empty());
        world.delete(volume.id()).await.unwrap();
        world.assert_empty();
    }
    assert!(half_gone >= 2, "the cuts left no file without its item");
}

#[tokio::test]
async fn an_expansion_that_was_cut_off_is_completed_by_the_next_one() {
    let world = world().await;
    let volume = world.create(&Claim::block("volume", 64)).await.unwrap();
    for (number, harm) in (1..).zip(cuts()) {
        println!("{harm:?}");
        let size = (64 + 64 * number) * MIB;
        world.inject(Fault::on("file-size=", harm));
        assert_eq!(
            code(world.expand(volume.id(), size, 0).await),
            Code::Unavailable
        );
        assert_eq!(world.expand(volume.id(), size, 0).await.unwrap(), size);
        world.assert_whole(&volume, size);
    }
}

#[tokio::test]
async fn a_device_that_stops_answering_is_a_timeout_and_then_found_again() {
    let setup = Setup::default().config(|config| {
        config.rds.command_timeout = Duration::from_secs(1);
    });
    let world = setup.connected().await;
    for effect in [false, true] {
        let claim = Claim::block(&format!("volume-{effect}"), 64);
        world.inject(Fault::on("/disk add", Harm::Hang { effect }));
        assert_eq!(code(world.create(&claim).await), Code::DeadlineExceeded);
        let volume = world.create(&claim).await.unwrap();
        world.assert_whole(&volume, 64 * MIB);
    }
    assert_eq!(world.items().len(), 2);
}

#[tokio::test]
async fn a_reading_that_is_none_is_never_an_absence() {
    let world = world().await;
    let claim = Claim::block("volume", 64);
    let volume = world.create(&claim).await.unwrap();
    let before = world.device();
    let harms = [
        Harm::Cut(Moment::Before),
        Harm::Cut(Moment::MidAnswer),
        Harm::Endless,
        Harm::Garbage,
        Harm::Truncate { bytes: 0 },
        Harm::Truncate { bytes: 80 },
    ];
    for harm in harms {
        println!("{harm:?}");
        let fault = || world.inject(Fault::on("/disk print", harm));
        fault();
        assert_eq!(code(world.create(&claim).await), Code::Unavailable);
        fault();
        assert_eq!(code(world.delete(volume.id()).await), Code::Unavailable);
        fault();
        assert_eq!(
            code(world.expand(volume.id(), GIB, 0).await),
            Code::Unavailable
        );
        fault();
        let attached = volume.attach(&world.plugin, "node-a").await;
        assert_eq!(code(attached), Code::Unavailable);
        fault();
        assert_eq!(code(world.list(0, "").await), Code::Unavailable);
        assert_eq!(world.device(), before);
    }
    assert_eq!(world.create(&claim).await.unwrap().volume, volume.volume);
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn a_user_without_rights_is_told_so_and_nothing_is_left() {
    let world = world().await;
    let claim = Claim::block("volume", 64);
    for (denied, expected) in [
        (Denied::Writes, Code::PermissionDenied),
        // Who sees nothing cannot say that nothing was left.
        (Denied::Everything, Code::Unavailable),
    ] {
        world.inject(Fault::Permissions { denied });
        let status = world.create(&claim).await.unwrap_err();
        assert_eq!(status.code(), expected, "{status}");
        assert!(status.message().contains("permissions"), "{status}");
        world.assert_empty();
    }
    world.inject(Fault::Permissions {
        denied: Denied::Nothing,
    });
    let volume = world.create(&claim).await.unwrap();
    world.inject(Fault::Permissions {
        denied: Denied::Writes,
    });
    // What needs no change goes on.
    world.create(&claim).await.unwrap();
    volume.attach(&world.plugin, "node-a").await.unwrap();
    volume.detach(&world.plugin, "node-a").await.unwrap();
    let before = world.device();
    let grown = world.expand(volume.id(), GIB, 0).await;
    assert_eq!(code(grown), Code::PermissionDenied);
    assert_eq!(
        code(world.delete(volume.id()).await),
        Code::PermissionDenied
    );
    assert_eq!(world.device(), before);
    world.inject(Fault::Permissions {
        denied: Denied::Nothing,
    });
    world.delete(volume.id()).await.unwrap();
    world.assert_empty();
}

#[tokio::test]
async fn rights_lost_in_the_middle_do_not_make_the_orchestrator_forget_a_half_made_volume() {
    for count in 1..6 {
        let world = world().await;
        let claim = Claim::block("volume", 64);
        let cut = Harm::Cut(Moment::AfterStatements(count));
        world.inject(Fault::on("/disk add", cut));
        assert_eq!(code(world.create(&claim).await), Code::Unavailable);
        let half_made = world.device();
        if half_made.0[0].file().unwrap().export {
            break;
        }
        for denied in [Denied::Writes, Denied::Everything] {
            world.inject(Fault::Permissions { denied });
            let status = world.create(&claim).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert!(status.message().contains("permissions"), "{status}");
            assert_eq!(world.device(), half_made);
        }
        world.inject(Fault::Permissions {
            denied: Denied::Nothing,
        });
        let volume = world.create(&claim).await.unwrap();
        world.assert_whole(&volume, 64 * MIB);
    }
}
