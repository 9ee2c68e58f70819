//! Why a trial showed nothing.

use std::net::SocketAddr;
use std::time::Duration;

use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::provision::ProvisionError;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::VolumeNameError;
use rds_csi_routeros::RdsError;

use crate::controller::probe::session::SessionError;

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller::probe) enum ProbeError {
    /// Another controller leads.
    #[error("another controller leads now")]
    NotLeading,
    /// The device did not answer, or refused.
    #[error(transparent)]
    Device(Box<RdsError>),
    /// The device's state forbids it.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// A defect.
    #[error(transparent)]
    Name(#[from] VolumeNameError),
    /// There is no way to it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Somebody else is at it.
    #[error("somebody else changed or removed {id} meanwhile")]
    Disturbed { id: VolumeId },
    /// It is offered, and not there.
    #[error("{address} lets nobody in to {nqn}, which the device exports: {told}")]
    NeverIn {
        address: SocketAddr,
        nqn: Nqn,
        told: String,
    },
    /// It took too long.
    #[error("the device was not done after {0:?}")]
    TimedOut(Duration),
}

impl Failure for ProbeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Device(source) => source.kind(),
            Self::Provision(source) => source.kind(),
            Self::Name(_) => Kind::Bug,
            _ => Kind::Unreachable,
        }
    }
}

impl From<RdsError> for ProbeError {
    fn from(error: RdsError) -> Self {
        Self::Device(Box::new(error))
    }
}
