//! What is not proven to be the volume: neither taken for it nor deleted.

use super::*;

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
