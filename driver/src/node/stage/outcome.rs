//! How staging ends: the session is marked as staged, or, after a refusal that is final,
//! ended if it never was staged.

use rds_csi_core::kind::Chain;
use rds_csi_core::stage::StageError;
use rds_csi_host::block::Device;
use rds_csi_host::registry::{Session, Staging};

use super::StageRequest;
use crate::node::{Node, NodeError};

impl Node {
    pub(super) async fn mark_staged(
        &self,
        request: &StageRequest,
        device: &Device,
    ) -> Result<(), NodeError> {
        let id = &request.id;
        // Read anew: what became of its raw targets on the way is in it.
        let recorded = match self.registry.get(id).await? {
            None => self.rebuild_record(id, &request.context.nqn).await?,
            recorded => recorded,
        };
        let Some(session) = recorded else {
            return Ok(());
        };
        let staged = Session {
            staged_at: Some(request.staging.clone()),
            staging: Some(Staging {
                boot: self.settings.boot.clone(),
                access: request.access.clone(),
                context: request.context.clone(),
                size: device.namespace.size,
                wwid: device.namespace.wwid.clone(),
            }),
            ..session.clone()
        };
        if staged != session {
            self.registry.record(&staged).await?;
        }
        Ok(())
    }

    /// Ends the session that staging opened and that never was staged, for the reason
    /// that [`super`] gives. Returns the refusal, or, where something is left, an error that
    /// makes kubelet ask again.
    pub(super) async fn abandon(&self, request: &StageRequest, refusal: NodeError) -> NodeError {
        match self.undo(request).await {
            // kubelet takes a final answer for "nothing is staged", and would never unstage it.
            Ok(true) if is_about_the_device(&refusal) => NodeError::StagedStill {
                id: request.id.clone(),
                source: Box::new(refusal),
            },
            Ok(_) => refusal,
            Err(source) => NodeError::NotUndone {
                id: request.id.clone(),
                refusal: Chain(&refusal).to_string(),
                source: Box::new(source),
            },
        }
    }

    /// Whether the volume is staged still.
    async fn undo(&self, request: &StageRequest) -> Result<bool, NodeError> {
        let record = self.registry.get(&request.id).await?;
        if record
            .as_ref()
            .is_some_and(|session| self.is_of_this_boot(session))
        {
            return Ok(true);
        }
        let never_staged = record.is_some_and(|session| session.staged_at.is_none());
        if never_staged && self.mounts_at(&request.staging).await?.is_empty() {
            self.unstage(&request.id, &request.staging).await?;
        }
        Ok(false)
    }
}

/// Whether a refusal says nothing about the request, only that the device is away or that
/// another one has come in its place: the engine is at work on that.
fn is_about_the_device(refusal: &NodeError) -> bool {
    matches!(
        refusal,
        NodeError::NotTheVolume { .. } | NodeError::Stage(StageError::OtherMount { .. })
    )
}
