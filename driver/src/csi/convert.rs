//! CSI messages to domain values and back. No decision is made here beyond "this field
//! is missing or cannot be": the meaning of values is the core's.

use std::collections::{BTreeMap, HashMap};

use csi_proto::v1::volume_capability::AccessType;
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::{CapacityRange as CsiCapacityRange, VolumeCapability};
use rds_csi_core::access::{Access, AccessError, AccessMode};
use rds_csi_core::bytes::{CapacityError, CapacityRange};
use rds_csi_core::kind::{Failure, Kind};

/// A field that is missing or cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FieldError {
    /// A required field that was not sent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field whose value cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Its name in the CSI message.
        field: &'static str,
        /// What it may be.
        reason: String,
    },
    /// A capability that is not offered.
    #[error("{field}")]
    Access {
        /// Its name in the CSI message.
        field: &'static str,
        /// Why not.
        #[source]
        source: AccessError,
    },
    /// A size that cannot be.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
}

impl Failure for FieldError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) | Self::Invalid { .. } => Kind::Invalid,
            Self::Access { source, .. } => source.kind(),
            Self::Capacity(source) => source.kind(),
        }
    }
}

/// Reads a required string field.
pub(crate) fn required<T>(field: &'static str, text: &str) -> Result<T, FieldError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Err(FieldError::Missing(field));
    }
    text.parse().map_err(|error: T::Err| FieldError::Invalid {
        field,
        reason: error.to_string(),
    })
}

/// Reads the name of a node: Kubernetes allows 253 characters.
pub(crate) fn node(field: &'static str, text: &str) -> Result<String, FieldError> {
    let name: String = required(field, text)?;
    if name.len() > 253 || name.chars().any(char::is_control) {
        let reason = "not a node name of at most 253 characters".to_owned();
        return Err(FieldError::Invalid { field, reason });
    }
    Ok(name)
}

/// The access that one capability asks for, if it is offered.
pub(crate) fn access(capability: Option<&VolumeCapability>) -> Result<Access, FieldError> {
    const FIELD: &str = "volume_capability";
    let capability = capability.ok_or(FieldError::Missing(FIELD))?;
    let mode = capability
        .access_mode
        .as_ref()
        .ok_or(FieldError::Missing("volume_capability.access_mode"))?;
    let mode = match Mode::try_from(mode.mode) {
        Ok(Mode::SingleNodeWriter) => AccessMode::SingleNodeWriter,
        Ok(Mode::SingleNodeReaderOnly) => AccessMode::SingleNodeReaderOnly,
        Ok(Mode::MultiNodeReaderOnly) => AccessMode::MultiNodeReaderOnly,
        Ok(Mode::MultiNodeSingleWriter) => AccessMode::MultiNodeSingleWriter,
        Ok(Mode::MultiNodeMultiWriter) => AccessMode::MultiNodeMultiWriter,
        Ok(Mode::SingleNodeSingleWriter) => AccessMode::SingleNodeSingleWriter,
        Ok(Mode::SingleNodeMultiWriter) => AccessMode::SingleNodeMultiWriter,
        Ok(Mode::Unknown) | Err(_) => {
            return Err(FieldError::Missing("volume_capability.access_mode.mode"));
        }
    };
    let access = match &capability.access_type {
        None => return Err(FieldError::Missing("volume_capability.access_type")),
        Some(AccessType::Block(_)) => Access::block(mode),
        Some(AccessType::Mount(mount)) => {
            Access::filesystem(mode, &mount.fs_type, &mount.mount_flags)
        }
    };
    access.map_err(|source| FieldError::Access {
        field: FIELD,
        source,
    })
}

/// The accesses that a list of capabilities asks for: at least one, each offered, and
/// not a mixture of block and filesystem.
pub(crate) fn accesses(capabilities: &[VolumeCapability]) -> Result<Vec<Access>, FieldError> {
    if capabilities.is_empty() {
        return Err(FieldError::Missing("volume_capabilities"));
    }
    let accesses: Vec<_> = capabilities
        .iter()
        .map(|capability| access(Some(capability)))
        .collect::<Result<_, _>>()?;
    if accesses
        .iter()
        .any(|access| access.is_block() != accesses[0].is_block())
    {
        let reason = "block and filesystem access to one volume exclude each other".to_owned();
        return Err(FieldError::Invalid {
            field: "volume_capabilities",
            reason,
        });
    }
    Ok(accesses)
}

/// What sizes are asked for; nothing sent is nothing asked.
pub(crate) fn capacity_range(
    range: Option<&CsiCapacityRange>,
) -> Result<CapacityRange, FieldError> {
    let Some(range) = range else {
        return Ok(CapacityRange::default());
    };
    Ok(CapacityRange::from_csi(
        range.required_bytes,
        range.limit_bytes,
    )?)
}

/// A map of the wire in the order of its keys.
pub(crate) fn ordered(map: &HashMap<String, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
