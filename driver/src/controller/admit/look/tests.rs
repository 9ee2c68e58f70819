//! Looks over a device and a cluster in memory.

use std::collections::BTreeSet;

use rds_csi_cluster::Leadership;
use rds_csi_core::device_access::Rule;
use rds_csi_core::kind::{Failure as _, Kind};
use rstest::rstest;

use super::*;
use crate::controller::probe::Known;
use crate::controller::stand::{Stand, host, id, stand, stand_of};

/// One look, which goes well.
async fn look_at(stand: &Stand, before: &Due) -> Due {
    let mut due = before.clone();
    let looked = look(&stand.admission, &stand.cluster, &mut due).await;
    looked.unwrap();
    due
}

#[tokio::test]
async fn what_two_looks_find_open_is_closed_to_the_node_that_has_it() {
    let stand = stand(Rule::Exact);
    let first = look_at(&stand, &Due::new()).await;
    assert_eq!(stand.device.allowed(), "", "perhaps on its way");
    let second = look_at(&stand, &first).await;
    assert_eq!(stand.device.allowed(), host("a"));
    assert_eq!(second, first);
    assert_eq!(look_at(&stand, &second).await, Due::new());
    // It has moved: what was found before does not count.
    stand.fake.delete("a");
    stand.fake.attach("b");
    let moved = look_at(&stand, &second).await;
    assert_eq!(stand.device.allowed(), host("a"));
    look_at(&stand, &moved).await;
    assert_eq!(stand.device.allowed(), host("b"));
    // Nobody has it: the last one's it stays.
    stand.fake.delete("b");
    assert_eq!(look_at(&stand, &Due::new()).await, Due::new());
}

/// A person made the PersistentVolume, under another name than the volume was made for.
#[tokio::test]
async fn a_volume_is_closed_whatever_its_persistent_volume_is_called() {
    let stand = stand_of(Rule::Exact, "restored");
    let due = look_at(&stand, &Due::new()).await;
    look_at(&stand, &due).await;
    assert_eq!(stand.device.allowed(), host("a"));
}

/// A node gets the volume while it is closed to another one, and is let in all the same.
#[tokio::test]
async fn a_node_that_comes_meanwhile_is_let_in() {
    for (rule, expected) in [
        (Rule::Exact, String::new()),
        (Rule::List, format!("{},{}", host("a"), host("b"))),
    ] {
        let stand = stand(rule);
        let due = look_at(&stand, &Due::new()).await;
        let fake = stand.fake.clone();
        stand.device.changed.is(move || fake.attach("b"));
        look_at(&stand, &due).await;
        assert_eq!(stand.device.allowed(), expected, "{rule}");
    }
}

/// A call may be about to let in who is not seen yet.
#[tokio::test]
async fn what_a_call_works_on_is_left_for_the_next_look() {
    let stand = stand(Rule::Exact);
    let due = look_at(&stand, &Due::new()).await;
    let call = stand.admission.locks.lock(id().as_str()).await.unwrap();
    assert_eq!(look_at(&stand, &due).await, due);
    assert_eq!(stand.device.allowed(), "");
    drop(call);
    look_at(&stand, &due).await;
    assert_eq!(stand.device.allowed(), host("a"));
}

#[tokio::test]
async fn a_volume_that_cannot_be_put_right_holds_up_no_other() {
    let stand = stand(Rule::Exact);
    let other = stand.another("pvc-2");
    let mut due = look_at(&stand, &Due::new()).await;
    *stand.device.broken.lock().unwrap() = Some(id());
    let looked = look(&stand.admission, &stand.cluster, &mut due).await;
    assert_eq!(looked.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(stand.device.item(&other).allowed_host, Some(host("a")));
    // And is tried again at the next look.
    *stand.device.broken.lock().unwrap() = None;
    assert_eq!(stand.device.allowed(), "");
    look_at(&stand, &due).await;
    assert_eq!(stand.device.allowed(), host("a"));
}

/// Another one may act meanwhile: so may this one, in another term, on what it sees then.
#[rstest]
#[case::another_one_leads(false)]
#[case::this_one_leads_again(true)]
#[tokio::test]
async fn nothing_is_put_right_once_its_term_is_over(#[case] again: bool) {
    for comes in [false, true] {
        let stand = stand(Rule::List);
        let due = look_at(&stand, &Due::new()).await;
        let fake = stand.fake.clone();
        let lost = move || {
            if comes {
                fake.attach("b");
            }
            fake.lead(false);
            fake.lead(again);
        };
        // Before the first change, or before a second one for the node that comes.
        if comes {
            stand.device.changed.is(lost);
        } else {
            stand.device.read.is(lost);
        }
        look_at(&stand, &due).await;
        let taken = stand.device.taken.lock().unwrap().len();
        assert_eq!(taken, usize::from(comes));
    }
}

#[tokio::test]
async fn where_the_name_does_not_count_nothing_is_set() {
    for rule in [Rule::Ignored, Rule::Other] {
        let stand = stand(rule);
        let due = look_at(&stand, &Due::new()).await;
        assert_eq!(due, Due::new());
        look_at(&stand, &due).await;
        assert_eq!(stand.device.allowed(), "");
    }
    // Nor where another version was tried.
    let stand = stand(Rule::Exact);
    let known = stand.admission.known.as_ref().unwrap();
    assert!(known.access().is_some());
    let other = Leadership::default();
    other.say(
        "rule=exact,keeps-sessions=true,ends-sessions=true,address=10.0.1.2:4420,version=7.25",
    );
    let settings = &stand.admission.settings;
    let known = Known::new(other, stand.device.clone(), settings);
    assert_eq!(known.access(), None);
}

/// A final answer would say that the node has no part in it, and it may have been let in.
#[tokio::test]
async fn what_is_seen_after_a_node_was_let_in_is_not_final() {
    let stand = stand(Rule::Exact);
    let device = stand.device.clone();
    stand.device.changed.is(move || {
        device.change(&id(), |item| "a person's".clone_into(&mut item.comment));
    });
    let (state, nodes) = (stand.device.state(&id()), BTreeSet::from(["a".to_owned()]));
    let seen = stand.admission.admit(&id(), state, &nodes).await;
    assert_eq!(stand.device.allowed(), host("a"));
    assert_eq!(seen.unwrap_err().kind(), Kind::Unreachable);
}
