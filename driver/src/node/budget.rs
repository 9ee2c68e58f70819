//! How long an operation goes on: so many steps, and none begun after its deadline.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use super::NodeError;

/// Under the two minutes that kubelet waits for one call.
const WITHIN: Duration = Duration::from_secs(100);

/// Twice the longest way, which is staging a blank volume.
const STEPS: u32 = 16;

/// What is left of an operation's time and steps.
#[derive(Debug)]
pub(super) struct Budget {
    begun: Instant,
    left: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            left: STEPS,
        }
    }

    /// When the last step may begin.
    pub(super) fn deadline(&self) -> Instant {
        self.begun + WITHIN
    }

    /// Since when the operation runs.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes one step off, or says why it must not begin. `step` reads like "mount ext4".
    pub(super) fn spend(&mut self, step: &dyn Display) -> Result<(), NodeError> {
        if Instant::now() >= self.deadline() {
            return Err(NodeError::OutOfTime {
                step: step.to_string(),
                seconds: self.elapsed().as_secs(),
            });
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Err(NodeError::Unsettled {
                step: step.to_string(),
                steps: STEPS,
            });
        };
        self.left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rds_csi_core::kind::{Failure, Kind};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_step_begins_after_the_deadline_or_beyond_the_count() {
        let mut budget = Budget::new();
        for _ in 0..STEPS {
            budget.spend(&"look").unwrap();
        }
        assert_eq!(budget.spend(&"look").unwrap_err().kind(), Kind::Unreachable);
        let mut budget = Budget::new();
        tokio::time::advance(WITHIN).await;
        assert_eq!(budget.spend(&"look").unwrap_err().kind(), Kind::Timeout);
    }
}
