//! PersistentVolumes and VolumeAttachments.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use rds_csi_core::attachment::observation::{Claim, VolumeAttachment};
use rds_csi_core::names::publish;
use serde::Deserialize;

use super::{Object, Spec};
use crate::{PersistentVolume, ReadAttachment};

/// A PersistentVolume's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct VolumeSpec {
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
    volume_attributes: Option<BTreeMap<String, String>>,
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
pub(in super::super) struct VolumeStatus {
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
            attributes: csi.volume_attributes.unwrap_or_default(),
            claim: spec.claim_ref.filter(|_| bound).map(claim),
            annotations: meta.annotations.unwrap_or_default(),
        }
    }
}

impl Object<VolumeSpec> {
    /// The claim that the PersistentVolume is bound to, as an event refers to it.
    pub(in super::super) fn claim(&self) -> Option<ObjectReference> {
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
pub(in super::super) struct AttachmentSpec {
    pub(in super::super) attacher: String,
    node_name: String,
    source: AttachmentSource,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AttachmentSource {
    persistent_volume_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct AttachmentStatus {
    attached: bool,
    /// CSI's publish context.
    attachment_metadata: Option<BTreeMap<String, String>>,
}

impl Spec for AttachmentSpec {
    type Kind = k8s_openapi::api::storage::v1::VolumeAttachment;
    type Status = AttachmentStatus;
}

impl Object<AttachmentSpec> {
    /// What the node is told of the attachment under a key of the publish context.
    pub(in super::super) fn told(&self, key: &str) -> Option<String> {
        self.status.attachment_metadata.as_ref()?.get(key).cloned()
    }
}

impl From<Object<AttachmentSpec>> for VolumeAttachment {
    fn from(object: Object<AttachmentSpec>) -> Self {
        let Object {
            meta, spec, status, ..
        } = object;
        Self {
            created: meta.created(),
            name: meta.name,
            uid: meta.uid,
            node: spec.node_name,
            persistent_volume: spec.source.persistent_volume_name.unwrap_or_default(),
            attached: status.attached,
            leaving: meta.deletion_timestamp.is_some(),
        }
    }
}

impl From<Object<AttachmentSpec>> for ReadAttachment {
    fn from(object: Object<AttachmentSpec>) -> Self {
        Self {
            nqn: object.told(publish::NQN).and_then(|nqn| nqn.parse().ok()),
            resource_version: object.meta.resource_version.clone(),
            attachment: object.into(),
        }
    }
}

/// A PersistentVolumeClaim's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in super::super) struct ClaimSpec {
    volume_name: String,
}

/// A PersistentVolumeClaim's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct ClaimStatus {
    phase: String,
}

impl Spec for ClaimSpec {
    type Kind = k8s_openapi::api::core::v1::PersistentVolumeClaim;
    type Status = ClaimStatus;
}

impl Object<ClaimSpec> {
    /// The PersistentVolume that it is bound to.
    pub(in super::super) fn volume(self) -> Option<String> {
        (self.status.phase == "Bound").then_some(self.spec.volume_name)
    }
}
