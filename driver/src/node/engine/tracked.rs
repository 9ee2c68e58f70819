//! A staged volume, as the engine keeps it between looks.

use std::net::IpAddr;
use std::time::Duration;

use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::session::Watch;
use rds_csi_core::session::backoff::Backoff;
use rds_csi_core::session::doubt::Doubt;
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
    /// Since when it has been lost, in milliseconds since 1970.
    pub(super) lost: Option<u64>,
    /// The number of its device, as it was seen live last.
    pub(super) number: Option<DeviceNumber>,
    /// Whether a connection is live and shows no namespace.
    pub(super) is_hollow: bool,
    /// The attempts to connect it since it was last live for long.
    pub(super) reconnections: Backoff,
    /// Whether the device answered the last of them by rejecting it.
    pub(super) is_rejected: bool,
    /// The attempts to hand it to its consumers.
    pub(super) recoveries: Backoff,
    /// When something was done about it last.
    pub(super) tried: Duration,
    /// Whether its consumers may be without their device: after every restoration, and
    /// when it is seen for the first time: an earlier process may have died in the middle
    /// of a recovery.
    pub(super) unproved: bool,
    /// Whether it may have been taken from this node while it is connected.
    pub(super) doubt: Doubt,
    /// When its filesystem is to be looked at again.
    pub(super) examined: Duration,
    /// Whether an action on it is under way.
    pub(super) busy: bool,
    /// Why it does not come back, as it was told last.
    pub(super) told: String,
}

impl Tracked {
    pub(super) fn address(&self) -> (IpAddr, u16) {
        (self.session.address, self.session.port)
    }

    /// Whether its filesystem is mounted, as far as is known, and due for a look.
    pub(super) fn is_to_be_examined(&self, now: Duration) -> bool {
        !self.unproved && !self.staging.access.is_block() && now >= self.examined
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
