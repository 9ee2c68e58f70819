//! Plans are run against a small model of a target: what each step does to it.

use proptest::prelude::*;

use super::*;
use crate::bytes::Bytes;

const NUMBER: DeviceNumber = DeviceNumber {
    major: 259,
    minor: 1,
};
const STALE: DeviceNumber = DeviceNumber {
    major: 259,
    minor: 9,
};

fn mount(device: DeviceNumber, target: &str, read_only: bool) -> Mount {
    Mount {
        id: 30,
        parent: 1,
        device,
        root: "/".into(),
        target: target.into(),
        options: vec![if read_only { "ro".into() } else { "rw".into() }],
        fs_type: "ext4".into(),
        source: "/dev/nvme0n1".into(),
        super_options: vec!["rw".into()],
    }
}

fn staged() -> Observed {
    let name = "nvme0n1".to_owned();
    Observed {
        namespace: Some(Namespace {
            name,
            nsid: 1,
            number: NUMBER,
            size: Bytes::gib(1),
            wwid: None,
            read_only: false,
        }),
        is_coming_back: false,
        staging: vec![mount(NUMBER, "/staging", false)],
        target: vec![],
        path: Found::Absent,
        nodes_usable: true,
        contrary_targets: vec![],
        recorded: None,
    }
}

fn take(observed: &mut Observed, step: Step, read_only: bool) {
    match step {
        Step::MakeDirectory => observed.path = Found::Directory { empty: true },
        Step::Bind => observed.target.push(mount(NUMBER, "/target", read_only)),
        Step::MakeFile => observed.path = Found::File { empty: true },
        Step::SetReadOnly(value) => observed.namespace.as_mut().unwrap().read_only = value,
        Step::MakeNode => {
            assert_eq!(observed.path, Found::Absent);
            observed.path = Found::Block(NUMBER);
        }
        Step::BindNode => {
            observed
                .target
                .push(mount(DeviceNumber { major: 0, minor: 5 }, "/target", false));
            observed.path = Found::Block(NUMBER);
        }
        Step::Unmount => {
            observed.target.pop().unwrap();
            if observed.target.is_empty() && matches!(observed.path, Found::Block(_)) {
                observed.path = Found::File { empty: true };
            }
        }
        Step::RemoveFile | Step::RemoveDirectory => {
            assert!(
                observed.target.is_empty(),
                "a name is removed only below no mount"
            );
            observed.path = Found::Absent;
        }
    }
}

fn publish(observed: &mut Observed, desired: Desired, steps: usize) -> Result<bool, PublishError> {
    for _ in 0..steps {
        match next(observed, desired)? {
            None => return Ok(true),
            Some(step) => take(observed, step, desired.read_only),
        }
    }
    Ok(false)
}

fn unpublish(observed: &mut Observed) -> Result<(), PublishError> {
    for _ in 0..9 {
        let Some(step) = next_unpublish(observed.target.len(), observed.path)? else {
            return Ok(());
        };
        take(observed, step, false);
    }
    panic!("unpublishing does not end");
}

#[test]
fn every_way_to_publish_ends_published_and_is_undone_completely() {
    for (block, read_only, nodes_usable) in [
        (false, false, true),
        (false, true, true),
        (true, false, true),
        (true, true, true),
        (true, false, false),
        (true, true, false),
    ] {
        let desired = Desired { block, read_only };
        let mut observed = Observed {
            nodes_usable,
            ..staged()
        };
        assert_eq!(publish(&mut observed, desired, 9), Ok(true), "{desired:?}");
        assert_eq!(next(&observed, desired), Ok(None));
        assert!(
            observed.target.len() <= 1,
            "publishing adds one mount at most"
        );
        unpublish(&mut observed).unwrap();
        assert_eq!(observed.path, Found::Absent);
    }
}

#[test]
fn a_node_of_another_device_is_replaced() {
    let desired = Desired {
        block: true,
        read_only: false,
    };
    let mut observed = Observed {
        path: Found::Block(STALE),
        ..staged()
    };
    assert_eq!(next(&observed, desired), Ok(Some(Step::RemoveFile)));
    assert_eq!(publish(&mut observed, desired, 9), Ok(true));
    assert_eq!(observed.path, Found::Block(NUMBER));
}

#[test]
fn nothing_is_published_without_its_stage() {
    let filesystem = Desired {
        block: false,
        read_only: false,
    };
    let cases = [
        Observed {
            namespace: None,
            ..staged()
        },
        Observed {
            staging: vec![],
            ..staged()
        },
        Observed {
            staging: vec![mount(STALE, "/staging", false)],
            ..staged()
        },
        Observed {
            target: vec![mount(STALE, "/target", false)],
            path: Found::Directory { empty: false },
            ..staged()
        },
    ];
    for observed in cases {
        assert_eq!(
            next(&observed, filesystem).unwrap_err().kind(),
            Kind::Conflict
        );
    }
}

#[test]
fn what_we_did_not_make_is_left_alone() {
    for (block, path) in [
        (false, Found::Directory { empty: false }),
        (false, Found::File { empty: true }),
        (false, Found::Block(NUMBER)),
        (true, Found::Directory { empty: true }),
        (true, Found::File { empty: false }),
        (true, Found::Other),
    ] {
        let observed = Observed { path, ..staged() };
        let error = next(
            &observed,
            Desired {
                block,
                read_only: false,
            },
        )
        .unwrap_err();
        assert!(matches!(error, PublishError::Occupied { .. }), "{error}");
    }
    for path in [
        Found::Directory { empty: false },
        Found::File { empty: false },
        Found::Other,
    ] {
        assert!(matches!(
            next_unpublish(0, path),
            Err(PublishError::Occupied { .. })
        ));
    }
}

#[test]
fn read_only_is_never_mixed_up() {
    let mut observed = staged();
    publish(
        &mut observed,
        Desired {
            block: false,
            read_only: true,
        },
        9,
    )
    .unwrap();
    let error = next(
        &observed,
        Desired {
            block: false,
            read_only: false,
        },
    )
    .unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    let observed = Observed {
        contrary_targets: vec!["/pods/1".into()],
        ..staged()
    };
    let error = next(
        &observed,
        Desired {
            block: true,
            read_only: true,
        },
    )
    .unwrap_err();
    assert!(error.to_string().contains("/pods/1"), "{error}");
}

#[test]
fn a_raw_device_published_one_way_is_not_turned_under_its_user() {
    let desired = |read_only| Desired {
        block: true,
        read_only,
    };
    let mut observed = Observed {
        path: Found::Block(NUMBER),
        recorded: Some(false),
        ..staged()
    };
    let error = next(&observed, desired(true)).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    assert_eq!(next(&observed, desired(false)), Ok(None));
    // A record whose node was never made, or means another device by now, binds nobody.
    for path in [Found::Absent, Found::Block(STALE)] {
        observed.path = path;
        assert_eq!(
            next(&observed, desired(true)),
            Ok(Some(Step::SetReadOnly(true)))
        );
    }
}

#[test]
fn a_session_that_connects_again_is_asked_for_later() {
    for (is_coming_back, kind) in [(true, Kind::Unreachable), (false, Kind::Conflict)] {
        let observed = Observed {
            namespace: None,
            is_coming_back,
            ..staged()
        };
        let desired = Desired {
            block: true,
            read_only: false,
        };
        assert_eq!(next(&observed, desired).unwrap_err().kind(), kind);
    }
}

#[test]
fn a_bind_that_a_crash_kept_from_becoming_read_only_is_made_anew() {
    let readers = Desired {
        block: false,
        read_only: true,
    };
    let mut observed = staged();
    observed.path = Found::Directory { empty: true };
    observed.target.push(mount(NUMBER, "/target", false));
    let error = next(&observed, readers).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "a writer's target");
    observed.recorded = Some(true);
    for step in [Step::Unmount, Step::Bind] {
        assert_eq!(next(&observed, readers), Ok(Some(step)));
        take(&mut observed, step, true);
    }
    assert_eq!(next(&observed, readers), Ok(None));
}

proptest! {
    #[test]
    fn interrupted_publishing_converges(block: bool, read_only: bool, nodes_usable: bool, cuts in proptest::collection::vec((0usize..4, any::<bool>()), 0..8)) {
        let desired = Desired { block, read_only };
        let mut observed = Observed { nodes_usable, ..staged() };
        for (steps, undo) in cuts {
            publish(&mut observed, desired, steps).unwrap();
            if undo {
                unpublish(&mut observed).unwrap();
            }
        }
        prop_assert_eq!(publish(&mut observed, desired, 9), Ok(true));
        prop_assert_eq!(next(&observed, desired), Ok(None));
    }
}
