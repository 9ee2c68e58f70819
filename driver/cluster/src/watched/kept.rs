//! Objects of one kind, as a watch tells of them.
//!
//! Nothing is known until a listing is complete, and nothing counts as known while the
//! watch is broken: what is not known here is to be asked for, and is never absent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;

use crate::wire::{Object, Spec};

/// Namespace, empty for objects of none, and name.
type Key = (String, String);

/// What is kept of the objects of a kind.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    objects: BTreeMap<Key, T>,
    /// A listing that is not complete yet.
    listing: BTreeMap<Key, T>,
    is_listed: bool,
    is_broken: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(State {
            objects: BTreeMap::new(),
            listing: BTreeMap::new(),
            is_listed: false,
            is_broken: false,
        }))
    }
}

impl<T> Kept<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event in. `keep` gives what is kept of an object, or `None` for one of which
    /// nothing is.
    pub(super) fn take<S: Spec>(
        &self,
        event: Event<Object<S>>,
        keep: impl Fn(Object<S>) -> Option<T>,
    ) {
        let mut state = self.state();
        let state = &mut *state;
        // A listing begins before the API server was reached.
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            state.is_broken = false;
        }
        match event {
            Event::Init => state.listing.clear(),
            Event::InitApply(object) => put(&mut state.listing, object, keep),
            Event::InitDone => {
                state.objects = std::mem::take(&mut state.listing);
                state.is_listed = true;
            }
            Event::Apply(object) => put(&mut state.objects, object, keep),
            Event::Delete(object) => drop(state.objects.remove(&key(&object))),
        }
    }

    /// The watch failed. It goes on by itself, and tells so with a change, or with a listing
    /// once that is complete.
    pub(super) fn broke(&self) {
        self.state().is_broken = true;
    }

    /// What `find` finds among the objects; `None` where they are not known now.
    pub(super) fn read<R>(&self, find: impl FnOnce(&BTreeMap<Key, T>) -> R) -> Option<R> {
        let state = self.state();
        (state.is_listed && !state.is_broken).then(|| find(&state.objects))
    }
}

fn key<S: Spec>(object: &Object<S>) -> Key {
    (object.meta.namespace.clone(), object.meta.name.clone())
}

fn put<S: Spec, T>(
    objects: &mut BTreeMap<Key, T>,
    object: Object<S>,
    keep: impl Fn(Object<S>) -> Option<T>,
) {
    let key = key(&object);
    match keep(object) {
        Some(kept) => objects.insert(key, kept),
        None => objects.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    use rds_csi_core::attachment::observation::VolumeAttachment;
    use serde_json::json;

    use super::*;
    use crate::wire::AttachmentSpec;

    type Attachment = Object<AttachmentSpec>;

    fn attachment(name: &str, node: &str, attacher: &str) -> Attachment {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "attacher": attacher, "nodeName": node,
                "source": { "persistentVolumeName": "pv" } },
        }))
        .unwrap()
    }

    /// The names and nodes of what is kept after these events.
    fn after(events: Vec<Event<Attachment>>) -> Option<Vec<String>> {
        let kept = Kept::default();
        for event in events {
            take(&kept, event);
        }
        names(&kept)
    }

    fn take(kept: &Kept<VolumeAttachment>, event: Event<Attachment>) {
        kept.take(event, |object| {
            (object.spec.attacher == "ours").then(|| object.into())
        });
    }

    fn names(kept: &Kept<VolumeAttachment>) -> Option<Vec<String>> {
        kept.read(|objects| {
            let names = objects.values();
            names
                .map(|found| format!("{} {}", found.name, found.node))
                .collect()
        })
    }

    fn listed() -> Vec<Event<Attachment>> {
        vec![
            Event::Init,
            Event::InitApply(attachment("a", "n1", "ours")),
            Event::InitApply(attachment("b", "n1", "theirs")),
            Event::InitDone,
        ]
    }

    #[test]
    fn nothing_is_known_before_a_listing_is_complete() {
        let mut events = listed();
        events.pop();
        assert_eq!(after(events), None);
        assert_eq!(after(listed()), Some(vec!["a n1".to_owned()]));
    }

    #[test]
    fn what_comes_changes_and_goes_is_followed() {
        let mut events = listed();
        events.extend([
            Event::Apply(attachment("c", "n2", "ours")),
            Event::Apply(attachment("a", "n3", "ours")),
        ]);
        let both = vec!["a n3".to_owned(), "c n2".to_owned()];
        assert_eq!(after(events.clone()), Some(both));
        events.extend([
            Event::Delete(attachment("a", "n3", "ours")),
            Event::Apply(attachment("c", "n2", "theirs")),
        ]);
        assert_eq!(after(events), Some(vec![]));
    }

    #[test]
    fn a_new_listing_replaces_the_old_one_when_it_is_complete() {
        let mut events = listed();
        events.extend([Event::Init, Event::InitApply(attachment("d", "n4", "ours"))]);
        assert_eq!(after(events.clone()), Some(vec!["a n1".to_owned()]));
        events.push(Event::InitDone);
        assert_eq!(after(events), Some(vec!["d n4".to_owned()]));
    }

    #[test]
    fn nothing_is_known_while_the_watch_is_broken() {
        let kept = Kept::default();
        for event in listed() {
            take(&kept, event);
        }
        kept.broke();
        assert_eq!(names(&kept), None);
        take(&kept, Event::Apply(attachment("e", "n5", "ours")));
        assert_eq!(names(&kept).unwrap().len(), 2);
        kept.broke();
        take(&kept, Event::Delete(attachment("e", "n5", "ours")));
        assert_eq!(names(&kept).unwrap().len(), 1);
    }

    /// It is begun before anybody answers, and again at each attempt.
    #[test]
    fn a_listing_mends_a_broken_watch_when_it_is_complete() {
        let kept = Kept::default();
        for event in listed() {
            take(&kept, event);
        }
        kept.broke();
        for event in [Event::Init, Event::InitApply(attachment("d", "n4", "ours"))] {
            take(&kept, event);
            assert_eq!(names(&kept), None);
        }
        take(&kept, Event::InitDone);
        assert_eq!(names(&kept), Some(vec!["d n4".to_owned()]));
    }
}
