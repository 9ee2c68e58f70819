//! What goes wrong under a command: no fault may look like an absence or a success.

use std::time::Duration;

use rds_csi_core::appliance::VolumeState;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_routeros::{FailureKind, Rds};
use rds_sim::Fault;
use rds_sim::fault::{Harm, Moment};
use rds_sim::model::Denied;

use crate::fronts::{DELETION, Ssh, Volume, reconnected, ssh, ssh_with, variants};

async fn limited() -> Ssh {
    ssh_with(variants(&[]), |config| {
        config.command_timeout = Duration::from_secs(1);
        config.output_limit = 256 << 10;
    })
    .await
}

fn harms() -> Vec<Harm> {
    let mut harms = vec![
        Harm::Cut(Moment::Before),
        Harm::Cut(Moment::MidAnswer),
        Harm::Cut(Moment::After),
        Harm::Hang { effect: false },
        Harm::Hang { effect: true },
        Harm::Endless,
        Harm::Garbage,
        Harm::Truncate { bytes: 0 },
        Harm::Truncate { bytes: 60 },
    ];
    harms.extend((0..8).map(|count| Harm::Cut(Moment::AfterStatements(count))));
    harms
}

fn is_open(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::Timeout)
}

#[tokio::test]
async fn a_create_that_was_harmed_converges_by_looking_again() {
    let front = limited().await;
    for (number, harm) in harms().into_iter().enumerate() {
        println!("{harm:?}");
        let volume = Volume::new(&format!("pvc-{number}"));
        let Volume { id, file, owner } = &volume;
        let creation = volume.creation(Bytes::gib(1));
        reconnected(front.rds.as_ref(), &volume).await;
        front.sim.inject(Fault::on("/disk add", harm)).unwrap();
        let error = front
            .rds
            .apply(id, file, None, &creation)
            .await
            .unwrap_err();
        assert!(is_open(error.kind()), "{error:?}");
        // What the driver does next: look, then take the steps that are missing.
        let state = reconnected(front.rds.as_ref(), &volume).await;
        let missing = if state.item.is_some() { 1.. } else { 0.. };
        let done = front.rds.apply(id, file, Some(owner), &creation[missing]);
        let item = done.await.unwrap().item.unwrap();
        assert!(item.exported && item.owner().as_ref() == Some(owner));
    }
    let items = front.rds.inventory().await.unwrap().inventory.items.len();
    assert_eq!(items, harms().len() + 1, "one per volume, and the pool");
}

#[tokio::test]
async fn a_delete_that_was_harmed_converges_by_asking_again() {
    let front = limited().await;
    for (number, harm) in harms().into_iter().enumerate() {
        println!("{harm:?}");
        let volume = Volume::new(&format!("pvc-{number}"));
        let Volume { id, file, owner } = &volume;
        reconnected(front.rds.as_ref(), &volume).await;
        let creation = volume.creation(Bytes::gib(1));
        front.rds.apply(id, file, None, &creation).await.unwrap();
        front.sim.inject(Fault::on("/disk remove", harm)).unwrap();
        let error = front.rds.apply(id, file, Some(owner), &DELETION).await;
        assert!(is_open(error.unwrap_err().kind()));
        reconnected(front.rds.as_ref(), &volume).await;
        let gone = front.rds.apply(id, file, Some(owner), &DELETION).await;
        assert_eq!(gone.unwrap(), VolumeState::default());
    }
}

#[tokio::test]
async fn a_harmed_reading_is_an_error_and_never_an_absence() {
    let front = limited().await;
    let volume = Volume::new("pvc-1");
    let creation = volume.creation(Bytes::gib(1));
    let made = front
        .rds
        .apply(&volume.id, &volume.file, None, &creation)
        .await;
    let made = made.unwrap();
    for harm in harms() {
        println!("{harm:?}");
        front.sim.inject(Fault::on("/disk print", harm)).unwrap();
        match front.rds.volume(&volume.id, &volume.file).await {
            // The whole answer may have come before the cut.
            Ok(state) => assert_eq!(state, made),
            Err(error) => assert!(is_open(error.kind()), "{error:?}"),
        }
        assert_eq!(reconnected(front.rds.as_ref(), &volume).await, made);
        front.sim.inject(Fault::on("/disk print", harm)).unwrap();
        match front.rds.inventory().await {
            Ok(reading) => assert_eq!(reading.inventory.item(&volume.id), made.item.as_ref()),
            Err(error) => assert!(is_open(error.kind()), "{error:?}"),
        }
        assert_eq!(reconnected(front.rds.as_ref(), &volume).await, made);
        front.sim.clear_faults();
    }
}

#[tokio::test]
async fn an_answer_cut_at_any_byte_is_an_error() {
    let front = ssh(variants(&[])).await;
    let volume = Volume::new("pvc-1");
    let creation = volume.creation(Bytes::gib(1));
    let made = front
        .rds
        .apply(&volume.id, &volume.file, None, &creation)
        .await;
    let made = made.unwrap();
    let mut whole = 0;
    for bytes in (0..1200).step_by(13) {
        let harm = Harm::Truncate { bytes };
        front.sim.inject(Fault::on("/disk print", harm)).unwrap();
        match front.rds.volume(&volume.id, &volume.file).await {
            Ok(state) => {
                assert_eq!(state, made);
                whole += 1;
            }
            Err(error) => assert_eq!((error.kind(), whole), (Kind::Unreachable, 0)),
        }
    }
    assert_eq!(
        front.sim.counters().logins,
        1,
        "a short answer costs no session"
    );
}

#[tokio::test]
async fn a_user_without_rights_is_told_so_at_once() {
    for abort_on_failure in [true, false] {
        let mut switches = variants(&[]);
        switches.abort_on_failure = abort_on_failure;
        denials(&ssh(switches).await).await;
    }
}

async fn denials(front: &Ssh) {
    let volume = Volume::new("pvc-1");
    let Volume { id, file, .. } = &volume;
    let creation = volume.creation(Bytes::gib(1));
    let permissions = |denied| Fault::Permissions { denied };
    front.sim.inject(permissions(Denied::Writes)).unwrap();
    let error = front
        .rds
        .apply(id, file, None, &creation)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(error.refusal().unwrap().kind, FailureKind::Denied);
    assert_eq!(error.refusal().unwrap().state, VolumeState::default());

    front.sim.inject(permissions(Denied::Everything)).unwrap();
    let read = front.rds.volume(id, file).await.unwrap_err();
    assert_eq!(read.kind(), Kind::Denied, "{read:?}");
    let read = front.rds.inventory().await.unwrap_err();
    assert_eq!(read.kind(), Kind::Denied, "{read:?}");
    let error = front
        .rds
        .apply(id, file, None, &creation)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "the state is not known");
}

#[tokio::test]
async fn a_refusal_after_other_steps_is_not_final() {
    let front = ssh(variants(&[])).await;
    let volume = Volume::new("pvc-1");
    let Volume { id, file, owner } = &volume;
    let mut steps = volume.creation(Bytes::gib(1));
    steps.insert(1, steps[0].clone());
    let error = front.rds.apply(id, file, None, &steps).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.index, refusal.kind), (1, FailureKind::Exists));
    assert_eq!(
        refusal.state.item.as_ref().unwrap().owner().as_ref(),
        Some(owner)
    );
    assert_eq!(error.kind(), Kind::Unreachable);
}
