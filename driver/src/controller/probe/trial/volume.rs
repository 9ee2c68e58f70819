//! What a trial does to its volume, over SSH as everything is done to volumes.

use rds_csi_core::appliance::{Step, VolumeState};
use rds_csi_core::nqn::{HostIdentity, Nqn};
use rds_csi_core::provision::{self, Desired};

use super::{ProbeError, Trial};

impl Trial<'_> {
    /// Makes the volume, for one host.
    pub(super) async fn make(&self, host: &HostIdentity) -> Result<(), ProbeError> {
        self.leads()?;
        let reading = self.rds.inventory().await?;
        let mut steps = provision::create(&reading.inventory, &self.desired, self.space)?;
        let export = steps.iter().position(|step| *step == Step::Export);
        let hosts = vec![host.nqn.clone()];
        steps.insert(export.unwrap_or(steps.len()), Step::Allow { hosts });
        self.change(&steps, &self.desired.nqn).await
    }

    /// Removes whatever is there of it.
    pub(in crate::controller::probe) async fn clean(&self) -> Result<(), ProbeError> {
        self.leads()?;
        let Desired {
            id,
            directory,
            owner,
            ..
        } = &self.desired;
        let reading = self.rds.inventory().await?;
        let removal = provision::delete(&reading.inventory, id, directory, &owner.cluster, None)?;
        if removal.steps.is_empty() {
            return Ok(());
        }
        let state = self
            .rds
            .apply(id, &removal.file, Some(owner), &removal.steps);
        let state = state.await?;
        match (&state.item, state.file_exists) {
            (None, false) => Ok(()),
            _ => Err(ProbeError::Disturbed { id: id.clone() }),
        }
    }

    pub(super) async fn allow(&self, hosts: &[&HostIdentity]) -> Result<(), ProbeError> {
        let hosts = hosts.iter().map(|host| host.nqn.clone()).collect();
        self.change(&[Step::Allow { hosts }], &self.desired.nqn)
            .await
    }

    /// Allows two hosts, if the device takes two names at all.
    pub(super) async fn lists(&self, hosts: &[&HostIdentity]) -> Result<bool, ProbeError> {
        match self.allow(hosts).await {
            Ok(()) => Ok(true),
            Err(ProbeError::Device(error)) if error.refusal().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes steps; the volume is offered under this name then.
    pub(super) async fn change(&self, steps: &[Step], nqn: &Nqn) -> Result<(), ProbeError> {
        self.leads()?;
        let Desired {
            id,
            directory,
            owner,
            ..
        } = &self.desired;
        let file = directory.file(id);
        let state: VolumeState = self.rds.apply(id, &file, Some(owner), steps).await?;
        let item = provision::ours(&state, id, &owner.cluster)?;
        if item.exported && item.nqn.as_deref() == Some(nqn.as_str()) {
            return Ok(());
        }
        Err(ProbeError::Disturbed { id: id.clone() })
    }

    /// Whoever led meanwhile, however briefly, may have removed this volume.
    fn leads(&self) -> Result<(), ProbeError> {
        let held = self.term.is_some() && self.leadership.term() == self.term;
        held.then_some(()).ok_or(ProbeError::NotLeading)
    }
}
