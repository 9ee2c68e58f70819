//! Offering a volume anew.

use super::*;

fn renewal(inventory: &Inventory, uid: &str) -> Result<Renewal, ProvisionError> {
    let epoch = Epoch::of(uid);
    renew(&state(inventory), &desired().id, &cluster(), &epoch, None)
}

#[test]
fn an_export_ends_before_the_volume_has_another_name_and_a_cut_is_completed() {
    let desired = desired();
    let Renewal { nqn, steps, .. } = renewal(&made(), "uid-1").unwrap();
    let (from, port) = (desired.nqn.clone(), desired.port);
    let whole = Step::Renew {
        from,
        nqn: nqn.clone(),
        port,
    };
    assert_eq!(steps, [whole]);
    let parts = [Step::Unexport, Step::Offer { nqn, port }, Step::Export];
    for cut in 0..=parts.len() {
        let mut inventory = made();
        for step in &parts[..cut] {
            take(&mut inventory, &desired, step);
        }
        for step in renewal(&inventory, "uid-1").unwrap().steps {
            take(&mut inventory, &desired, &step);
        }
        let done = renewal(&inventory, "uid-1").unwrap();
        assert_eq!(done.steps, []);
        let item = inventory.item(&desired.id).unwrap();
        assert_eq!(item.nqn.as_deref(), Some(done.nqn.as_str()));
        assert_eq!(renewed(item, &desired.id), Some(done.nqn));
        usable(&state(&inventory), &desired.id, &cluster()).unwrap();
        // It is the volume that was made, for whoever asks to make it.
        assert_eq!(create(&inventory, &desired, SPACE), Ok(vec![]));
        assert_eq!(created(&state(&inventory), &desired), Ok(desired.size));
        // And is offered anew from there.
        let next = renewal(&inventory, "uid-2").unwrap();
        assert_eq!(next.steps.len(), 1);
        assert_eq!(
            next.nqn.without_epoch(&desired.id),
            Some(desired.nqn.clone())
        );
    }
}

/// A device that shows the properties of an export only while it is one.
#[test]
fn a_name_that_is_not_shown_is_that_of_the_persistent_volume() {
    let desired = desired();
    let mut inventory = made();
    take(&mut inventory, &desired, &Step::Unexport);
    (inventory.items[0].nqn, inventory.items[0].port) = (None, None);
    let epoch = Epoch::of("uid-1");
    let made = Some((&desired.nqn, 4421));
    let renewal = renew(&state(&inventory), &desired.id, &cluster(), &epoch, made).unwrap();
    let nqn = desired.nqn.in_epoch(&desired.id, &epoch).unwrap();
    assert_eq!(
        renewal.steps,
        [
            Step::Unexport,
            Step::Offer { nqn, port: 4421 },
            Step::Export
        ]
    );
}

#[test]
fn only_a_volume_of_ours_that_is_there_is_offered_anew() {
    assert_eq!(
        renewal(&empty(), "uid-1").unwrap_err().kind(),
        Kind::NotFound
    );
    let changed = |change: fn(&mut Inventory)| {
        let mut inventory = made();
        change(&mut inventory);
        renewal(&inventory, "uid-1").unwrap_err().kind()
    };
    assert_eq!(changed(|found| found.files.clear()), Kind::Unreachable);
    let foreign = changed(|found| found.items[0].comment = "mine".into());
    assert_eq!(foreign, Kind::Exists);
    let other = changed(|found| found.items[0].nqn = Some("nqn.2000-02.com:pvc-1".into()));
    assert_eq!(other, Kind::Exists);
    assert_eq!(
        renewed(made().item(&desired().id).unwrap(), &desired().id),
        None
    );
}
