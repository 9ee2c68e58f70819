//! One trial of the device: a volume is made, connected to, changed and removed again.
//!
//! It touches that one volume, which carries this cluster's marker and the name of a probe,
//! and it takes no step while another controller leads: two trials at once would take each
//! other's doings for the device's. What is left when it fails is removed, and what a crash
//! left is removed before the next one begins.

use std::net::SocketAddr;
use std::time::Duration;

use rds_csi_cluster::Leadership;
use rds_csi_core::appliance::Step;
use rds_csi_core::bytes::{Bytes, CapacityRange};
use rds_csi_core::device_access::{DeviceAccess, Rule, Seen};
use rds_csi_core::nqn::{Epoch, HostIdentity, Nqn};
use rds_csi_core::provision::{Desired, Space};
use rds_csi_core::volume_id::{PROBE_NAME, VolumeId};
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::Rds;
use tokio::time::{Instant, sleep};
use tracing::debug;

mod error;
mod volume;

pub(super) use error::ProbeError;

use super::session::{Answer, Pulse, Session, SessionError, connect};
use crate::controller::ControllerSettings;

/// How long the device may take to open a port that had no export, and to heed a change.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// What is tried, and on what.
pub(super) struct Trial<'a> {
    rds: &'a dyn Rds,
    leadership: &'a Leadership,
    /// The term of leadership that it began in.
    term: Option<u64>,
    address: SocketAddr,
    desired: Desired,
    renewed: Nqn,
    hosts: [HostIdentity; 2],
    space: Space,
}

impl<'a> Trial<'a> {
    /// A trial whose names no other one has, of this process or another: `mark` is new each
    /// time.
    pub(super) fn new(
        rds: &'a dyn Rds,
        leadership: &'a Leadership,
        settings: &ControllerSettings,
        mark: &str,
    ) -> Result<Self, ProbeError> {
        let cluster = &settings.cluster;
        let id = VolumeId::probe(cluster);
        let base = settings.nqn_prefix.nqn(&id);
        let name = |epoch: &str| {
            let named = base.in_epoch(&id, &Epoch::of(&format!("{mark} {epoch}")));
            named.unwrap_or_else(|| base.clone())
        };
        let owner = Owner {
            cluster: cluster.clone(),
            name: PROBE_NAME.parse()?,
        };
        let size = Bytes::ALIGNMENT;
        Ok(Self {
            rds,
            leadership,
            term: leadership.term(),
            address: SocketAddr::new(settings.nvme_address, settings.nvme_port),
            renewed: name("after"),
            // No node has such a name, as none has a slash.
            hosts: ["probe/first", "probe/second"].map(|host| HostIdentity::of(cluster, host)),
            space: Space {
                reserved: Bytes::default(),
                overcommit_percent: settings.overcommit_percent,
            },
            desired: Desired {
                owner,
                directory: settings.volume_directory.clone(),
                range: CapacityRange {
                    required: Some(size),
                    limit: Some(size),
                },
                size,
                nqn: name("before"),
                port: settings.nvme_port,
                id,
            },
        })
    }

    /// Makes the volume and asks all questions of it.
    pub(super) async fn run(&self) -> Result<DeviceAccess, ProbeError> {
        let [first, second] = &self.hosts;
        let before = &self.desired.nqn;
        self.make(first).await?;
        let mut seen = Seen {
            named: self.until(first, before, true).await?,
            other: false,
            both: false,
            open: false,
            closed: false,
        };
        if !seen.named {
            self.allow(&[]).await?;
        }
        let mut watched = Watched::new(self.session(first, before).await?);
        if seen.named {
            seen.other = self.until(second, before, false).await?;
            if self.lists(&[first, second]).await? {
                seen.both = self.until(first, before, true).await?
                    && self.until(second, before, true).await?;
            }
            // The first is allowed all the time, if this device knows lists.
            if seen.both {
                watched.look().await?;
            }
            self.allow(&[]).await?;
            seen.open = self.until(second, before, true).await?;
            watched.look().await?;
            self.allow(&[first]).await?;
            seen.closed = self.until(second, before, false).await?;
            watched.look().await?;
        }
        let ends_sessions = self.renewal_ends(watched.session).await?;
        Ok(DeviceAccess {
            rule: seen.rule(),
            keeps_sessions: watched.kept && seen.rule() != Rule::Other,
            ends_sessions,
        })
    }

    /// Whether a session has ended, and its name is nobody's, once the export was renewed:
    /// at once, since the next node gets the volume then.
    async fn renewal_ends(&self, session: Option<Session>) -> Result<bool, ProbeError> {
        let ([first, _], before) = (&self.hosts, &self.desired.nqn);
        let mut session = match session {
            Some(session) => session,
            None => self.session(first, before).await?,
        };
        // Whoever ended it before, the renewal would not have.
        if session.pulse().await? != Pulse::Alive {
            let id = self.desired.id.clone();
            return Err(ProbeError::Disturbed { id });
        }
        let renewal = Step::Renew {
            from: before.clone(),
            nqn: self.renewed.clone(),
            port: self.desired.port,
        };
        self.change(&[renewal], &self.renewed).await?;
        let pulse = session.pulse().await?;
        // The way to the device is there: it was the device that ended the session.
        drop(self.session(first, &self.renewed).await?);
        let old_name = self.lets_in(first, before).await?;
        debug!(?pulse, old_name, "the export was renewed");
        if pulse == Pulse::Alive {
            self.tell_when_it_ends(session).await?;
        }
        Ok(pulse == Pulse::Ended && !old_name)
    }

    /// For whoever reads the log: a session that ends late is another matter than one that
    /// never does.
    async fn tell_when_it_ends(&self, mut session: Session) -> Result<(), ProbeError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if session.pulse().await? != Pulse::Alive {
                tracing::warn!(after = ?began.elapsed(), "a session outlived its export and then ended");
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        tracing::warn!(after = ?began.elapsed(), "a session outlived its export and goes on");
        Ok(())
    }

    /// A session of a host that nothing keeps out.
    async fn session(&self, host: &HostIdentity, nqn: &Nqn) -> Result<Session, ProbeError> {
        let began = Instant::now();
        loop {
            let told = match self.connect(host, nqn, began).await? {
                Some(Answer::In(session)) => return Ok(session),
                Some(Answer::Refused(status)) => status.to_string(),
                Some(Answer::Ended) | None => "the connection ended".to_owned(),
            };
            if began.elapsed() >= PATIENCE {
                let (address, nqn) = (self.address, nqn.clone());
                return Err(ProbeError::NeverIn { address, nqn, told });
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether a host is let in, once that is as `expected` or has had its time to be so.
    async fn until(
        &self,
        host: &HostIdentity,
        nqn: &Nqn,
        expected: bool,
    ) -> Result<bool, ProbeError> {
        let began = Instant::now();
        loop {
            let answer = self.connect(host, nqn, began).await?;
            let is_in = matches!(answer, Some(Answer::In(_)));
            debug!(host = %host.nqn, ?answer, expected, "asked");
            if is_in == expected || began.elapsed() >= PATIENCE {
                return Ok(is_in);
            }
            sleep(PAUSE).await;
        }
    }

    async fn lets_in(&self, host: &HostIdentity, nqn: &Nqn) -> Result<bool, ProbeError> {
        let answer = connect(self.address, host, nqn).await?;
        Ok(matches!(answer, Answer::In(_)))
    }

    /// An answer; `None` while the port may still be opening.
    async fn connect(
        &self,
        host: &HostIdentity,
        nqn: &Nqn,
        began: Instant,
    ) -> Result<Option<Answer>, ProbeError> {
        match connect(self.address, host, nqn).await {
            Ok(answer) => Ok(Some(answer)),
            Err(SessionError::Unreachable { .. }) if began.elapsed() < PATIENCE => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A session that should outlive what is done around it.
struct Watched {
    session: Option<Session>,
    kept: bool,
}

impl Watched {
    fn new(session: Session) -> Self {
        Self {
            session: Some(session),
            kept: true,
        }
    }

    async fn look(&mut self) -> Result<(), SessionError> {
        if let Some(session) = &mut self.session
            && session.pulse().await? != Pulse::Alive
        {
            self.session = None;
            self.kept = false;
        }
        Ok(())
    }
}
