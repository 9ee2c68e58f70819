//! Objects of the API server, as far as they matter.
//!
//! The rest is skipped while it is parsed: a pod is tens of kilobytes, of which some
//! hundred bytes are read, and a cluster has thousands. A missing field is an empty one,
//! as everywhere in Kubernetes; one of another type is an error of the whole answer.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;

mod kubevirt;
mod node;
mod pod;
mod storage;

pub(super) use kubevirt::{Group, Listed, MachineDisks, MachineObject, MigrationObject, Resources};
pub(super) use node::NodeSpec;
pub(super) use pod::{ContainerStatus, PodSpec};
pub(super) use storage::{AttachmentSpec, ClaimSpec, VolumeSpec};

/// The `spec` of a kind of objects.
pub(super) trait Spec: Shape {
    /// What the kind is called and where it is found.
    type Kind: Resource;
    /// Its `status`.
    type Status: Shape;
}

/// What every part of an object is.
pub(super) trait Shape:
    Debug + Clone + Default + DeserializeOwned + Send + Sync + 'static
{
}

impl<T: Debug + Clone + Default + DeserializeOwned + Send + Sync + 'static> Shape for T {}

/// An object that kube can get, list and watch.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Parsed<S>", bound = "")]
pub(super) struct Object<S: Spec> {
    /// As kube wants them: the name and the version.
    metadata: ObjectMeta,
    pub(super) meta: Meta,
    pub(super) spec: S,
    pub(super) status: S::Status,
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct Parsed<S: Spec> {
    metadata: Meta,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: S::Status,
}

/// What is kept of the metadata of every object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    uid: String,
    resource_version: String,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

/// Who made an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OwnerReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

impl Meta {
    /// When the object was made, in seconds since 1970.
    fn created(&self) -> Option<i64> {
        self.creation_timestamp.map(Timestamp::as_second)
    }
}

impl<S: Spec> From<Parsed<S>> for Object<S> {
    fn from(parsed: Parsed<S>) -> Self {
        let Parsed {
            metadata: meta,
            spec,
            status,
        } = parsed;
        let metadata = ObjectMeta {
            name: Some(meta.name.clone()),
            resource_version: Some(meta.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Self {
            metadata,
            meta,
            spec,
            status,
        }
    }
}

impl<S: Spec> Resource for Object<S> {
    const API_VERSION: &'static str = S::Kind::API_VERSION;
    const GROUP: &'static str = S::Kind::GROUP;
    const KIND: &'static str = S::Kind::KIND;
    const VERSION: &'static str = S::Kind::VERSION;
    const URL_PATH_SEGMENT: &'static str = S::Kind::URL_PATH_SEGMENT;
    type Scope = <S::Kind as Resource>::Scope;
}

impl<S: Spec> Metadata for Object<S> {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
