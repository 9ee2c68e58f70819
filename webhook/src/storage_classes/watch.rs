//! Keeps a [`StorageClassStore`] equal to a cluster's storage classes.
//!
//! The watch reconnects by itself and counts its errors. If it ever ends, that is an
//! error for the whole process: reviews must not go on with classes that nobody reads.

use std::pin::pin;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector::Lookup};
use kube::{Api, Client};
use rds_csi_core::kind::Chain;

use super::{StorageClassStore, StorageClasses};
use crate::metrics::Metrics;

/// Follows the classes of a cluster into `store`; returns only if the watch ends.
pub async fn follow(client: Client, store: &StorageClassStore, metrics: &Metrics) {
    let events = watcher(Api::<StorageClass>::all(client), watcher::Config::default())
        .default_backoff()
        .inspect_err(|error| {
            metrics.watch_errors.inc();
            tracing::warn!(error = %Chain(error), "watching the storage classes");
        })
        .filter_map(async |event| event.ok());
    apply(events, store, metrics).await;
}

/// Applies events in order. A new listing replaces the set only when it is complete.
async fn apply(
    events: impl Stream<Item = Event<StorageClass>>,
    store: &StorageClassStore,
    metrics: &Metrics,
) {
    let mut events = pin!(events);
    let mut listing = StorageClasses::default();
    let mut current = StorageClasses::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Init => {
                listing = StorageClasses::default();
                continue;
            }
            Event::InitApply(class) => {
                listing.insert(&class);
                continue;
            }
            Event::InitDone => current = std::mem::take(&mut listing),
            Event::Apply(class) => current.insert(&class),
            Event::Delete(class) => {
                current.remove(class.name().as_deref().unwrap_or_default());
            }
        }
        metrics.storage_classes(&current);
        store.replace(current.clone());
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn class(name: &str) -> StorageClass {
        StorageClass {
            metadata: kube::api::ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            provisioner: format!("{name}.example"),
            ..StorageClass::default()
        }
    }

    #[tokio::test]
    async fn nothing_is_known_until_a_listing_is_complete() {
        let store = StorageClassStore::default();
        apply(
            stream::iter([Event::Init, Event::InitApply(class("a"))]),
            &store,
            &Metrics::default(),
        )
        .await;
        assert!(!store.is_synced());
    }

    #[tokio::test]
    async fn changes_and_a_new_listing_replace_what_was_known() {
        let store = StorageClassStore::default();
        let first = [
            Event::Init,
            Event::InitApply(class("a")),
            Event::InitApply(class("b")),
            Event::InitDone,
            Event::Apply(class("c")),
            Event::Delete(class("a")),
        ];
        apply(stream::iter(first.clone()), &store, &Metrics::default()).await;
        let set = store.current().unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|name| set.provisioner(name).is_some()),
            [false, true, true]
        );
        let again = [Event::Init, Event::InitApply(class("d"))];
        apply(
            stream::iter(first.into_iter().chain(again.clone())),
            &store,
            &Metrics::default(),
        )
        .await;
        assert_eq!(
            store.current().unwrap().len(),
            2,
            "half a listing changes nothing"
        );
        apply(
            stream::iter(again.into_iter().chain([Event::InitDone])),
            &store,
            &Metrics::default(),
        )
        .await;
        let set = store.current().unwrap();
        assert_eq!((set.len(), set.provisioner("d")), (1, Some("d.example")));
    }
}
