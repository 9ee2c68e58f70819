//! A staged volume, as the engine keeps it between looks.

use std::net::IpAddr;

use rds_csi_core::nqn::Nqn;
use rds_csi_core::session::backoff::Backoff;
use rds_csi_core::session::{Expected, Watch};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::registry::{Session, Staging};
use tracing::warn;

use super::report::Reporter;

/// A staged volume.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) session: Session,
    pub(super) staging: Staging,
    pub(super) watch: Watch,
    pub(super) backoff: Backoff,
    /// Whether its consumers may be without their device: after every restoration, and
    /// at the start of the process, which may have died in the middle of a recovery.
    pub(super) unproved: bool,
    /// Whether an action on it is under way.
    pub(super) busy: bool,
    /// Why it does not come back, as it was told last.
    pub(super) told: String,
}

/// What makes a session the volume's, on a node of this host NQN.
pub(super) fn expected(session: &Session, staging: &Staging, host: &Nqn) -> Expected {
    Expected {
        address: session.address,
        port: session.port,
        host: host.clone(),
        wwid: staging.wwid.clone(),
        size: staging.size,
    }
}

impl Tracked {
    pub(super) fn address(&self) -> (IpAddr, u16) {
        (self.session.address, self.session.port)
    }

    /// Says why the volume does not come back, once for each reason.
    pub(super) fn tell(&mut self, reporter: &mut Reporter, id: &VolumeId, words: String) {
        if self.told != words {
            warn!(volume_id = %id, "the volume does not come back yet: {words}");
            reporter.stuck(id, &words);
            self.told = words;
        }
    }
}
