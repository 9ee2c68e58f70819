//! Requests of the Controller service as values of the domain, each field checked.
//!
//! What is wrong with a request is told before what is not there: the id of a volume
//! that must exist is read after all other fields.

use std::collections::BTreeMap;

use csi_proto::v1::{
    ControllerExpandVolumeRequest, ControllerPublishVolumeRequest, CreateVolumeRequest,
    ValidateVolumeCapabilitiesRequest,
};
use rds_csi_core::bytes::CapacityRange;
use rds_csi_core::context::{ContextError, VolumeContext};
use rds_csi_core::kind::{Chain, Failure, Kind};
use rds_csi_core::parameters::{ParameterError, StorageClassParameters};
use rds_csi_core::volume_id::{VolumeId, VolumeIdError};

use crate::controller::{CreateRequest, PublishRequest};
use crate::csi::convert::{FieldError, access, accesses, capacity_range, node, ordered, required};

/// Why a request is refused before anything was looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// A field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A context map.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A parameter of the StorageClass.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// An id that no volume of this driver has.
    #[error("no such volume")]
    NoSuchVolume(#[source] VolumeIdError),
    /// A call of the specification that this driver does not offer.
    #[error("{0} is not offered; see ControllerGetCapabilities")]
    NotOffered(&'static str),
}

impl Failure for RequestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Field(source) => source.kind(),
            Self::Context(source) => source.kind(),
            Self::Parameter(source) => source.kind(),
            Self::NoSuchVolume(_) => Kind::NotFound,
            Self::NotOffered(_) => Kind::Unsupported,
        }
    }
}

/// What the device may get from this request is checked before anything is sent. What is
/// refused here was never sent before either: the same request always reads the same.
pub(super) fn create(request: &CreateVolumeRequest) -> Result<CreateRequest, RequestError> {
    let not_offered = |field, reason: &str| {
        let reason = reason.to_owned();
        Err(FieldError::Invalid { field, reason }.into())
    };
    if request.volume_content_source.is_some() {
        let reason = "snapshots and clones are not offered";
        return not_offered("volume_content_source", reason);
    }
    if !request.mutable_parameters.is_empty() {
        let reason = "volume attributes classes are not offered";
        return not_offered("mutable_parameters", reason);
    }
    Ok(CreateRequest {
        name: required("name", &request.name)?,
        accesses: accesses(&request.volume_capabilities)?,
        range: capacity_range(request.capacity_range.as_ref())?,
        parameters: StorageClassParameters::parse(&ordered(&request.parameters))?,
    })
}

/// The id of a volume that need not exist any more: `None` where this driver could never
/// have given it out, so that it names nothing that exists.
pub(super) fn former(volume_id: &str) -> Result<Option<VolumeId>, FieldError> {
    if volume_id.is_empty() {
        return Err(FieldError::Missing("volume_id"));
    }
    Ok(volume_id.parse().ok())
}

/// The id of a volume that must exist: one of another form cannot.
pub(super) fn existing(volume_id: &str) -> Result<VolumeId, RequestError> {
    if volume_id.is_empty() {
        return Err(FieldError::Missing("volume_id").into());
    }
    volume_id.parse().map_err(RequestError::NoSuchVolume)
}

pub(super) fn publish(
    request: &ControllerPublishVolumeRequest,
) -> Result<PublishRequest, RequestError> {
    let node = node("node_id", &request.node_id)?;
    let access = access(request.volume_capability.as_ref())?;
    let context = ordered(&request.volume_context);
    let context = if context.is_empty() {
        None
    } else {
        Some(VolumeContext::parse(&context)?)
    };
    Ok(PublishRequest {
        node,
        access,
        read_only: request.readonly,
        context,
        id: existing(&request.volume_id)?,
    })
}

pub(super) fn expand(
    request: &ControllerExpandVolumeRequest,
) -> Result<(VolumeId, CapacityRange), RequestError> {
    if request.capacity_range.is_none() {
        return Err(FieldError::Missing("capacity_range").into());
    }
    let range = capacity_range(request.capacity_range.as_ref())?;
    if request.volume_capability.is_some() {
        access(request.volume_capability.as_ref())?;
    }
    Ok((existing(&request.volume_id)?, range))
}

/// How many entries a page may have at most; `None` is no limit.
pub(super) fn most(max_entries: i32) -> Result<Option<usize>, FieldError> {
    match usize::try_from(max_entries) {
        Ok(most) => Ok(Some(most).filter(|most| *most > 0)),
        Err(_) => Err(FieldError::Invalid {
            field: "max_entries",
            reason: format!("{max_entries} is negative; 0 is no limit"),
        }),
    }
}

/// What of a request cannot be confirmed, in words.
pub(super) fn unconfirmed(
    request: &ValidateVolumeCapabilitiesRequest,
    context: &BTreeMap<String, String>,
) -> Option<String> {
    if let Err(error) = accesses(&request.volume_capabilities) {
        return Some(Chain(&error).to_string());
    }
    if let Err(error) = StorageClassParameters::parse(&ordered(&request.parameters)) {
        return Some(Chain(&error).to_string());
    }
    match VolumeContext::parse(context) {
        Err(error) if !context.is_empty() => Some(Chain(&error).to_string()),
        _ if !request.mutable_parameters.is_empty() => {
            Some("mutable_parameters: volume attributes classes are not offered".to_owned())
        }
        _ => None,
    }
}
