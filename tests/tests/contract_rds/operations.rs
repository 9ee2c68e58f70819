//! Every operation, over both fronts and under the switches of the simulator.

use rds_csi_core::appliance::{Step, VolumeState};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::{Epoch, Nqn};
use rds_csi_routeros::command::Dialect;
use rds_csi_routeros::{FailureKind, Rds};
use rstest::rstest;

use crate::fronts::{DELETION, Volume, memory, ssh, variants};

/// A volume's whole life, as the driver asks for it.
async fn life(rds: &dyn Rds, volume: &Volume) {
    let Volume { id, file, owner } = volume;
    let absent = VolumeState::default();
    assert_eq!(rds.volume(id, file).await.unwrap(), absent);

    let creation = volume.creation(Bytes::gib(1));
    let made = rds.apply(id, file, None, &creation).await.unwrap();
    let item = made.item.clone().unwrap();
    assert!(made.file_exists && item.exported && item.is_on(file));
    assert_eq!(item.slot, id.as_str());
    assert_eq!(item.owner().as_ref(), Some(owner));
    assert_eq!(item.nqn, Some(format!("nqn.2000-02.com.mikrotik:{id}")));
    assert_eq!(
        (item.port, item.allowed_host.as_deref()),
        (Some(4420), Some(""))
    );
    let disk = item.file().unwrap();
    assert_eq!((disk.size, disk.mount_filesystem), (Bytes::gib(1), false));
    assert_eq!(rds.volume(id, file).await.unwrap(), made);

    let inventory = rds.inventory().await.unwrap().inventory;
    assert_eq!(inventory.item(id), Some(&item));
    assert!(inventory.has_file(file));
    let pool = &inventory.pools[0];
    assert_eq!(pool.mount_point, "storage-pool");
    assert_eq!(pool.size, Bytes::gib(100));
    assert!(pool.is_healthy() && inventory.pools.len() == 1);
    assert_eq!(inventory.promised(pool), Bytes::gib(1));

    let size = Bytes::gib(2);
    let growth = [Step::Grow { size }];
    let grown = rds.apply(id, file, Some(owner), &growth).await.unwrap();
    let grown = grown.item.unwrap();
    assert_eq!(grown.file().unwrap().size, size);

    for _ in 0..2 {
        let gone = rds.apply(id, file, Some(owner), &DELETION).await.unwrap();
        assert_eq!(gone, absent);
    }
    let inventory = rds.inventory().await.unwrap().inventory;
    assert!(inventory.item(id).is_none() && inventory.files.is_empty());
}

const SWITCHES: [&[&str]; 16] = [
    &[],
    &["width=none"],
    &["width=40"],
    &["width=57"],
    &["width=200", "line-ends=lf"],
    &["width=40", "wrap=values"],
    &["width=80", "wrap=values"],
    &["width=133", "wrap=values", "line-ends=lf"],
    &["empty-print=nothing", "empty-find=no-such-item"],
    &["json-numbers=float", "booleans=yes-no"],
    &["json-numbers=text"],
    &["server-properties=exported"],
    &["server-properties=always", "error-status=one"],
    &["abort-on-failure=no"],
    &["file-remove-in-use=fail", "remove-connected=fail"],
    &["clock-format=legacy", "space=apparent", "allocation=full"],
];

fn switches(pairs: &[&str]) -> rds_sim::Variants {
    let mut plain: Vec<&str> = pairs.to_vec();
    plain.retain(|pair| *pair != "abort-on-failure=no");
    let mut variants = variants(&plain);
    variants.abort_on_failure = plain.len() == pairs.len();
    variants
}

#[rstest]
#[tokio::test]
async fn a_volume_lives_in_memory(#[values(Dialect::Json, Dialect::Prose)] dialect: Dialect) {
    for pairs in SWITCHES {
        println!("{pairs:?}");
        let front = memory(switches(pairs), dialect);
        life(
            &front.rds,
            &Volume::new("pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e"),
        )
        .await;
        life(&front.rds, &Volume::new(&"x".repeat(128))).await;
    }
}

/// A console that does not know `:serialize` answers in prose only, so what succeeds
/// there was read as prose.
#[rstest]
#[tokio::test]
async fn a_volume_lives_over_ssh(#[values(true, false)] serialize: bool) {
    for pairs in SWITCHES {
        println!("{pairs:?}");
        let mut switches = switches(pairs);
        switches.serialize = serialize;
        let front = ssh(switches).await;
        life(front.rds.as_ref(), &Volume::new("pvc-1")).await;
    }
}

#[tokio::test]
async fn a_create_and_a_delete_take_two_round_trips_each() {
    let front = ssh(variants(&[])).await;
    let volume = Volume::new("pvc-1");
    let Volume { id, file, owner } = &volume;
    front.rds.inventory().await.unwrap();
    let before = front.sim.counters().executions;
    front.rds.inventory().await.unwrap();
    let creation = volume.creation(Bytes::gib(1));
    front.rds.apply(id, file, None, &creation).await.unwrap();
    assert_eq!(front.sim.counters().executions - before, 2);
    front.rds.inventory().await.unwrap();
    let deleted = front.rds.apply(id, file, Some(owner), &DELETION);
    assert_eq!(deleted.await.unwrap(), VolumeState::default());
    assert_eq!(front.sim.counters().executions - before, 4);
    assert_eq!(front.sim.counters().logins, 1);
}

#[rstest]
#[tokio::test]
async fn an_item_with_another_marker_is_left_alone(
    #[values(Dialect::Json, Dialect::Prose)] dialect: Dialect,
    #[values(true, false)] abort_on_failure: bool,
    #[values("nothing", "no-such-item")] empty_find: &str,
) {
    let empty_find = format!("empty-find={empty_find}");
    let mut switches = variants(&[&empty_find]);
    switches.abort_on_failure = abort_on_failure;
    let front = memory(switches, dialect);
    let (ours, theirs) = (Volume::new("pvc-1"), Volume::new("pvc-2"));
    let foreign = Volume {
        owner: theirs.owner.clone(),
        ..ours.clone()
    };
    let Volume { id, file, owner } = &ours;
    let creation = foreign.creation(Bytes::gib(1));
    let before = front.rds.apply(id, file, None, &creation).await.unwrap();
    assert!(before.item.is_some());

    let after = front.rds.apply(id, file, Some(owner), &DELETION).await;
    assert_eq!(
        after.unwrap(),
        before,
        "the state shows that nothing happened"
    );
    let size = Bytes::gib(9);
    match front
        .rds
        .apply(id, file, Some(owner), &[Step::Grow { size }])
        .await
    {
        Ok(state) => assert_eq!(state, before),
        Err(error) => {
            assert_eq!(error.refusal().unwrap().state, before);
            assert_eq!(error.kind(), Kind::Conflict);
        }
    }
    let again = front.rds.apply(id, file, None, &ours.creation(size)).await;
    let error = again.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.index, refusal.kind), (0, FailureKind::Exists));
    assert_eq!(refusal.state, before);
    assert_eq!(front.rds.volume(id, file).await.unwrap(), before);
}

/// Who planned a renewal may have been slow, and another have renewed the export since.
#[rstest]
#[tokio::test]
async fn a_renewal_that_was_overtaken_changes_nothing(
    #[values(Dialect::Json, Dialect::Prose)] dialect: Dialect,
    #[values(true, false)] abort_on_failure: bool,
) {
    let mut switches = variants(&[]);
    switches.abort_on_failure = abort_on_failure;
    let rds = memory(switches, dialect).rds;
    let Volume { id, file, owner } = &Volume::new("pvc-1");
    let creation = Volume::new("pvc-1").creation(Bytes::gib(1));
    let made = rds.apply(id, file, None, &creation).await.unwrap();
    let from: Nqn = made.item.unwrap().nqn.unwrap().parse().unwrap();
    let renewal = |uid| {
        let nqn = from.in_epoch(id, &Epoch::of(uid)).unwrap();
        let (from, port) = (from.clone(), 4421);
        let step = Step::Renew { from, nqn, port };
        let rds = &rds;
        async move { rds.apply(id, file, Some(owner), &[step]).await.unwrap() }
    };
    let first = renewal("first").await;
    let item = first.item.as_ref().unwrap();
    let nqn = from.in_epoch(id, &Epoch::of("first")).unwrap();
    assert_eq!(item.nqn.as_deref(), Some(nqn.as_str()));
    assert_eq!((item.exported, item.port), (true, Some(4421)));
    assert_eq!(renewal("second").await, first);
}

#[rstest]
#[tokio::test]
async fn a_file_that_an_item_uses_is_never_removed(
    #[values(Dialect::Json, Dialect::Prose)] dialect: Dialect,
) {
    let front = memory(variants(&[]), dialect);
    let (volume, other) = (Volume::new("pvc-1"), Volume::new("pvc-2"));
    let creation = volume.creation(Bytes::gib(1));
    let rds = &front.rds;
    rds.apply(&volume.id, &volume.file, None, &creation)
        .await
        .unwrap();
    let alone = [Step::RemoveFile];
    let own = rds
        .apply(&volume.id, &volume.file, None, &alone)
        .await
        .unwrap();
    assert!(own.file_exists, "its own item uses it");
    let foreign = rds
        .apply(&other.id, &volume.file, None, &alone)
        .await
        .unwrap();
    assert!(foreign.file_exists, "an item in another slot uses it");
}

#[rstest]
#[tokio::test]
async fn a_pool_that_is_not_mounted_is_no_pool(
    #[values(Dialect::Json, Dialect::Prose)] dialect: Dialect,
) {
    let front = memory(variants(&[]), dialect);
    front
        .console
        .model()
        .change(|device| device.pool_mut().mounted = false);
    let inventory = front.rds.inventory().await.unwrap().inventory;
    assert!(inventory.pools.is_empty() && inventory.items.len() == 1);
    let volume = Volume::new("pvc-1");
    let creation = volume.creation(Bytes::gib(1));
    let error = front
        .rds
        .apply(&volume.id, &volume.file, None, &creation)
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.refusal().unwrap().index, 0, "{error}");
}
