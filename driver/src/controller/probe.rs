//! Sees what the device does about hosts and sessions, by trying it: once for each version of
//! RouterOS that it has, by the controller that leads.
//!
//! Nothing waits for it. It never touches a volume but its own, and no answer of it makes a
//! call fail, but one: a lost node is not shut out by a renewal of the export where sessions
//! were seen to outlive that, or before it was heard whether they were. What was seen travels in
//! the Lease, so that every controller knows it, whichever of them is asked for a volume or leads
//! next. It is tried anew where the annotation is removed from the Lease while no controller runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rds_csi_cluster::Leadership;
use rds_csi_core::device_access::{DeviceAccess, Proof};
use rds_csi_core::kind::Chain;
use rds_csi_routeros::Rds;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

mod session;
mod trial;

use session::SessionError;
use trial::{ProbeError, Trial};

use super::ControllerSettings;
use crate::metrics::Metrics;

/// How often it is looked whether a trial is due.
const LOOK: Duration = Duration::from_secs(5);
/// How long after a trial that failed the next one is made.
const AGAIN: Duration = Duration::from_secs(3600);
/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What is known of the device, whichever controller has seen it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    leadership: Leadership,
    rds: Arc<dyn Rds>,
    address: SocketAddr,
}

impl Known {
    pub(super) fn new(
        leadership: Leadership,
        rds: Arc<dyn Rds>,
        settings: &ControllerSettings,
    ) -> Self {
        let address = SocketAddr::new(settings.nvme_address, settings.nvme_port);
        Self {
            leadership,
            rds,
            address,
        }
    }

    /// What this device was seen to do, with the version of RouterOS that it has.
    pub(super) fn access(&self) -> Option<DeviceAccess> {
        let proof: Proof = self.leadership.word()?.parse().ok()?;
        let version = self.rds.link().version?;
        let is_of_it = proof.address == self.address && proof.version == version;
        is_of_it.then_some(proof.access)
    }

    /// Whether sessions end with their export. Where nobody has tried, they are taken to. Where
    /// they were seen not to, that counts until another trial says something else, whichever
    /// version or address the device has by then.
    pub(super) fn sessions(&self) -> Sessions {
        if !self.leadership.has_heard() {
            return Sessions::Unknown;
        }
        match self.leadership.word().map(|word| word.parse::<Proof>()) {
            Some(Ok(proof)) if proof.access.ends_sessions => Sessions::End,
            // What another release has said may be that they do not.
            Some(_) => Sessions::Outlive,
            None => Sessions::End,
        }
    }
}

/// What becomes of sessions when their export ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// They end.
    End,
    /// They were seen to outlive it.
    Outlive,
    /// Somebody may have seen that they do, and this controller has not heard of it yet.
    Unknown,
}

/// Tries the device when that is due.
#[derive(Debug)]
pub(super) struct Probe {
    known: Known,
    settings: ControllerSettings,
    metrics: Metrics,
}

/// What became of earlier trials.
#[derive(Default)]
struct Past {
    /// The version that was tried.
    seen: Option<String>,
    /// When a trial failed, and of which version.
    failed: Option<(Instant, String)>,
    /// What was told of it.
    told: String,
    /// Since when something is left on the device.
    unclean: Option<Instant>,
}

impl Past {
    /// Whether a version is to be tried now, of which something is known or nothing: whoever had
    /// seen it may have lost the Lease to one that has not.
    fn is_due(&self, version: &str, is_known: bool, now: Instant) -> bool {
        let waits = self.failed.as_ref().is_some_and(|(at, failed)| {
            failed == version && now.saturating_duration_since(*at) < AGAIN
        });
        let is_seen = is_known && self.seen.as_deref() == Some(version);
        !is_seen && !waits
    }
}

impl Probe {
    pub(super) fn new(known: Known, settings: ControllerSettings, metrics: Metrics) -> Self {
        Self {
            known,
            settings,
            metrics,
        }
    }

    /// Looks from time to time, for ever.
    pub(super) async fn follow(&self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut past = Past::default();
        loop {
            ticks.tick().await;
            let link = self.known.rds.link();
            let (true, Some(version)) = (link.connected, link.version) else {
                continue;
            };
            if !self.known.leadership.is_held() {
                continue;
            }
            let access = self.known.access();
            if past.is_due(&version, access.is_some(), Instant::now()) {
                match access {
                    Some(access) => self.take_over(&mut past, access, version).await,
                    None => Box::pin(self.look(&mut past, version)).await,
                }
            } else if past.unclean.is_some_and(|at| at.elapsed() > LOOK * 12) {
                past.unclean = self.tidy().await;
            }
        }
    }

    /// Goes by what one that led before has seen, and removes what it may have left.
    async fn take_over(&self, past: &mut Past, access: DeviceAccess, version: String) {
        info!(
            version,
            "what the device does about hosts and sessions is known"
        );
        self.metrics.device_access(access);
        *past = Past {
            seen: Some(version),
            unclean: self.tidy().await,
            ..Past::default()
        };
    }

    async fn look(&self, past: &mut Past, version: String) {
        let outcome = match timeout(DEADLINE, self.ask()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProbeError::TimedOut(DEADLINE)),
        };
        past.unclean = self.tidy().await;
        match outcome {
            Ok(access) => {
                self.learnt(access, &version);
                *past = Past {
                    seen: Some(version),
                    unclean: past.unclean,
                    ..Past::default()
                };
            }
            Err(ProbeError::NotLeading) => {}
            Err(error) => {
                past.failed = Some((Instant::now(), version));
                let told = Chain(&error).to_string();
                if told != past.told {
                    let remedy = remedy(&error);
                    warn!(
                        "what the device does about hosts and sessions could not be seen, and all goes on as if it ended sessions with their export: {told}{remedy}"
                    );
                    past.told = told;
                }
            }
        }
    }

    async fn ask(&self) -> Result<DeviceAccess, ProbeError> {
        let trial = self.trial()?;
        trial.clean().await?;
        trial.run().await
    }

    /// Removes what is left; when that failed.
    async fn tidy(&self) -> Option<Instant> {
        let cleaned = async { self.trial()?.clean().await };
        match timeout(DEADLINE, cleaned).await {
            Ok(Ok(()) | Err(ProbeError::NotLeading)) => None,
            Ok(Err(error)) => {
                warn!("removing the probe of the device: {}", Chain(&error));
                Some(Instant::now())
            }
            Err(_) => Some(Instant::now()),
        }
    }

    fn trial(&self) -> Result<Trial<'_>, ProbeError> {
        let mark = Timestamp::now().as_nanosecond().to_string();
        let Known {
            leadership, rds, ..
        } = &self.known;
        Trial::new(&**rds, leadership, &self.settings, &mark)
    }

    fn learnt(&self, access: DeviceAccess, version: &str) {
        let DeviceAccess {
            rule,
            keeps_sessions,
            ends_sessions,
        } = access;
        info!(version, %rule, keeps_sessions, ends_sessions, "seen what the device does about hosts and sessions");
        if !ends_sessions {
            warn!(
                version,
                "sessions outlive their export on this device: a lost node cannot be shut out by renewing it, so with --fencing enforce its volumes go to no other node until somebody has made sure that its machine is off and said so"
            );
        }
        let proof = Proof {
            access,
            address: self.known.address,
            version: version.to_owned(),
        };
        self.known.leadership.say(&proof.to_string());
        self.metrics.device_access(access);
    }
}

/// Which setting helps.
fn remedy(error: &ProbeError) -> &'static str {
    match error {
        ProbeError::Session(SessionError::Unreachable { .. }) => {
            "; let the controller reach the device where nodes connect (--nvme-address, device.nvmeAddress of the chart), by its network and, where there is one, its NetworkPolicy"
        }
        _ => "; it is tried again in an hour",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_version_is_tried_once_and_after_a_failure_once_an_hour() {
        let start = Instant::now();
        let mut past = Past::default();
        assert!(past.is_due("7.24", false, start));
        past.failed = Some((start, "7.24".to_owned()));
        assert!(!past.is_due("7.24", false, start));
        assert!(!past.is_due("7.24", false, start + AGAIN - LOOK));
        assert!(past.is_due("7.24", false, start + AGAIN));
        assert!(past.is_due("7.25", false, start), "another one");
        past = Past {
            seen: Some("7.24".to_owned()),
            ..Past::default()
        };
        assert!(!past.is_due("7.24", true, start + AGAIN * 100));
        assert!(
            past.is_due("7.24", false, start),
            "nobody knows it any more"
        );
        assert!(past.is_due("7.25", false, start));
    }
}
