//! What is left on this node of a volume that was offered anew since: another node had it in
//! between, so whatever waits here to be written must never be.

use rds_csi_core::kind::{Chain, Failure};
use rds_csi_host::nvme::Seen;
use tracing::{info, warn};

use super::StageRequest;
use crate::node::{Node, NodeError};

impl Node {
    /// Has the volume's session of an earlier name end, and takes the mount away that is on
    /// it. Whoever still uses it keeps it: kubelet ends the pods that the cluster has
    /// forgotten, and asks again.
    pub(super) async fn leave_earlier(&self, request: &StageRequest) -> Result<(), NodeError> {
        let (id, now) = (&request.id, &request.context.nqn);
        let Some(earlier) = self.registry.get(id).await? else {
            return Ok(());
        };
        let before = &earlier.nqn;
        if before == now || before.without_epoch(id) != now.without_epoch(id) {
            return Ok(());
        }
        info!(volume_id = %id, %before, %now, "offered anew since it was staged");
        let subsystem = self.host.subsystem(before).await?;
        let tries = subsystem
            .as_ref()
            .is_some_and(|subsystem| !subsystem.controllers.is_empty());
        match Seen::of(before, subsystem.as_ref())? {
            // To unmount it would write what waits.
            Seen::Live(_) => {
                return Err(NodeError::EarlierSession {
                    id: id.clone(),
                    before: before.clone(),
                    now: now.clone(),
                });
            }
            Seen::Waiting(seen) if tries => {
                // The kernel gives it up at its next attempt, and what waits fails with it.
                if let Err(failed) = self.host.set_loss_time(before, Some(0)).await {
                    warn!(volume_id = %id, %before, "setting its loss time: {}", Chain(&failed));
                }
                let nqn = before.clone();
                return Err(NodeError::NotLive { nqn, seen });
            }
            Seen::Waiting(_) | Seen::Absent => {}
        }
        let unstaged = self.unstage(id, &request.staging).await;
        unstaged.map_err(|error| match error.kind().is_retryable() {
            true => error,
            // kubelet would take a final answer for "nothing is staged".
            false => NodeError::StagedStill {
                id: id.clone(),
                source: Box::new(error),
            },
        })
    }
}
