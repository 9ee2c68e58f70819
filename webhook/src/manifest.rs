//! Kubernetes objects from files: YAML or JSON, many documents, lists unfolded.
//!
//! Every document that cannot be read is reported with its file, number and line, and
//! the others are read all the same. Nothing follows links to directories, and sizes
//! and depths are bounded: the input may be anybody's pull request.

mod files;
mod split;

pub use files::{Source, collect};

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use crate::storage_classes::StorageClasses;

/// How deep lists may lie in lists.
const LIST_DEPTH: u32 = 4;

/// One object and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The file as it was named, or `-`.
    pub file: String,
    /// The document in the file, counted from 1; empty ones do not count.
    pub document: usize,
    /// The object.
    pub object: Value,
}

/// Input that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unreadable {
    /// The file as it was named, or `-`.
    pub file: String,
    /// The document in the file, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The line in the file, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(document) = self.document {
            write!(f, ":{document}")?;
        }
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifests {
    /// Every object.
    pub objects: Vec<Manifest>,
    /// Everything that is none.
    pub unreadable: Vec<Unreadable>,
}

/// Reads files, directories and, for `-`, `stdin`.
pub fn read(paths: &[PathBuf], stdin: &mut dyn Read) -> Manifests {
    let mut manifests = Manifests::default();
    for source in collect(paths, &mut manifests.unreadable) {
        match source.text(stdin) {
            Ok(text) => manifests.add(&source, &text),
            Err(error) => manifests.unreadable.push(error),
        }
    }
    manifests
}

/// The storage classes in files and directories; the first unreadable document is the
/// error, because a class that is missed would let its claims pass.
pub fn storage_classes(paths: &[PathBuf]) -> Result<StorageClasses, String> {
    let manifests = read(paths, &mut std::io::empty());
    if let Some(unreadable) = manifests.unreadable.first() {
        return Err(unreadable.to_string());
    }
    manifests
        .storage_classes()
        .map_err(|error| error.to_string())
}

impl Manifests {
    fn add(&mut self, source: &Source, text: &str) {
        let documents = if source.is_json(text) {
            split::json(text)
        } else {
            split::yaml(text)
        };
        for (index, document) in documents.into_iter().enumerate() {
            let file = source.name();
            match document {
                Ok(object) => self.unfold(&file, index + 1, object, LIST_DEPTH),
                Err(error) => self.unreadable.push(Unreadable {
                    file,
                    document: Some(index + 1),
                    line: error.line,
                    message: error.message,
                }),
            }
        }
    }

    /// Adds an object, or the items of a list, which inherit what a typed list says of
    /// them (`PersistentVolumeClaimList`).
    fn unfold(&mut self, file: &str, document: usize, object: Value, depth: u32) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("kind").to_owned();
        let api_version = text("apiVersion").to_owned();
        let items = object.get("items").and_then(Value::as_array);
        let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), items) else {
            self.objects.push(Manifest {
                file: file.to_owned(),
                document,
                object,
            });
            return;
        };
        if depth == 0 {
            self.unreadable.push(Unreadable {
                file: file.to_owned(),
                document: Some(document),
                line: None,
                message: format!("lists lie more than {LIST_DEPTH} deep in each other"),
            });
            return;
        }
        for item in items {
            let mut item = item.clone();
            if let Some(fields) = item.as_object_mut()
                && !item_kind.is_empty()
            {
                fields.entry("kind").or_insert_with(|| item_kind.into());
                fields
                    .entry("apiVersion")
                    .or_insert_with(|| api_version.as_str().into());
            }
            self.unfold(file, document, item, depth - 1);
        }
    }

    /// The storage classes among the objects; the first malformed one is the error.
    pub fn storage_classes(&self) -> Result<StorageClasses, Unreadable> {
        let mut classes = StorageClasses::default();
        for manifest in &self.objects {
            if manifest.is("storage.k8s.io/v1", "StorageClass") {
                let class: StorageClass = manifest.decode().map_err(|message| Unreadable {
                    file: manifest.file.clone(),
                    document: Some(manifest.document),
                    line: None,
                    message,
                })?;
                classes.insert(&class);
            }
        }
        Ok(classes)
    }
}

impl Manifest {
    /// Whether the object is of this type.
    #[must_use]
    pub fn is(&self, api_version: &str, kind: &str) -> bool {
        self.text("/apiVersion") == api_version && self.text("/kind") == kind
    }

    /// Whether the object is of this kind, in any version of its group.
    #[must_use]
    pub fn is_of(&self, group: &str, kind: &str) -> bool {
        let of_group = self.text("/apiVersion").split_once('/');
        of_group.is_some_and(|(found, _)| found == group) && self.text("/kind") == kind
    }

    /// A string in the object, empty where there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The object as a type; the error is a sentence.
    pub fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        let mut object = self.object.clone();
        // API servers take a bare number for a quantity, and hand it on as a string.
        for pointer in [
            "/spec/resources/requests/storage",
            "/spec/resources/limits/storage",
            "/spec/capacity/storage",
        ] {
            if let Some(quantity) = object.pointer_mut(pointer)
                && quantity.is_number()
            {
                *quantity = quantity.to_string().into();
            }
        }
        serde_json::from_value(object)
            .map_err(|error| format!("the API server would not read this object: {error}"))
    }
}

#[cfg(test)]
mod tests;
