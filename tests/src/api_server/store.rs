//! Objects with versions, and the log of their changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A change: its version, what changed, how (`ADDED`, `MODIFIED`, `DELETED`), the object.
pub(super) type Change = (u64, String, &'static str, Value);

/// What etcd is to an API server.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    /// By resource and name, with the namespace and a slash before it where it has one.
    objects: BTreeMap<(String, String), Value>,
    log: Vec<Change>,
    /// What is left of lists that were begun: their version and objects.
    pages: Vec<Option<(u64, Vec<Value>)>>,
}

/// Why a patch or a deletion is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound,
    Conflict,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn put(&mut self, object: &Value) -> u64 {
        let kind = text(object, "/kind").to_lowercase();
        let ending = if kind.ends_with('s') { "es" } else { "s" };
        let resource = kind + ending;
        let (name, namespace) = (
            text(object, "/metadata/name"),
            text(object, "/metadata/namespace"),
        );
        let key = if namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{namespace}/{name}")
        };
        self.change(resource, key, object)
    }

    fn change(&mut self, resource: String, key: String, patch: &Value) -> u64 {
        self.version += 1;
        let version = self.version;
        let fresh = || {
            json!({"metadata": {"uid": format!("uid-{version}"),
                "creationTimestamp": "2026-01-01T00:00:00Z"}})
        };
        let place = (resource.clone(), key);
        let how = if self.objects.contains_key(&place) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let object = self.objects.entry(place).or_insert_with(fresh);
        merge(object, patch);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let object = object.clone();
        self.log.push((version, resource, how, object));
        version
    }

    pub(super) fn patch(
        &mut self,
        resource: &str,
        key: &str,
        patch: &Value,
    ) -> Result<Value, Refused> {
        let place = (resource.to_owned(), key.to_owned());
        let found = self.objects.get(&place).ok_or(Refused::NotFound)?;
        let over = text(patch, "/metadata/resourceVersion");
        if !over.is_empty() && over != text(found, "/metadata/resourceVersion") {
            return Err(Refused::Conflict);
        }
        self.change(place.0.clone(), place.1.clone(), patch);
        Ok(self.objects[&place].clone())
    }

    pub(super) fn delete(&mut self, resource: &str, key: &str) -> u64 {
        let place = (resource.to_owned(), key.to_owned());
        if let Some(object) = self.objects.remove(&place) {
            self.version += 1;
            self.log
                .push((self.version, resource.to_owned(), "DELETED", object));
        }
        self.version
    }

    /// As a client deletes: one that still is what the preconditions say. What has finalizers
    /// stays, marked, until they are gone.
    pub(super) fn remove(
        &mut self,
        resource: &str,
        key: &str,
        still: &Value,
    ) -> Result<Value, Refused> {
        let found = self.get(resource, key).ok_or(Refused::NotFound)?.clone();
        for field in ["uid", "resourceVersion"] {
            let wanted = text(still, &format!("/{field}"));
            if !wanted.is_empty() && wanted != text(&found, &format!("/metadata/{field}")) {
                return Err(Refused::Conflict);
            }
        }
        let finalizers = found.pointer("/metadata/finalizers");
        let is_held =
            finalizers.is_some_and(|all| all.as_array().is_some_and(|all| !all.is_empty()));
        if is_held {
            let mark = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
            return self.patch(resource, key, &mark);
        }
        self.delete(resource, key);
        Ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    pub(super) fn get(&self, resource: &str, key: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), key.to_owned()))
    }

    /// A page of a list, its version, and the token of the next one.
    pub(super) fn list(
        &mut self,
        resource: &str,
        selected: impl Fn(&Value) -> bool,
        limit: usize,
        token: Option<usize>,
    ) -> Option<(Vec<Value>, u64, Option<usize>)> {
        let (version, mut objects) = match token {
            Some(token) => self.pages.get_mut(token)?.take()?,
            None => {
                let all = self.objects.iter();
                let of_it = all.filter(|((kind, _), object)| kind == resource && selected(object));
                (
                    self.version,
                    of_it.map(|(_, object)| object.clone()).collect(),
                )
            }
        };
        let rest = objects.split_off(limit.min(objects.len()));
        let next = (!rest.is_empty()).then(|| {
            self.pages.push(Some((version, rest)));
            self.pages.len() - 1
        });
        Some((objects, version, next))
    }

    /// The changes of a resource after a version.
    pub(super) fn changes(&self, resource: &str, after: u64) -> Vec<Change> {
        let log = self.log.iter();
        log.filter(|(version, kind, ..)| *version > after && kind == resource)
            .cloned()
            .collect()
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().map(|object| object.remove(key));
        } else {
            merge(&mut object[key], value);
        }
    }
}
