//! NodeUnstageVolume: nothing of the volume is left on this node, or it is an error.
//!
//! It needs no memory and no file from before: mounts and sessions are the kernel's,
//! the NQN follows from the id and from what the kernel knows, and a session under this
//! node's own identity is ours even where the record was lost.

use std::path::Path;

use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::Subsystem;
use rds_csi_core::stage::{Staged, UnstageStep, next_unstage};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::{Device, Holder};
use rds_csi_host::mounter::Unmount;
use rds_csi_host::nvme::Seen;
use rds_csi_host::registry::Session;
use tracing::{debug, info};

use super::budget::Budget;
use super::{Node, NodeError};

impl Node {
    /// Unstages the volume, or finds nothing of it. A volume that was never here is
    /// success.
    pub(crate) async fn unstage(&self, id: &VolumeId, staging: &Path) -> Result<(), NodeError> {
        let mut budget = Budget::new();
        let mut holders = None;
        let mut changed = false;
        loop {
            let record = self.registry.get(id).await?;
            let nqn = self.nqn_by(id, record.as_ref()).await?;
            let staged = Staged {
                mounts: self.mounts_at(staging).await?.len(),
                subsystem: self.host.subsystem(&nqn).await?,
                recorded: record.is_some(),
                holders: holders.clone().unwrap_or_default(),
            };
            let host = &self.settings.identity.nqn;
            let Some(step) = next_unstage(&staged, &nqn, host, holders.is_some())? else {
                if changed {
                    info!(volume_id = %id, elapsed_ms = %budget.elapsed().as_millis(), "volume unstaged");
                }
                return Ok(());
            };
            budget.spend(&format_args!("{step:?}"))?;
            debug!(volume_id = %id, ?step, "unstaging");
            // What was asked before a change says nothing about the time after it.
            holders = None;
            match step {
                UnstageStep::Unmount => self.host.unmount(staging, Unmount::Plain).await?,
                UnstageStep::AskHolders => {
                    let found = self.holders(&nqn, staged.subsystem.as_ref(), record.as_ref());
                    holders = Some(found.await?);
                }
                UnstageStep::Disconnect => {
                    self.flush_raw(id, &nqn, record.as_ref()).await?;
                    self.let_go(id);
                    self.host.disconnect(&nqn).await?;
                    info!(volume_id = %id, %nqn, "session ended");
                }
                UnstageStep::Forget => {
                    if let Some(session) = &record {
                        self.withdraw_all(session).await?;
                    }
                    self.let_go(id);
                    self.registry.remove(id).await?;
                }
            }
            changed |= step != UnstageStep::AskHolders;
        }
    }

    /// Writes back what was written to a raw device through the page cache: whoever wrote it
    /// has closed the device by now, but may not have been the last to. A device that is away keeps
    /// its session, as a filesystem would that cannot be unmounted.
    async fn flush_raw(
        &self,
        id: &VolumeId,
        nqn: &Nqn,
        record: Option<&Session>,
    ) -> Result<(), NodeError> {
        let staging = record.and_then(|session| session.staging.as_ref());
        if !staging.is_some_and(|staging| staging.access.is_block()) {
            return Ok(());
        }
        let subsystem = self.host.subsystem(nqn).await?;
        // Of a device that is gone nothing can be written any more.
        let is_there = subsystem
            .as_ref()
            .is_some_and(|subsystem| !subsystem.namespaces.is_empty());
        match Seen::of(nqn, subsystem.as_ref())? {
            Seen::Live(device) => Ok(self.host.flush(&device).await?),
            Seen::Waiting(seen) if is_there && self.keeps(id) => Err(NodeError::NotLive {
                nqn: nqn.clone(),
                seen,
            }),
            Seen::Waiting(_) | Seen::Absent => Ok(()),
        }
    }

    /// Who uses the volume's device: what the kernel can tell, and raw targets of ours
    /// that are still there, whose users the kernel does not tell of.
    async fn holders(
        &self,
        nqn: &Nqn,
        subsystem: Option<&Subsystem>,
        record: Option<&Session>,
    ) -> Result<Vec<String>, NodeError> {
        let mut found = Vec::new();
        for namespace in subsystem.map_or(&[][..], |subsystem| &subsystem.namespaces) {
            let device = Device {
                nqn: nqn.clone(),
                namespace: namespace.clone(),
            };
            found.extend(self.host.holders(&device).await?.iter().map(describe));
            // A look at a target that is a mount fails or hangs where its device is dead.
            if !found.is_empty() {
                continue;
            }
            for (target, _) in self.published_at(record, namespace.number).await? {
                found.push(format!("the raw target {}", target.display()));
            }
        }
        Ok(found)
    }
}

fn describe(holder: &Holder) -> String {
    match holder {
        Holder::Mount(path) => format!("the mount at {}", path.display()),
        Holder::Device(name) => format!("the block device {name}"),
        Holder::Swap => "swap".to_owned(),
        Holder::Claimed => "a mount elsewhere or a program that claims it".to_owned(),
    }
}
