//! Plans are run against a small model of the device: what each step does to a reading.

use proptest::prelude::*;

use super::*;
use crate::appliance::{DiskKind, FileEntry, Step};
use crate::backing_file::VolumeDirectory;
use crate::bytes::CapacityRange;
use crate::kind::{Failure, Kind};
use crate::nqn::{Epoch, Nqn};
use crate::volume_name::Owner;

mod renew;

fn cluster() -> ClusterId {
    "lab".parse().unwrap()
}

fn desired() -> Desired {
    let name = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
    let id = VolumeId::for_name(&cluster(), name);
    Desired {
        nqn: crate::nqn::NqnPrefix::default().nqn(&id),
        id,
        owner: Owner {
            cluster: cluster(),
            name: name.parse().unwrap(),
        },
        directory: "/pool/csi".parse().unwrap(),
        range: CapacityRange {
            required: Some(Bytes::gib(1)),
            limit: None,
        },
        size: Bytes::gib(1),
        port: 4420,
    }
}

fn pool() -> Pool {
    Pool {
        slot: "raid1".into(),
        mount_point: "pool".into(),
        size: Bytes::gib(10),
        free: Bytes::gib(10),
        state: Some("clean".into()),
    }
}

fn empty() -> Inventory {
    Inventory {
        items: vec![],
        pools: vec![pool()],
        files: vec![],
    }
}

const SPACE: Space = Space {
    reserved: Bytes::new(0),
    overcommit_percent: 100,
};

fn add(inventory: &mut Inventory, desired: &Desired, size: Bytes, owner: &Owner) {
    let file = desired.directory.file(&desired.id);
    inventory.files.push(FileEntry {
        name: file.file_name().to_owned(),
    });
    let disk = FileDisk {
        path: file.file_path(),
        size,
        mount_filesystem: false,
    };
    inventory.items.push(DiskItem {
        slot: desired.id.as_str().to_owned(),
        comment: owner.to_string(),
        kind: DiskKind::File(disk),
        exported: false,
        nqn: None,
        port: None,
        allowed_host: None,
    });
}

/// The model: one step on one inventory.
fn take(inventory: &mut Inventory, desired: &Desired, step: &Step) {
    let file = desired.directory.file(&desired.id);
    let slot = desired.id.as_str().to_owned();
    if let Step::Add { size, owner } = step {
        return add(inventory, desired, *size, owner);
    }
    if *step == Step::RemoveFile {
        assert!(
            !inventory.items.iter().any(|item| item.is_on(&file)),
            "a file is removed only without an item"
        );
        return inventory
            .files
            .retain(|entry| entry.name != file.file_name());
    }
    if *step == Step::RemoveItem {
        assert!(
            inventory
                .items
                .iter()
                .all(|item| item.slot != slot || !item.exported),
            "exports end before removal"
        );
        return inventory.items.retain(|item| item.slot != slot);
    }
    let item = inventory
        .items
        .iter_mut()
        .find(|item| item.slot == slot)
        .unwrap();
    match (step, &mut item.kind) {
        (Step::Offer { nqn, port }, DiskKind::File(disk)) => {
            assert!(
                !item.exported,
                "an offer is never changed under a running export"
            );
            (item.nqn, item.port, disk.mount_filesystem) =
                (Some(nqn.to_string()), Some(*port), false);
            item.allowed_host = Some(String::new());
        }
        (Step::Allow { hosts }, _) => {
            let hosts: Vec<_> = hosts.iter().map(Nqn::to_string).collect();
            item.allowed_host = Some(hosts.join(","));
        }
        (Step::Renew { from, nqn, port }, _) => {
            if item.nqn.as_deref() == Some(from.as_str()) {
                (item.nqn, item.port, item.exported) = (Some(nqn.to_string()), Some(*port), true);
                item.allowed_host = Some(String::new());
            }
        }
        (Step::Export, _) => item.exported = true,
        (Step::Unexport, _) => item.exported = false,
        (Step::Grow { size }, DiskKind::File(disk)) => {
            assert!(*size > disk.size, "a volume only grows");
            disk.size = *size;
        }
        other => panic!("{other:?}"),
    }
}

fn made() -> Inventory {
    let mut inventory = empty();
    for step in create(&inventory, &desired(), SPACE).unwrap() {
        take(&mut inventory, &desired(), &step);
    }
    inventory
}

#[test]
fn a_new_volume_is_offered_before_it_is_exported() {
    let steps = create(&empty(), &desired(), SPACE).unwrap();
    assert!(matches!(
        steps[..],
        [Step::Add { .. }, Step::Offer { .. }, Step::Export]
    ));
    assert_eq!(create(&made(), &desired(), SPACE), Ok(vec![]));
}

#[test]
fn a_volume_that_a_crash_left_half_made_is_completed() {
    for done in 0..3 {
        let mut inventory = empty();
        for step in create(&inventory, &desired(), SPACE)
            .unwrap()
            .iter()
            .take(done)
        {
            take(&mut inventory, &desired(), step);
        }
        for step in create(&inventory, &desired(), SPACE).unwrap() {
            take(&mut inventory, &desired(), &step);
        }
        assert_eq!(inventory, made(), "after {done} steps");
    }
}

#[test]
fn an_offer_to_one_host_is_made_to_all_before_it_is_exported() {
    let mut inventory = empty();
    let steps = create(&inventory, &desired(), SPACE).unwrap();
    for step in &steps[..2] {
        take(&mut inventory, &desired(), step);
    }
    inventory.items[0].allowed_host = Some("nqn.2014-08.org.nvmexpress:uuid:x".into());
    assert_eq!(
        create(&inventory, &desired(), SPACE).as_deref(),
        Ok(&steps[1..])
    );
}

#[test]
fn a_deletion_that_was_cut_short_is_completed() {
    let remove = |inventory: &Inventory| {
        delete(
            inventory,
            &desired().id,
            &desired().directory,
            &cluster(),
            None,
        )
        .map(|removal| removal.steps)
    };
    for done in 0..=3 {
        let mut inventory = made();
        for step in remove(&inventory).unwrap().iter().take(done) {
            take(&mut inventory, &desired(), step);
        }
        for step in remove(&inventory).unwrap() {
            take(&mut inventory, &desired(), &step);
        }
        assert_eq!(inventory, empty(), "after {done} steps");
        assert_eq!(remove(&inventory), Ok(vec![]));
    }
}

/// Ways in which a device can hold something else where a volume is wanted.
type Change = fn(&mut Inventory);

const NOT_THE_VOLUME: &[(&str, Change, Kind)] = &[
    ("no comment", |i| i.items[0].comment.clear(), Kind::Exists),
    (
        "another cluster",
        |i| i.items[0].comment = i.items[0].comment.replace("lab", "home"),
        Kind::Exists,
    ),
    (
        "another name",
        |i| i.items[0].comment = "rds-csi/lab/pvc-other".into(),
        Kind::Exists,
    ),
    (
        "another type",
        |i| i.items[0].kind = DiskKind::Other("ramdisk".into()),
        Kind::Exists,
    ),
    (
        "another file",
        |i| file_of(i).path = "/pool/other/x.img".into(),
        Kind::Exists,
    ),
    (
        "too small",
        |i| file_of(i).size = Bytes::mib(4),
        Kind::Exists,
    ),
    (
        "another nqn",
        |i| i.items[0].nqn = Some("nqn.2000-02.com.mikrotik:x".into()),
        Kind::Exists,
    ),
    (
        "another port",
        |i| i.items[0].port = Some(4421),
        Kind::Exists,
    ),
    (
        "for one host only",
        |i| i.items[0].allowed_host = Some("nqn.2014-08.org.nvmexpress:uuid:x".into()),
        Kind::Exists,
    ),
    (
        "mounted by the device",
        |i| file_of(i).mount_filesystem = true,
        Kind::Exists,
    ),
    ("only a file", |i| i.items.clear(), Kind::Exists),
    (
        "file of another item",
        |i| i.items[0].slot = "backup".into(),
        Kind::Exists,
    ),
    ("pool not mounted", |i| i.pools.clear(), Kind::Unreachable),
    (
        "another pool",
        |i| i.pools[0].mount_point = "pool2".into(),
        Kind::Unreachable,
    ),
    (
        "degraded",
        |i| {
            i.items.clear();
            i.files.clear();
            i.pools[0].state = Some("degraded".into());
        },
        Kind::Conflict,
    ),
    (
        "full",
        |i| {
            i.items[0].slot = "other".into();
            i.files.clear();
            file_of(i).path = "/pool/big.img".into();
            i.items[0].nqn = None;
            file_of(i).size = Bytes::gib(10);
        },
        Kind::Exhausted,
    ),
];

#[test]
fn what_is_not_the_wanted_volume_is_refused_and_left_alone() {
    for (what, change, kind) in NOT_THE_VOLUME {
        let mut inventory = made();
        change(&mut inventory);
        let error = create(&inventory, &desired(), SPACE).unwrap_err();
        assert_eq!(error.kind(), *kind, "{what}: {error}");
    }
}

fn file_of(inventory: &mut Inventory) -> &mut FileDisk {
    match &mut inventory.items[0].kind {
        DiskKind::File(disk) => disk,
        DiskKind::Other(_) => panic!("not a file"),
    }
}

const NOT_PROVEN_OURS: &[(&str, Change, Kind)] = &[
    ("no comment", |i| i.items[0].comment.clear(), Kind::Exists),
    (
        "another cluster",
        |i| i.items[0].comment = i.items[0].comment.replace("lab", "home"),
        Kind::Exists,
    ),
    (
        "anothers marker",
        |i| i.items[0].comment = "rds-csi/lab/pvc-other".into(),
        Kind::Exists,
    ),
    (
        "another type",
        |i| i.items[0].kind = DiskKind::Other("raid".into()),
        Kind::Exists,
    ),
    (
        "another file",
        |i| file_of(i).path = "/pool/csi/other.img".into(),
        Kind::Exists,
    ),
    (
        "file of another item",
        |i| i.items[0].slot = "backup".into(),
        Kind::Exists,
    ),
    ("pool not mounted", |i| i.pools.clear(), Kind::Unreachable),
];

#[test]
fn nothing_is_deleted_without_proof() {
    for (what, change, kind) in NOT_PROVEN_OURS {
        let mut inventory = made();
        change(&mut inventory);
        let error = delete(
            &inventory,
            &desired().id,
            &desired().directory,
            &cluster(),
            None,
        )
        .unwrap_err();
        assert_eq!(error.kind(), *kind, "{what}: {error}");
    }
}

#[test]
fn a_volume_of_the_older_driver_is_ours_only_without_another_comment() {
    let id: VolumeId = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e".parse().unwrap();
    let mut inventory = made();
    inventory.items[0].slot = id.as_str().to_owned();
    inventory.items[0].comment.clear();
    let file = desired().directory.file(&id);
    file_of(&mut inventory).path = file.file_path();
    inventory.files[0].name = file.file_name().to_owned();
    let Removal { steps, owner, .. } =
        delete(&inventory, &id, &desired().directory, &cluster(), None).unwrap();
    assert_eq!(owner, None);
    assert_eq!(steps, [Step::Unexport, Step::RemoveItem, Step::RemoveFile]);
    inventory.items[0].comment = "kept by hand".into();
    assert_eq!(
        delete(&inventory, &id, &desired().directory, &cluster(), None)
            .unwrap_err()
            .kind(),
        Kind::Exists
    );
}

#[test]
fn a_file_left_below_the_base_directory_is_found_by_proof_and_not_by_name() {
    let base: VolumeDirectory = "/pool".parse().unwrap();
    let mut inventory = made();
    inventory.items.clear();
    let (id, file) = (desired().id, desired().directory.file(&desired().id));
    let left = |inventory: &Inventory, begun: Option<&BackingFile>| {
        delete(inventory, &id, &base, &cluster(), begun)
            .map(|removal| (removal.file, removal.steps))
            .map_err(|error| error.kind())
    };
    let found = Ok((file.clone(), vec![Step::RemoveFile]));
    assert_eq!(left(&inventory, None), Err(Kind::Exists), "a copy");
    assert_eq!(left(&inventory, Some(&base.file(&id))), Err(Kind::Exists));
    assert_eq!(left(&inventory, Some(&file)), found);

    let mut beside = inventory.clone();
    let name = "pvc-11111111-2f0b-4f7e-9a57-0f4a6b1d2c3e";
    let mut other = desired();
    other.id = VolumeId::for_name(&cluster(), name);
    other.owner.name = name.parse().unwrap();
    add(&mut beside, &other, Bytes::gib(1), &other.owner);
    assert_eq!(left(&beside, None), found);
    beside.items[0].comment = "rds-csi/other/x".into();
    assert_eq!(left(&beside, None), Err(Kind::Exists));

    inventory.files.push(FileEntry {
        name: base.file(&id).file_name().to_owned(),
    });
    assert_eq!(left(&inventory, Some(&file)), Err(Kind::Exists));
    inventory.files.remove(0);
    let in_base = Ok((base.file(&id), vec![Step::RemoveFile]));
    assert_eq!(left(&inventory, None), in_base);
}

#[test]
fn only_a_whole_volume_is_usable_or_created() {
    let read_back = |inventory: &Inventory| VolumeState {
        item: inventory.items.first().cloned(),
        file_exists: !inventory.files.is_empty(),
    };
    assert_eq!(created(&read_back(&made()), &desired()), Ok(Bytes::gib(1)));
    let broken: [(Change, Kind); 6] = [
        (|i| i.items.clear(), Kind::NotFound),
        (|i| i.files.clear(), Kind::Unreachable),
        (|i| i.items[0].exported = false, Kind::Unreachable),
        (|i| i.items[0].comment.clear(), Kind::Exists),
        (|i| i.items[0].nqn = None, Kind::Exists),
        (|i| i.items[0].allowed_host = Some("x".into()), Kind::Exists),
    ];
    for (change, kind) in broken {
        let mut inventory = made();
        change(&mut inventory);
        assert_eq!(
            created(&read_back(&inventory), &desired())
                .unwrap_err()
                .kind(),
            kind
        );
    }
}

#[test]
fn growing_rounds_up_and_never_shrinks() {
    let grow = |required: u64, limit: Option<u64>| {
        let range = CapacityRange {
            required: Some(Bytes::new(required)),
            limit: limit.map(Bytes::new),
        };
        expand(&made(), &desired().id, &cluster(), range, SPACE)
            .map(|growth| (growth.step, growth.size))
    };
    let gib = Bytes::gib(1).get();
    assert_eq!(grow(gib, None), Ok((None, Bytes::gib(1))));
    assert_eq!(
        grow(gib + 1, None),
        Ok((
            Some(Step::Grow {
                size: Bytes::mib(1028)
            }),
            Bytes::mib(1028)
        ))
    );
    assert_eq!(grow(1, Some(gib - 1)).unwrap_err().kind(), Kind::OutOfRange);
    assert_eq!(grow(11 * gib, None).unwrap_err().kind(), Kind::Exhausted);
    let missing = VolumeId::for_name(&cluster(), "x");
    let error = expand(
        &made(),
        &missing,
        &cluster(),
        CapacityRange::default(),
        SPACE,
    )
    .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn files_that_are_no_disks_leave_less_to_promise() {
    let mut inventory = empty();
    inventory.pools[0].free = Bytes::gib(3);
    let left = |percent| available(&inventory, &inventory.pools[0], Bytes::default(), percent);
    assert_eq!((left(100), left(200)), (Bytes::gib(3), Bytes::gib(6)));
}

#[test]
fn two_calls_at_once_do_not_promise_the_same_free_space() {
    let mut inventory = empty();
    inventory.pools[0].free = Bytes::mib(1536);
    let space = |reserved| Space { reserved, ..SPACE };
    assert!(create(&inventory, &desired(), space(Bytes::mib(512))).is_ok());
    let error = create(&inventory, &desired(), space(Bytes::gib(1))).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
}

#[test]
fn a_volume_without_its_file_is_not_whole() {
    let mut inventory = made();
    inventory.files.clear();
    let error = create(&inventory, &desired(), SPACE).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
}

#[test]
fn an_item_with_the_marker_of_another_slot_is_no_volume() {
    let mut inventory = made();
    let id = |inventory: &Inventory| Some(marked(&inventory.items[0], &cluster())?.0);
    assert_eq!(id(&inventory), Some(desired().id));
    inventory.items[0].slot = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".into();
    assert_eq!(id(&inventory), None);
}

#[test]
fn promises_under_way_count() {
    let space = Space {
        reserved: Bytes::gib(9),
        overcommit_percent: 100,
    };
    assert!(create(&empty(), &desired(), space).is_ok());
    let space = Space {
        reserved: Bytes::gib(9).saturating_add(Bytes::new(1)),
        overcommit_percent: 100,
    };
    assert_eq!(
        create(&empty(), &desired(), space).unwrap_err().kind(),
        Kind::Exhausted
    );
    let space = Space {
        overcommit_percent: 200,
        ..space
    };
    assert!(create(&empty(), &desired(), space).is_ok());
}

proptest! {
    /// However creates and deletes are cut short and repeated, the device ends with the
    /// whole volume or with nothing.
    #[test]
    fn interrupted_calls_converge(cuts in proptest::collection::vec((any::<bool>(), 0usize..4), 0..12), finally_create: bool) {
        let mut inventory = empty();
        for (is_create, done) in cuts.into_iter().chain([(finally_create, 9)]) {
            let steps = if is_create {
                create(&inventory, &desired(), SPACE)
            } else {
                delete(&inventory, &desired().id, &desired().directory, &cluster(), None).map(|removal| removal.steps)
            };
            // The one state that a person must look at: a file that lost its item.
            let Ok(steps) = steps else {
                prop_assert!(is_create && inventory.items.is_empty() && !inventory.files.is_empty());
                continue;
            };
            for step in steps.iter().take(done) {
                take(&mut inventory, &desired(), step);
            }
        }
        let stray = inventory.items.is_empty() && !inventory.files.is_empty();
        let converged = if finally_create { inventory == made() || stray } else { inventory == empty() };
        prop_assert!(converged);
    }
}

fn state(inventory: &Inventory) -> VolumeState {
    let desired = desired();
    VolumeState {
        item: inventory.item(&desired.id).cloned(),
        file_exists: inventory.has_file(&desired.directory.file(&desired.id)),
    }
}

#[test]
fn a_probe_is_made_and_removed_like_a_volume_and_is_on_no_list() {
    let id = VolumeId::probe(&cluster());
    let probe = Desired {
        nqn: crate::nqn::NqnPrefix::default().nqn(&id),
        owner: Owner {
            cluster: cluster(),
            name: crate::volume_id::PROBE_NAME.parse().unwrap(),
        },
        id,
        ..desired()
    };
    let mut inventory = empty();
    for step in create(&inventory, &probe, SPACE).unwrap() {
        take(&mut inventory, &probe, &step);
    }
    assert!(
        inventory
            .items
            .iter()
            .all(|item| marked(item, &cluster()).is_none())
    );
    let other: ClusterId = "home".parse().unwrap();
    let remove = |cluster: &ClusterId, inventory: &Inventory| {
        delete(inventory, &probe.id, &probe.directory, cluster, None)
    };
    assert_eq!(
        remove(&other, &inventory).unwrap_err().kind(),
        Kind::Exists,
        "another cluster's"
    );
    for step in remove(&cluster(), &inventory).unwrap().steps {
        take(&mut inventory, &probe, &step);
    }
    assert_eq!(inventory, empty());
}

/// What access control set is kept, and so is the name of an export that was renewed: a lost
/// node knows the one before.
#[test]
fn a_volume_that_is_closed_to_one_node_is_made() {
    let mut inventory = made();
    let host = crate::nqn::HostIdentity::of(&cluster(), "node-a").nqn;
    inventory.items[0].allowed_host = Some(host.to_string());
    assert_eq!(create(&inventory, &desired(), SPACE), Ok(vec![]));
    let renewed = desired().nqn.in_epoch(&desired().id, &Epoch::of("uid"));
    inventory.items[0].nqn = renewed.map(|nqn| nqn.to_string());
    inventory.items[0].exported = false;
    assert_eq!(
        create(&inventory, &desired(), SPACE),
        Ok(vec![Step::Export])
    );
}
