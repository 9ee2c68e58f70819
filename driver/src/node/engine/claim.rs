//! Giving up what was taken from this node while the kernel still tries to connect it.
//!
//! The rule is [`rds_csi_core::session::doubt`]; here the cluster is asked, one question
//! at a time, so that one that does not answer holds up nothing, and the kernel is told.
//! The session is not ended from here: without loss time the kernel removes it at its next
//! attempt that fails, and what waits to be written fails with it.

use rds_csi_cluster::NodeCluster;
use rds_csi_core::kind::Chain;
use rds_csi_core::session::doubt::Holding;
use rds_csi_host::registry::{Session, Staging};
use tracing::{info, warn};

use super::reconnect::is_same_staging;
use crate::node::Node;

/// What people are told.
pub(super) const TAKEN: &str = "the cluster has no VolumeAttachment of it to this node any more, or one under a later name, so another node may write to it or has; the kernel was told not to connect it again, and what was not written yet is lost. Delete what is left of its pods on this node";

/// What the cluster says of the volume. Only a complete answer says that it is gone.
pub(super) async fn holding(cluster: &dyn NodeCluster, session: &Session) -> Holding {
    match cluster.attachment(&session.volume).await {
        Ok(None) => Holding::Gone,
        Ok(Some(held)) if held.attachment.attached && !held.attachment.leaving => {
            if held.is_of(&session.volume, &session.nqn) {
                Holding::Ours
            } else {
                Holding::Gone
            }
        }
        // On its way: nobody else has it before it is gone, or the other way round.
        Ok(Some(_)) | Err(_) => Holding::Unknown,
    }
}

/// Has the kernel wait for the session no longer, or again as its volume asks for; whether
/// that was done. A volume that somebody works on, or that was staged anew since, is left.
pub(super) async fn wait(node: &Node, session: &Session, staging: &Staging, longer: bool) -> bool {
    let (id, nqn) = (&session.volume, &session.nqn);
    let Ok(_guard) = node.locks.try_lock_unasked(id.as_str()) else {
        return false;
    };
    match node.registry.get(id).await {
        Ok(Some(now)) if is_same_staging(&now, session) => {}
        Ok(_) | Err(_) => return false,
    }
    let seconds = if longer {
        staging.context.tuning.ctrl_loss_tmo
    } else {
        Some(0)
    };
    if let Err(failed) = node.host.set_loss_time(nqn, seconds).await {
        warn!(volume_id = %id, %nqn, longer, "setting its loss time: {}", Chain(&failed));
        return false;
    }
    if longer {
        info!(volume_id = %id, %nqn, "the volume is this node's again, and its session is waited for");
    } else {
        warn!(volume_id = %id, %nqn, "the volume is not this node's any more, and its session is given up");
    }
    true
}
