//! The end of the machine, as apart from that of the plugin.
//!
//! A session that waits for ever for its device holds up a shutdown for as long: the
//! unmounting of its filesystem sleeps in the kernel. So where the machine goes down, the
//! loss time of every session is lowered, and what cannot be written fails instead. Where
//! only the plugin ends, to be upgraded say, nothing is changed: its pods go on.

use std::time::Duration;

use rds_csi_core::kind::Chain;
use tracing::{info, warn};

use super::Node;

/// How long a session may still wait for its device, in seconds.
pub(super) const LOSS_TIME: u32 = 10;

/// How often it is looked whether the machine shuts down, once the plugin is to end.
const LOOK: Duration = Duration::from_millis(500);

impl Node {
    /// Once the plugin is to end: lowers the loss time of every session as soon as the
    /// machine is seen to shut down. Returns then; never, where it is not.
    pub(crate) async fn follow_shutdown(&self) {
        while !self.lower_loss_times().await {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lowers the loss time of every session that this node staged, if the machine shuts
    /// down; whether it does.
    pub(crate) async fn lower_loss_times(&self) -> bool {
        let Some(marker) = &self.settings.shutdown_marker else {
            return false;
        };
        match tokio::fs::try_exists(marker).await {
            Ok(true) => {
                info!("the machine shuts down: no session waits longer than {LOSS_TIME} s");
                self.set_loss_times(true).await;
                true
            }
            Ok(false) => false,
            Err(unknown) => {
                warn!("whether the machine shuts down is not known ({marker:?}): {unknown}");
                false
            }
        }
    }

    /// Gives every session the loss time that its volume asks for, which an earlier process
    /// may have lowered for a shutdown that was called off.
    pub(crate) async fn restore_loss_times(&self) {
        if self.settings.shutdown_marker.is_some() {
            self.set_loss_times(false).await;
        }
    }

    async fn set_loss_times(&self, lower: bool) {
        let sessions = match self.registry.readable().await {
            Ok((sessions, _)) => sessions,
            Err(unread) => {
                warn!(
                    "the sessions of this node are not known: {}",
                    Chain(&unread)
                );
                return;
            }
        };
        for session in sessions {
            let Some(staging) = session.staging_in(&self.settings.boot) else {
                continue;
            };
            let usual = staging.context.tuning.ctrl_loss_tmo;
            let seconds = if lower {
                Some(usual.map_or(LOSS_TIME, |usual| usual.min(LOSS_TIME)))
            } else {
                usual
            };
            // Without a session there is nothing to wait for.
            if let Err(failed) = self.host.set_loss_time(&session.nqn, seconds).await {
                info!(volume_id = %session.volume, "its loss time stays: {}", Chain(&failed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rds_csi_host::fake::Medium;

    use super::*;
    use crate::node::tests::{EXT4, Lab};

    #[tokio::test]
    async fn sessions_wait_less_at_the_end_of_the_machine_only() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("nologin");
        let mut lab = Lab::new(Medium::Blank);
        lab.mark_shutdown(&marker);
        lab.stage(EXT4).await.unwrap();
        let loss_time = |lab: &Lab| lab.host.loss_time(&lab.nqn).unwrap();
        assert!(!lab.node.lower_loss_times().await);
        assert_eq!(loss_time(&lab), None);
        std::fs::write(&marker, "").unwrap();
        lab.node.follow_shutdown().await;
        assert_eq!(loss_time(&lab), Some(LOSS_TIME));
        // It was called off, and another process comes.
        lab.node.restore_loss_times().await;
        assert_eq!(loss_time(&lab), None);
    }

    #[tokio::test]
    async fn a_shorter_time_stays_and_a_lost_session_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let mut lab = Lab::new(Medium::Blank);
        // Whatever exists will do.
        lab.mark_shutdown(directory.path());
        let mut request = lab.stage_request(EXT4);
        request.context.tuning.ctrl_loss_tmo = Some(3);
        lab.node.stage(&request).await.unwrap();
        assert!(lab.node.lower_loss_times().await);
        assert_eq!(lab.host.loss_time(&lab.nqn), Some(Some(3)));
        lab.host.lose(&lab.nqn);
        assert!(lab.node.lower_loss_times().await);
    }
}
