//! Which volumes have been used and carry no note of it: no I/O, no clock.
//!
//! Kept are the volumes of this driver that wait for a note, and which pods have used
//! which claims; of everything else nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use rds_csi_core::attachment::observation::Claim;
use rds_csi_core::names::{DriverName, annotation};

use super::super::PersistentVolume;
use super::super::wire::{ContainerStatus, Object, PodSpec, VolumeSpec};

/// How a pod used its claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is not over, and its claims are not deleted before it is.
    Standing,
    /// It is over, and a claim of the same name may be another one by now: what was made
    /// after the pod's last container started was not used by it.
    Over { started: Timestamp },
}

/// Of a pod: its claims' namespace, a claim, the pod.
type Key = (String, String, String);

/// What is known.
#[derive(Debug)]
pub(super) struct Uses {
    driver: String,
    note: String,
    /// Volumes without a note, by their claim: their name and age.
    unnoted: BTreeMap<Claim, (String, Option<Timestamp>)>,
    /// Which pods have used which claims.
    uses: BTreeMap<Key, Use>,
    /// Lists that are not complete yet.
    listed_volumes: BTreeMap<Claim, (String, Option<Timestamp>)>,
    listed_uses: BTreeMap<Key, Use>,
    /// Volumes that need a note, by name. One stays although its pod is gone.
    due: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl Uses {
    pub(super) fn new(driver: &DriverName) -> Self {
        Self {
            driver: driver.to_string(),
            note: driver.annotation(annotation::FIRST_USED),
            unnoted: BTreeMap::new(),
            uses: BTreeMap::new(),
            listed_volumes: BTreeMap::new(),
            listed_uses: BTreeMap::new(),
            due: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    /// A volume that needs a note now.
    pub(super) fn due(&self) -> Option<String> {
        self.due.difference(&self.failed).next().cloned()
    }

    /// It has one, or is gone.
    pub(super) fn noted(&mut self, name: &str) {
        self.due.remove(name);
        self.unnoted.retain(|_, (volume, _)| volume != name);
    }

    /// It could not be written; later, then.
    pub(super) fn failed(&mut self, name: &str) {
        self.failed.insert(name.to_owned());
    }

    /// What failed is due again.
    pub(super) fn retry(&mut self) {
        self.failed.clear();
    }

    /// Something happened to a volume.
    pub(super) fn volume(&mut self, event: Event<Object<VolumeSpec>>) {
        match event {
            Event::Init => self.listed_volumes.clear(),
            Event::InitApply(volume) => {
                if let Some((claim, volume)) = self.waiting(volume.into()) {
                    self.listed_volumes.insert(claim, volume);
                }
            }
            Event::InitDone => {
                self.unnoted = std::mem::take(&mut self.listed_volumes);
                for claim in self.unnoted.keys().cloned().collect::<Vec<_>>() {
                    self.judge(&claim);
                }
            }
            Event::Apply(volume) => {
                let volume = PersistentVolume::from(volume);
                self.unnoted.retain(|_, (name, _)| *name != volume.name);
                if let Some((claim, volume)) = self.waiting(volume) {
                    self.unnoted.insert(claim.clone(), volume);
                    self.judge(&claim);
                }
            }
            Event::Delete(volume) => self.noted(&volume.meta.name),
        }
    }

    /// A volume of this driver whose first use is to be noted, by its claim.
    fn waiting(&self, volume: PersistentVolume) -> Option<(Claim, (String, Option<Timestamp>))> {
        let waits = volume.driver == self.driver
            && volume.is_filesystem
            && !volume.annotations.contains_key(&self.note);
        let named = (volume.name, volume.created);
        volume.claim.filter(|_| waits).map(|claim| (claim, named))
    }

    /// Something happened to a pod.
    pub(super) fn pod(&mut self, event: Event<Object<PodSpec>>) {
        match event {
            Event::Init => self.listed_uses.clear(),
            Event::InitApply(pod) => self.listed_uses.extend(used(&pod)),
            Event::InitDone => {
                self.uses = std::mem::take(&mut self.listed_uses);
                for claim in self.unnoted.keys().cloned().collect::<Vec<_>>() {
                    self.judge(&claim);
                }
            }
            Event::Apply(pod) => {
                for (key, how) in used(&pod) {
                    let claim = Claim {
                        namespace: key.0.clone(),
                        name: key.1.clone(),
                    };
                    self.uses.insert(key, how);
                    self.judge(&claim);
                }
            }
            Event::Delete(pod) => {
                for claim in claims(&pod) {
                    let key = (pod.meta.namespace.clone(), claim, pod.meta.name.clone());
                    self.uses.remove(&key);
                }
            }
        }
    }

    /// Whether the volume of a claim was used.
    fn judge(&mut self, claim: &Claim) {
        let Some((name, created)) = self.unnoted.get(claim) else {
            return;
        };
        let first = (claim.namespace.clone(), claim.name.clone(), String::new());
        let of_claim = self
            .uses
            .range(first..)
            .take_while(|((namespace, name, _), _)| {
                *namespace == claim.namespace && *name == claim.name
            });
        let counts = |how: &Use| match how {
            Use::Standing => true,
            Use::Over { started } => created.is_none_or(|created| *started >= created),
        };
        if of_claim.map(|(_, how)| how).any(counts) {
            self.due.insert(name.clone());
        }
    }
}

/// The claims that a pod has used, if a container of it ever ran. Before the first one
/// runs, kubelet has mounted every volume that any of them mounts.
fn used(pod: &Object<PodSpec>) -> Vec<(Key, Use)> {
    let status = &pod.status;
    let started = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses)
        .filter_map(started)
        .max();
    let Some(started) = started else {
        return Vec::new();
    };
    let over = ["Succeeded", "Failed"].contains(&status.phase.as_str());
    let how = if over {
        Use::Over { started }
    } else {
        Use::Standing
    };
    let key = |claim| (pod.meta.namespace.clone(), claim, pod.meta.name.clone());
    claims(pod)
        .into_iter()
        .map(|claim| (key(claim), how))
        .collect()
}

/// When a container last ran, if it ever did.
fn started(container: &ContainerStatus) -> Option<Timestamp> {
    [&container.state, &container.last_state]
        .into_iter()
        .flat_map(|state| [&state.running, &state.terminated])
        .filter_map(|ran| ran.as_ref()?.started_at)
        .max()
}

/// The claims that a pod mounts. One that no container mounts is attached to the node,
/// but kubelet leaves it alone.
fn claims(pod: &Object<PodSpec>) -> Vec<String> {
    let spec = &pod.spec;
    let containers = || {
        spec.containers
            .iter()
            .chain(&spec.init_containers)
            .chain(&spec.ephemeral_containers)
    };
    let mounted = |name: &str| {
        containers().any(|container| {
            container
                .volume_mounts
                .iter()
                .any(|mount| mount.name == name)
        })
    };
    spec.volumes
        .iter()
        .filter(|volume| mounted(&volume.name))
        .filter_map(|volume| volume.claim(&pod.meta.name))
        .collect()
}

#[cfg(test)]
mod tests;
