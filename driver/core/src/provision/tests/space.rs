//! How much a volume takes of its pool, and how much there is.

use super::*;

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
