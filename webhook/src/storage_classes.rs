//! The storage classes that claims may name, as far as the rules need them.
//!
//! Only name, provisioner and what makes a class the default are kept, so that a
//! cluster with many large classes costs nothing. A set is immutable: a watch replaces
//! it whole, and a rule never sees half of a change.

pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use k8s_openapi::api::storage::v1::StorageClass;

/// Marks the class of claims that name none.
const DEFAULT_ANNOTATIONS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// One storage class.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    provisioner: String,
    is_default: bool,
    created: Option<Timestamp>,
}

/// Every storage class of a cluster, or of a set of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageClasses(BTreeMap<String, Class>);

impl StorageClasses {
    /// Adds a class or replaces the one of the same name.
    pub fn insert(&mut self, class: &StorageClass) {
        let is_default = class.metadata.annotations.as_ref().is_some_and(|all| {
            DEFAULT_ANNOTATIONS
                .iter()
                .any(|key| all.get(*key).is_some_and(|value| value == "true"))
        });
        self.0.insert(
            class.metadata.name.clone().unwrap_or_default(),
            Class {
                provisioner: class.provisioner.clone(),
                is_default,
                created: class
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|time| time.0),
            },
        );
    }

    /// Forgets a class.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The provisioner of a class, or `None` where no class has this name.
    #[must_use]
    pub fn provisioner(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|class| class.provisioner.as_str())
    }

    /// The name of the class that a claim without one gets: of several defaults the
    /// newest, of equally old ones the first by name, as Kubernetes chooses.
    #[must_use]
    pub fn default_class(&self) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .filter(|(_, class)| class.is_default)
            .max_by_key(|(_, class)| class.created)
            .map(|(name, _)| name.as_str())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a StorageClass> for StorageClasses {
    fn from_iter<I: IntoIterator<Item = &'a StorageClass>>(classes: I) -> Self {
        let mut set = Self::default();
        for class in classes {
            set.insert(class);
        }
        set
    }
}

/// The current set, shared between a source that replaces it and the reviews that read
/// it. Empty (not: an empty set) until the source has read everything once.
#[derive(Debug, Clone, Default)]
pub struct StorageClassStore(Arc<ArcSwapOption<StorageClasses>>);

impl StorageClassStore {
    /// A store that holds a set that will not change.
    #[must_use]
    pub fn of(classes: StorageClasses) -> Self {
        let store = Self::default();
        store.replace(classes);
        store
    }

    /// Replaces the whole set.
    pub fn replace(&self, classes: StorageClasses) {
        self.0.store(Some(Arc::new(classes)));
    }

    /// The current set; `None` before the first complete read.
    #[must_use]
    pub fn current(&self) -> Option<Arc<StorageClasses>> {
        self.0.load_full()
    }

    /// Whether everything has been read once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.0.load().is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, default: Option<&str>, created: &str) -> StorageClass {
        let mut annotations = BTreeMap::new();
        if let Some(value) = default {
            annotations.insert(DEFAULT_ANNOTATIONS[0], value);
        }
        serde_json::from_value(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name, "annotations": annotations, "creationTimestamp": created},
            "provisioner": format!("{name}.example"),
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_default_wins_and_then_the_first_name() {
        let old = class("a", Some("true"), "2026-01-01T00:00:00Z");
        let new_b = class("b", Some("true"), "2026-02-01T00:00:00Z");
        let new_c = class("c", Some("true"), "2026-02-01T00:00:00Z");
        let not = class("d", Some("false"), "2026-03-01T00:00:00Z");
        let plain = class("e", None, "2026-03-01T00:00:00Z");
        let set: StorageClasses = [&not, &plain].into_iter().collect();
        assert_eq!(set.default_class(), None);
        let set: StorageClasses = [&new_c, &old, &new_b, &not, &plain].into_iter().collect();
        assert_eq!(set.default_class(), Some("b"));
    }

    #[test]
    fn the_beta_annotation_still_marks_a_default() {
        let mut beta = class("a", None, "2026-01-01T00:00:00Z");
        beta.metadata.annotations = Some(
            [(DEFAULT_ANNOTATIONS[1].to_owned(), "true".to_owned())]
                .into_iter()
                .collect(),
        );
        let set: StorageClasses = [&beta].into_iter().collect();
        assert_eq!(set.default_class(), Some("a"));
    }

    #[test]
    fn a_store_is_unsynced_until_the_first_set_even_an_empty_one() {
        let store = StorageClassStore::default();
        assert!(!store.is_synced() && store.current().is_none());
        store.replace(StorageClasses::default());
        assert!(store.is_synced() && store.current().unwrap().is_empty());
    }

    #[test]
    fn a_removed_class_is_unknown() {
        let mut set: StorageClasses = [&class("a", None, "2026-01-01T00:00:00Z")]
            .into_iter()
            .collect();
        assert_eq!((set.len(), set.provisioner("a")), (1, Some("a.example")));
        set.remove("a");
        assert_eq!(set.provisioner("a"), None);
    }
}
