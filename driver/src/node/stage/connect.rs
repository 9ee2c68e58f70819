//! A session for staging, recorded before it is opened.

use std::collections::BTreeMap;

use rds_csi_core::nvme::{Subsystem, Target};
use rds_csi_host::registry::Session;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{StageRequest, millis};
use crate::node::budget::Budget;
use crate::node::session::now;
use crate::node::{Node, NodeError};

impl Node {
    /// Opens a session and waits for its device: what was recorded and what is there.
    /// The record says "opened, not staged" before the session exists, so that a crash
    /// leaves a record too many and never one too few.
    pub(super) async fn connect(
        &self,
        request: &StageRequest,
        budget: &Budget,
    ) -> Result<(Session, Subsystem), NodeError> {
        let (begun, boot) = (Instant::now(), self.settings.boot.clone());
        let context = &request.context;
        let opening = Session {
            volume: request.id.clone(),
            nqn: context.nqn.clone(),
            address: context.nvme_address,
            port: context.nvme_port,
            staged_at: None,
            staging: None,
            opened: now(),
            targets: BTreeMap::new(),
            recovery: None,
        };
        for left in self.withdraw_stale_targets(Some(&request.id)).await {
            warn!("{left}");
        }
        let session = self
            .registry
            .update(&request.id, move |earlier| match earlier {
                // It is staged, only its session was lost, and pods may be on it: nothing of
                // that is forgotten.
                Some(earlier) if earlier.staging_in(&boot).is_some() => Session {
                    nqn: opening.nqn,
                    address: opening.address,
                    port: opening.port,
                    ..earlier
                },
                Some(earlier) => Session {
                    targets: earlier.targets,
                    ..opening
                },
                None => opening,
            })
            .await?;
        let target = Target {
            nqn: context.nqn.clone(),
            address: context.nvme_address,
            port: context.nvme_port,
            host: self.settings.identity.clone(),
            tuning: context.tuning,
        };
        let latest = Some(budget.deadline());
        let (controller, subsystem) = self.open(&request.id, &target, latest).await?;
        info!(volume_id = %request.id, nqn = %context.nqn, controller, elapsed_ms = millis(begun), "session opened");
        Ok((session, subsystem))
    }
}
