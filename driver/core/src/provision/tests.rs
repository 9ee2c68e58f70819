//! Plans are run against a small model of the device: what each step does to a reading.

use proptest::prelude::*;

use super::*;
use crate::appliance::{DiskKind, FileEntry, Step};
use crate::backing_file::VolumeDirectory;
use crate::bytes::CapacityRange;
use crate::kind::{Failure, Kind};
use crate::nqn::{Epoch, Nqn};
use crate::volume_name::Owner;

mod proof;
mod renew;
mod space;

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
