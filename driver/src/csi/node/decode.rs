//! Requests of the Node service as values of the domain, each field checked.

use std::path::{Component, Path, PathBuf};

use csi_proto::v1::{
    NodeExpandVolumeRequest, NodeGetVolumeStatsRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest,
};
use rds_csi_core::context::{ContextError, PublishContext, VolumeContext};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::names::parameter::KUBERNETES_PREFIX;
use rds_csi_core::names::publish::NQN;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;

use crate::csi::convert::{FieldError, access, capacity_range, ordered, required};
use crate::node::{ExpandRequest, PublishRequest, StageRequest};

/// Linux: no path is longer than this (`PATH_MAX`, with its end).
const LONGEST_PATH: usize = 4095;

/// Why a request is refused before anything was looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// A field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A context map.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A volume that lives and dies with its pod.
    #[error(
        "volume_context: ephemeral inline volumes are not offered, as nobody would keep their data; use a generic ephemeral volume (ephemeral.volumeClaimTemplate)"
    )]
    Ephemeral,
    /// No volume of this driver can have that id, or lie there.
    #[error("no such volume: {0}")]
    NoSuchVolume(FieldError),
}

impl Failure for RequestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Field(source) => source.kind(),
            Self::Context(source) => source.kind(),
            Self::Ephemeral => Kind::Invalid,
            Self::NoSuchVolume(_) => Kind::NotFound,
        }
    }
}

/// Reads a path on this host: absolute and plain, so that it means one place whoever
/// reads it, and so that the mount table spells it in the same way.
pub(super) fn path(field: &'static str, text: &str) -> Result<PathBuf, FieldError> {
    let invalid = |reason: &str| FieldError::Invalid {
        field,
        reason: reason.to_owned(),
    };
    if text.is_empty() {
        return Err(FieldError::Missing(field));
    }
    if text.len() > LONGEST_PATH {
        return Err(invalid("longer than 4095 bytes"));
    }
    if text.contains(char::is_control) {
        return Err(invalid("a control character is in it"));
    }
    let mut parts = Path::new(text).components();
    if parts.next() != Some(Component::RootDir) {
        return Err(invalid("not an absolute path"));
    }
    let mut plain = PathBuf::from("/");
    for part in parts {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => return Err(invalid("'..' is in it")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    if plain.parent().is_none() {
        return Err(invalid("the root of the host is no place for a volume"));
    }
    Ok(plain)
}

pub(super) fn stage(request: &NodeStageVolumeRequest) -> Result<StageRequest, RequestError> {
    let id = required("volume_id", &request.volume_id)?;
    let staging = path("staging_target_path", &request.staging_target_path)?;
    let access = access(request.volume_capability.as_ref())?;
    let mut context = VolumeContext::parse(&ordered(&request.volume_context))?;
    let publish = PublishContext::parse(&ordered(&request.publish_context))?;
    context.nqn = current(&id, context.nqn, publish.nqn.as_ref())?;
    Ok(StageRequest {
        id,
        staging,
        access,
        context,
        publish,
        again: false,
    })
}

/// The name under which the volume is offered now: that of the attachment, if it is one of
/// the volume that was made under the other.
fn current(id: &VolumeId, made: Nqn, now: Option<&Nqn>) -> Result<Nqn, RequestError> {
    let Some(now) = now else {
        return Ok(made);
    };
    if now.without_epoch(id) != made.without_epoch(id) {
        return Err(FieldError::Invalid {
            field: "publish_context",
            reason: format!("{NQN} is {now}, which is no name of the volume {made}"),
        }
        .into());
    }
    Ok(now.clone())
}

pub(super) fn publish(request: &NodePublishVolumeRequest) -> Result<PublishRequest, RequestError> {
    let context = ordered(&request.volume_context);
    let ephemeral = format!("{KUBERNETES_PREFIX}ephemeral");
    if context.get(&ephemeral).is_some_and(|value| value == "true") {
        return Err(RequestError::Ephemeral);
    }
    let id = required("volume_id", &request.volume_id)?;
    let target = path("target_path", &request.target_path)?;
    let staging = path("staging_target_path", &request.staging_target_path)?;
    let access = access(request.volume_capability.as_ref())?;
    let publish = PublishContext::parse(&ordered(&request.publish_context))?;
    let nqn = if context.is_empty() {
        None
    } else {
        let made = VolumeContext::parse(&context)?.nqn;
        Some(current(&id, made, publish.nqn.as_ref())?)
    };
    Ok(PublishRequest {
        id,
        staging,
        target,
        access,
        // Where the node has the volume only to be read, no pod writes, whatever it asks for.
        // Readers are not told by it: the pods of CDI's clones and of KubeVirt's exports leave
        // `readOnly` out of their claims, and open the device to read alone.
        read_only: request.readonly || publish.reader,
        nqn,
    })
}

/// The id of a volume that must exist and the path where it must be. What can be
/// neither is not found, as the specification's own tests ask.
fn existing(volume_id: &str, volume_path: &str) -> Result<(VolumeId, PathBuf), RequestError> {
    let absent = |error: FieldError| match error {
        FieldError::Invalid { .. } => RequestError::NoSuchVolume(error),
        missing => RequestError::Field(missing),
    };
    if volume_path.is_empty() {
        return Err(FieldError::Missing("volume_path").into());
    }
    let id = required("volume_id", volume_id).map_err(absent)?;
    Ok((id, path("volume_path", volume_path).map_err(absent)?))
}

pub(super) fn stats(
    request: &NodeGetVolumeStatsRequest,
) -> Result<(VolumeId, PathBuf), RequestError> {
    existing(&request.volume_id, &request.volume_path)
}

pub(super) fn expand(request: &NodeExpandVolumeRequest) -> Result<ExpandRequest, RequestError> {
    let (id, volume_path) = existing(&request.volume_id, &request.volume_path)?;
    let staging = match request.staging_target_path.as_str() {
        "" => None,
        text => Some(path("staging_target_path", text)?),
    };
    let block = match &request.volume_capability {
        None => None,
        capability => Some(access(capability.as_ref())?.is_block()),
    };
    Ok(ExpandRequest {
        id,
        path: volume_path,
        staging,
        block,
        required: capacity_range(request.capacity_range.as_ref())?.required,
    })
}
