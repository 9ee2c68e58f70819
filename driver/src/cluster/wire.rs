//! Objects of the API server, as far as they matter.
//!
//! The rest is skipped while it is parsed: a pod is tens of kilobytes, of which some
//! hundred bytes are read, and a cluster has thousands. A missing field is an empty one,
//! as everywhere in Kubernetes; one of another type is an error of the whole answer.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use rds_csi_core::attachment::grant::VolumeAttachment;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Claim, PersistentVolume};

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

/// A PersistentVolume's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct VolumeSpec {
    csi: Option<CsiSource>,
    access_modes: Vec<String>,
    volume_mode: Option<String>,
    claim_ref: Option<ClaimRef>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CsiSource {
    driver: String,
    volume_handle: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ClaimRef {
    namespace: String,
    name: String,
    uid: String,
}

/// A PersistentVolume's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct VolumeStatus {
    phase: String,
}

impl Spec for VolumeSpec {
    type Kind = k8s_openapi::api::core::v1::PersistentVolume;
    type Status = VolumeStatus;
}

impl From<Object<VolumeSpec>> for PersistentVolume {
    fn from(object: Object<VolumeSpec>) -> Self {
        let Object {
            meta, spec, status, ..
        } = object;
        // Who names a claim may only have been promised to it, or have been left by it.
        let bound = status.phase == "Bound";
        let csi = spec.csi.unwrap_or_default();
        let claim = |claim: ClaimRef| Claim {
            namespace: claim.namespace,
            name: claim.name,
        };
        Self {
            name: meta.name,
            resource_version: meta.resource_version,
            created: meta.creation_timestamp,
            driver: csi.driver,
            handle: csi.volume_handle,
            is_filesystem: spec.volume_mode.is_none_or(|mode| mode != "Block"),
            access_modes: spec.access_modes,
            claim: spec.claim_ref.filter(|_| bound).map(claim),
            annotations: meta.annotations.unwrap_or_default(),
        }
    }
}

impl Object<VolumeSpec> {
    /// The claim that the PersistentVolume is bound to, as an event refers to it.
    pub(super) fn claim(&self) -> Option<ObjectReference> {
        let claim = self.spec.claim_ref.as_ref()?;
        Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: Some(claim.namespace.clone()),
            name: Some(claim.name.clone()),
            uid: Some(claim.uid.clone()),
            ..ObjectReference::default()
        })
    }
}

/// A VolumeAttachment's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AttachmentSpec {
    pub(super) attacher: String,
    node_name: String,
    source: AttachmentSource,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AttachmentSource {
    persistent_volume_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct AttachmentStatus {
    attached: bool,
}

impl Spec for AttachmentSpec {
    type Kind = k8s_openapi::api::storage::v1::VolumeAttachment;
    type Status = AttachmentStatus;
}

impl From<Object<AttachmentSpec>> for VolumeAttachment {
    fn from(object: Object<AttachmentSpec>) -> Self {
        let Object {
            meta, spec, status, ..
        } = object;
        Self {
            name: meta.name,
            uid: meta.uid,
            node: spec.node_name,
            persistent_volume: spec.source.persistent_volume_name.unwrap_or_default(),
            attached: status.attached,
            leaving: meta.deletion_timestamp.is_some(),
        }
    }
}

/// A pod's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) volumes: Vec<PodVolume>,
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Vec<Container>,
    pub(super) ephemeral_containers: Vec<Container>,
}

/// What is there or not, and otherwise not read.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Unread {}

/// A volume of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodVolume {
    pub(super) name: String,
    pub(super) persistent_volume_claim: Option<ClaimSource>,
    /// A claim that is made for the pod and named after both.
    pub(super) ephemeral: Option<Unread>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClaimSource {
    pub(super) claim_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) volume_mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Mount {
    /// The volume's.
    pub(super) name: String,
}

/// A pod's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) container_statuses: Vec<ContainerStatus>,
    pub(super) init_container_statuses: Vec<ContainerStatus>,
    pub(super) ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// What a container does now, and what it did before its last restart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) state: ContainerState,
    pub(super) last_state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub(super) running: Option<Started>,
    pub(super) terminated: Option<Started>,
}

/// When it ran; none where it never did, as kubelet says of containers that it lost.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Started {
    pub(super) started_at: Option<Timestamp>,
}

impl Spec for PodSpec {
    type Kind = k8s_openapi::api::core::v1::Pod;
    type Status = PodStatus;
}
