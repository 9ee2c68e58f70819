//! Looks at a session, one by one and in every order.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::nqn::HostIdentity;
use crate::nvme::{Controller, ControllerState, DeviceNumber};

const SIZE: Bytes = Bytes::gib(1);

fn host(node: &str) -> Nqn {
    HostIdentity::of(&"lab".parse().unwrap(), node).nqn
}

fn expected() -> Expected {
    Expected {
        address: "192.0.2.7".parse().unwrap(),
        port: 4420,
        host: host("node-a"),
        wwid: Some("uuid.1".to_owned()),
        size: SIZE,
    }
}

fn controller(state: ControllerState) -> Controller {
    Controller {
        name: "nvme3".to_owned(),
        state,
        address: Some(("192.0.2.7".parse().unwrap(), 4420)),
        host_nqn: Some(host("node-a").to_string()),
    }
}

fn namespace() -> Namespace {
    Namespace {
        name: "nvme1n2".to_owned(),
        nsid: 1,
        number: DeviceNumber {
            major: 259,
            minor: 4,
        },
        size: SIZE,
        wwid: Some("uuid.1".to_owned()),
        read_only: false,
    }
}

fn live() -> Subsystem {
    Subsystem {
        nqn: "nqn.2000-02.com.mikrotik:pvc-1".to_owned(),
        controllers: vec![controller(ControllerState::Live)],
        namespaces: vec![namespace()],
    }
}

fn seen(subsystem: &Subsystem) -> Sight {
    sight(&expected(), Ok(Some(subsystem)))
}

fn change(change: impl FnOnce(&mut Subsystem)) -> Sight {
    let mut subsystem = live();
    change(&mut subsystem);
    seen(&subsystem)
}

#[test]
fn the_volumes_own_device_is_live_and_may_have_grown() {
    assert_eq!(seen(&live()), Sight::Live(namespace()));
    let grown = change(|subsystem| subsystem.namespaces[0].size = Bytes::gib(2));
    assert!(matches!(grown, Sight::Live(_)), "{grown:?}");
}

#[test]
fn a_session_without_a_device_that_does_io_waits() {
    for waiting in [
        change(|subsystem| subsystem.controllers[0].state = ControllerState::Connecting),
        change(|subsystem| subsystem.namespaces.clear()),
        change(|subsystem| subsystem.namespaces[0].size = Bytes::default()),
    ] {
        assert!(matches!(waiting, Sight::Waiting(_)), "{waiting:?}");
    }
}

#[test]
fn only_a_complete_reading_shows_absence() {
    assert_eq!(sight(&expected(), Ok(None)), Sight::Absent);
    let lingering = change(|subsystem| subsystem.controllers.clear());
    assert_eq!(lingering, Sight::Absent);
    let failed = sight(&expected(), Err("no sysfs".to_owned()));
    assert_eq!(failed, Sight::Unknown("no sysfs".to_owned()));
}

#[test]
fn what_is_not_the_staged_volume_is_foreign_and_said_why() {
    let cases = [
        (
            change(|subsystem| subsystem.namespaces[0].wwid = Some("uuid.2".to_owned())),
            "uuid.2",
        ),
        (
            change(|subsystem| subsystem.namespaces[0].size = Bytes::mib(512)),
            "were staged",
        ),
        (
            change(|subsystem| subsystem.namespaces.push(namespace())),
            "2 namespaces",
        ),
        (
            change(|subsystem| subsystem.controllers[0].host_nqn = Some("nqn.other".to_owned())),
            "nqn.other",
        ),
        (
            change(|subsystem| {
                subsystem.controllers[0].address = Some(("192.0.2.8".parse().unwrap(), 4420));
            }),
            "192.0.2.8",
        ),
    ];
    for (sight, word) in cases {
        let Sight::Foreign(words) = &sight else {
            panic!("{sight:?}");
        };
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn identifiers_that_the_kernel_made_up_are_not_compared() {
    let made_up = change(|subsystem| {
        subsystem.namespaces[0].wwid = Some("nvme.1b36-31-51-00000001".to_owned());
    });
    assert!(matches!(made_up, Sight::Live(_)), "{made_up:?}");
}

#[test]
fn an_outage_is_lost_once_and_restored_once_with_its_length() {
    let seconds = Duration::from_secs;
    let mut watch = Watch::new(seconds(0));
    let waiting = Sight::Waiting("nvme3 connecting".to_owned());
    assert_eq!(watch.look(&Sight::Live(namespace()), seconds(1)), None);
    let lost = watch.look(&waiting, seconds(10)).unwrap();
    assert_eq!((lost.to, lost.change), (State::Connecting, Change::Lost));
    assert_eq!(watch.look(&waiting, seconds(11)), None);
    let blind = watch.look(&Sight::Unknown("EIO".to_owned()), seconds(12));
    assert_eq!(blind.unwrap().change, Change::Same);
    let removed = watch.look(&Sight::Absent, seconds(20)).unwrap();
    assert_eq!((removed.to, removed.change), (State::Removed, Change::Same));
    assert_eq!(watch.lost_for(seconds(25)), Some(seconds(15)));
    let back = watch.look(&Sight::Live(namespace()), seconds(30)).unwrap();
    let after = seconds(20);
    assert_eq!(back.change, Change::Restored { after });
    assert_eq!(watch.lost_for(seconds(31)), None);
}

#[test]
fn an_outage_that_an_earlier_process_saw_goes_on() {
    let seconds = Duration::from_secs;
    for (sight, state) in [
        (Sight::Absent, State::Removed),
        (
            Sight::Waiting("nvme3 connecting".to_owned()),
            State::Connecting,
        ),
    ] {
        let mut watch = Watch::lost_before(seconds(1200), seconds(1));
        assert_eq!(watch.state(), State::Unknown);
        let seen = watch.look(&sight, seconds(2)).unwrap();
        assert_eq!((seen.to, seen.change), (state, Change::Same));
        let back = watch.look(&Sight::Live(namespace()), seconds(6)).unwrap();
        let after = seconds(1205);
        assert_eq!(back.change, Change::Restored { after });
        watch.look(&sight, seconds(10));
        assert_eq!(watch.lost_for(seconds(11)), Some(seconds(1)), "another one");
    }
    let mut watch = Watch::lost_before(seconds(1200), seconds(1));
    let back = watch.look(&Sight::Live(namespace()), seconds(1)).unwrap();
    let after = seconds(1200);
    assert_eq!(back.change, Change::Restored { after }, "at the first look");
}

fn any_sight() -> impl Strategy<Value = Sight> {
    prop_oneof![
        Just(Sight::Live(namespace())),
        Just(Sight::Waiting("nvme3 connecting".to_owned())),
        Just(Sight::Absent),
        Just(Sight::Foreign("another".to_owned())),
        Just(Sight::Unknown("EIO".to_owned())),
    ]
}

proptest! {
    /// Whatever is seen in whatever order: losses and restorations alternate, one is told
    /// only where the state changed, and looks that failed tell of neither.
    #[test]
    fn losses_and_restorations_alternate(sights in proptest::collection::vec(any_sight(), 0..60)) {
        let mut watch = Watch::new(Duration::ZERO);
        let mut is_lost = false;
        for (number, sight) in (1..).zip(&sights) {
            let now = Duration::from_secs(number);
            let before = watch.state();
            let transition = watch.look(sight, now);
            prop_assert_eq!(watch.state(), State::from(sight));
            prop_assert_eq!(transition.is_some(), before != watch.state());
            match transition.map(|transition| transition.change) {
                Some(Change::Lost) => {
                    prop_assert!(!is_lost);
                    is_lost = true;
                }
                Some(Change::Restored { after }) => {
                    prop_assert!(is_lost && after > Duration::ZERO && after <= now);
                    is_lost = false;
                }
                Some(Change::Same) | None => {}
            }
            prop_assert_eq!(watch.lost_for(now).is_some(), is_lost);
            if matches!(sight, Sight::Live(_)) {
                prop_assert!(!is_lost);
            }
        }
    }

    /// A namespace of another identity or a smaller size is never taken for the volume's.
    #[test]
    fn another_device_is_never_live(wwid in "(uuid|eui)\\.[0-9a-f]{1,8}", size in 1u64..(2 << 30)) {
        let mut subsystem = live();
        subsystem.namespaces[0].wwid = Some(wwid.clone());
        subsystem.namespaces[0].size = Bytes::new(size);
        let is_own = wwid == "uuid.1" && Bytes::new(size) >= SIZE;
        prop_assert_eq!(matches!(seen(&subsystem), Sight::Live(_)), is_own);
    }
}
