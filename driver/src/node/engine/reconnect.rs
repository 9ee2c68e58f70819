//! Connecting anew what the kernel has given up.

use std::time::Duration;

use rds_csi_cluster::{Held, NodeCluster};
use rds_csi_core::kind::Chain;
use rds_csi_core::nvme::Target;
use rds_csi_host::nvme::ConnectError;
use rds_csi_host::registry::{Session, Staging};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::node::{Node, NodeError};

/// How long a device may take to accept a TCP connection. The kernel would wait for
/// minutes, and hold up every other volume meanwhile.
const ANSWER: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reconnection {
    /// There is a session again; whether it is the volume's, the next look says.
    Connected,
    /// A CSI call on the volume was under way, and may be what helps.
    Busy,
    /// The device does not answer at all.
    NoAnswer,
    /// The volume is not this node's any more, or nobody can say; in words.
    NotOurs(String),
    /// The device answered and does not have the volume, or not for this node; in words.
    Rejected(String),
    /// Something else failed, here or there; in words.
    Failed(String),
}

/// Connects the volume, if it is still this node's and its device answers.
pub(super) async fn reconnect(
    node: &Node,
    cluster: Option<&dyn NodeCluster>,
    session: &Session,
    staging: &Staging,
) -> Reconnection {
    let target = Target {
        nqn: session.nqn.clone(),
        address: session.address,
        port: session.port,
        host: node.settings.identity.clone(),
        tuning: staging.context.tuning,
    };
    if !node.host.answers(&target, ANSWER).await {
        return Reconnection::NoAnswer;
    }
    if let Err(words) = entitled(cluster, session).await {
        return Reconnection::NotOurs(words);
    }
    let Ok(_guard) = node.locks.try_lock_unasked(session.volume.as_str()) else {
        return Reconnection::Busy;
    };
    // Unstaged since the engine looked: then nobody wants a session. Or staged in another
    // way: the next look is about that.
    match node.registry.get(&session.volume).await {
        Ok(Some(now)) if is_same_staging(&now, session) => {}
        Ok(_) => return Reconnection::Busy,
        Err(unread) => return Reconnection::Failed(Chain(&unread).to_string()),
    }
    for left in node.withdraw_stale_targets(Some(&session.volume)).await {
        debug!("{left}");
    }
    let begun = Instant::now();
    match node.open(&session.volume, &target, None).await {
        Ok((controller, _)) => {
            let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(volume_id = %session.volume, nqn = %session.nqn, controller, elapsed_ms, "session opened anew");
            Reconnection::Connected
        }
        Err(NodeError::Connect(ConnectError::Refused { .. } | ConnectError::NoAnswer { .. })) => {
            Reconnection::NoAnswer
        }
        Err(failed @ NodeError::Connect(ConnectError::Rejected { .. })) => {
            Reconnection::Rejected(Chain(&failed).to_string())
        }
        Err(failed) => Reconnection::Failed(Chain(&failed).to_string()),
    }
}

pub(super) fn is_same_staging(a: &Session, b: &Session) -> bool {
    let place = |session: &Session| (session.nqn.clone(), session.address, session.port);
    a.staged_at == b.staged_at && a.staging == b.staging && place(a) == place(b)
}

/// Whether the cluster has the volume attached to this node, and leaves it there.
/// A cluster that does not answer leaves it open, and an open question is no yes: another
/// node may be writing.
pub(super) async fn entitled(
    cluster: Option<&dyn NodeCluster>,
    session: &Session,
) -> Result<(), String> {
    let Some(cluster) = cluster else {
        return Ok(());
    };
    let held = cluster.attachment(&session.volume).await;
    let is_of_another = |held: &Held| !held.is_of(&session.volume, &session.nqn);
    let is_renewed = matches!(&held, Ok(Some(held)) if is_of_another(held));
    match held.map(|held| held.map(|held| held.attachment)) {
        Ok(Some(attachment)) if attachment.leaving => Err(format!(
            "VolumeAttachment {} is being deleted, so the volume is left alone",
            attachment.name
        )),
        // A wish alone: the volume was taken from this node, and another one may have it.
        Ok(Some(attachment)) if !attachment.attached => Err(format!(
            "VolumeAttachment {} is not attached, so another node may have the volume; it is left alone",
            attachment.name
        )),
        Ok(Some(attachment)) if is_renewed => Err(format!(
            "another node had the volume since, and VolumeAttachment {} has it offered anew under another name; this session of before is left alone",
            attachment.name
        )),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(
            "the cluster has no VolumeAttachment of it to this node, so another node may have it; it is left alone"
                .to_owned(),
        ),
        Err(failed) => Err(format!(
            "whether it is still this node's is not known: {}",
            Chain(&failed)
        )),
    }
}
