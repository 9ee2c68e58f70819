//! How long a device outlives its last connection.
//!
//! With native multipath, Linux 6.15 and newer can keep a device whose connections are all
//! gone: its I/O waits, and a session that is opened meanwhile brings the very same device
//! back, so that its users see a pause where they would have to be given another one. That
//! is right where a volume's users shall wait for ever, and where a session is lost. Where
//! it is ended on purpose, or the machine is, waiting helps nobody.

use rds_csi_core::kind::Chain;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::Tuning;
use rds_csi_core::volume_id::VolumeId;
use tracing::{debug, warn};

use super::Node;

/// In seconds: longer than the engine's longest pause between two attempts.
pub(super) const OUTLIVES: u32 = 60;

impl Node {
    /// Has the kernel keep the volume's device for a while after a loss, where it can and
    /// the volume's users shall wait.
    pub(super) async fn let_outlive(&self, id: &VolumeId, nqn: &Nqn, tuning: &Tuning) {
        if tuning.ctrl_loss_tmo.is_none() && tuning.fast_io_fail_tmo.is_none() {
            self.delay_removal(id, nqn, OUTLIVES).await;
        }
    }

    /// Has the device go with its session.
    pub(super) async fn let_end(&self, id: &VolumeId, nqn: &Nqn) {
        self.delay_removal(id, nqn, 0).await;
    }

    async fn delay_removal(&self, id: &VolumeId, nqn: &Nqn, seconds: u32) {
        match self.host.delay_removal(nqn, seconds).await {
            Ok(is_offered) => {
                debug!(volume_id = %id, seconds, is_offered, "removal of the device delayed");
            }
            // Without it the device comes back as another one, which is provided for.
            Err(failed) => {
                warn!(volume_id = %id, seconds, "delaying the removal of the device: {}", Chain(&failed));
            }
        }
    }
}
