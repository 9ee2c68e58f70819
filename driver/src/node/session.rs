//! Which session is a volume's, and what the record says of it.

use std::collections::BTreeMap;
use std::path::Path;

use rds_csi_core::mount::{Mount, mounts_at};
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::Subsystem;
use rds_csi_core::session::{Expected, Sight, sight};
use rds_csi_core::volume_id::{Form, VolumeId};
use rds_csi_host::block::Device;
use rds_csi_host::nvme::Seen;
use rds_csi_host::registry::{Session, Staging};

use super::{Node, NodeError};

/// The device, or why there is none to work with.
pub(super) fn live(seen: Seen, nqn: &Nqn) -> Result<Device, NodeError> {
    seen.live().map_err(|seen| NodeError::NotLive {
        nqn: nqn.clone(),
        seen,
    })
}

impl Node {
    /// The NQN that a context may name: the volume's own, in any epoch. Volumes of the older driver
    /// were made under whatever prefix was set then; their name still ends in the id.
    pub(super) fn verify_nqn(&self, id: &VolumeId, nqn: &Nqn) -> Result<(), NodeError> {
        let ours = self.settings.nqn_prefix.nqn(id);
        let is_older = id.form() == Form::Long && nqn.is_of(id);
        if is_older || nqn.without_epoch(id).as_ref() == Some(&ours) {
            return Ok(());
        }
        Err(NodeError::OtherNqn {
            id: id.clone(),
            found: nqn.clone(),
            expected: ours.to_string(),
        })
    }

    /// The volume's NQN where no context says it: from the record, which outlives a
    /// change of the prefix, else from the id. A record of another volume's NQN is not
    /// believed.
    pub(super) async fn nqn(&self, id: &VolumeId) -> Result<Nqn, NodeError> {
        let record = self.registry.get(id).await?;
        self.nqn_by(id, record.as_ref()).await
    }

    /// The same by a record that was read. Without one the kernel is asked whether it knows
    /// the volume by the name of an epoch.
    pub(super) async fn nqn_by(
        &self,
        id: &VolumeId,
        record: Option<&Session>,
    ) -> Result<Nqn, NodeError> {
        if let Some(session) = record {
            return self.recorded_nqn(session);
        }
        let made = self.settings.nqn_prefix.nqn(id);
        // A name that has no controller any more may be one of before.
        let has_session = |found: &Subsystem| !found.controllers.is_empty();
        if self
            .host
            .subsystem(&made)
            .await?
            .as_ref()
            .is_some_and(has_session)
        {
            return Ok(made);
        }
        let known = self.host.others(std::slice::from_ref(&made)).await?;
        let mut names = known
            .iter()
            .filter_map(|found| found.nqn.parse::<Nqn>().ok());
        let renewed = names.find(|nqn| nqn.without_epoch(id).as_ref() == Some(&made));
        Ok(renewed.unwrap_or(made))
    }

    /// The NQN of a record, verified against the id.
    pub(super) fn recorded_nqn(&self, session: &Session) -> Result<Nqn, NodeError> {
        if session.nqn.is_of(&session.volume) {
            Ok(session.nqn.clone())
        } else {
            Err(NodeError::OtherNqn {
                id: session.volume.clone(),
                found: session.nqn.clone(),
                expected: self.settings.nqn_prefix.nqn(&session.volume).to_string(),
            })
        }
    }

    /// What the kernel shows of the session to exactly this NQN.
    pub(super) async fn seen(&self, nqn: &Nqn) -> Result<Seen, NodeError> {
        let subsystem = self.host.subsystem(nqn).await?;
        Ok(Seen::of(nqn, subsystem.as_ref())?)
    }

    /// Whether the volume was staged since the machine was started.
    pub(super) fn is_of_this_boot(&self, session: &Session) -> bool {
        session.staging_in(&self.settings.boot).is_some()
    }

    /// What makes a session the one of a volume that was staged like this.
    pub(super) fn expected(&self, session: &Session, staging: &Staging) -> Expected {
        Expected {
            address: session.address,
            port: session.port,
            host: self.settings.identity.nqn.clone(),
            wwid: staging.wwid.clone(),
            size: staging.size,
        }
    }

    /// Refuses what is connected under a volume's NQN where it is not what was staged here
    /// since the machine was started: a raw device has nothing else to be known by, and
    /// whoever uses the volume already would get another one's blocks.
    pub(super) fn verify_staged(
        &self,
        record: Option<&Session>,
        subsystem: Option<&Subsystem>,
    ) -> Result<(), NodeError> {
        let staged =
            record.and_then(|session| Some((session, session.staging_in(&self.settings.boot)?)));
        let Some((session, staging)) = staged else {
            return Ok(());
        };
        match sight(&self.expected(session, staging), Ok(subsystem)) {
            Sight::Foreign(seen) => Err(NodeError::NotTheVolume {
                nqn: session.nqn.clone(),
                seen,
            }),
            Sight::Live(_) | Sight::Waiting(_) | Sight::Absent | Sight::Unknown(_) => Ok(()),
        }
    }

    /// The mounts at exactly this path, lowest first.
    pub(super) async fn mounts_at(&self, path: &Path) -> Result<Vec<Mount>, NodeError> {
        Ok(mounts_at(&self.host.mounts().await?, path))
    }

    /// The record of a session that is there without one, where it is certainly ours:
    /// opened under this node's own identity. `None` for a stranger's session, which
    /// must never come to look like one that we may end.
    pub(super) async fn rebuild_record(
        &self,
        id: &VolumeId,
        nqn: &Nqn,
    ) -> Result<Option<Session>, NodeError> {
        let Some(subsystem) = self.host.subsystem(nqn).await? else {
            return Ok(None);
        };
        let ours =
            |host: &Option<String>| host.as_deref() == Some(self.settings.identity.nqn.as_str());
        let all_ours = subsystem
            .controllers
            .iter()
            .all(|controller| ours(&controller.host_nqn));
        let address = subsystem
            .controllers
            .iter()
            .find_map(|controller| controller.address)
            .filter(|_| all_ours);
        Ok(address.map(|(address, port)| Session {
            volume: id.clone(),
            nqn: nqn.clone(),
            address,
            port,
            staged_at: None,
            staging: None,
            opened: now(),
            targets: BTreeMap::new(),
            recovery: None,
        }))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}
