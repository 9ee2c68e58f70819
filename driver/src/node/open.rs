//! Opening a session, for whoever needs one.

use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Subsystem, Target};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::nvme::await_device;
use tokio::time::Instant;
use tracing::error;

use super::{Node, NodeError};

impl Node {
    /// Opens a session of a volume whose guard the caller has, and waits for its device, at
    /// most until `latest`: the controller's name and what is there. Raw targets that
    /// would lead to a new device must have been withdrawn before; those that were passed
    /// over then are withdrawn now.
    pub(super) async fn open(
        &self,
        id: &VolumeId,
        target: &Target,
        latest: Option<Instant>,
    ) -> Result<(String, Subsystem), NodeError> {
        let connected = self.host.connect(target).await;
        self.metrics.nvme_connect(connected.is_ok());
        let controller = connected?;
        let subsystem = self.await_live(&target.nqn, latest).await?;
        for left in self.withdraw_stale_targets(Some(id)).await {
            error!("{left}");
        }
        Ok((controller, subsystem))
    }

    /// Waits for a live device of any size: whether the size is right is judged by the
    /// plan, and a volume that was grown since its attachment is right too.
    pub(super) async fn await_live(
        &self,
        nqn: &Nqn,
        latest: Option<Instant>,
    ) -> Result<Subsystem, NodeError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let deadline = latest.map_or(deadline, |latest| latest.min(deadline));
        Ok(await_device(&*self.host, nqn, deadline).await?)
    }
}
