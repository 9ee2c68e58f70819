//! A cluster in memory, with the rules of the real one: versions, and writes that are
//! refused over a version that is not the newest. Each call ends a turn before it takes
//! effect, so that a test may put anything in between, and may be made to fail there,
//! before the effect or after it.

pub mod machine;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rds_csi_core::attachment::observation::{Claim, KubeVirt, Node, Pod, VolumeAttachment};
use rds_csi_core::volume_id::VolumeId;

use super::{
    Cluster, ClusterError, ClusterLink, Leadership, MachineDisk, Notice, PersistentVolume, Reader,
};

/// Where a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happened.
    Before,
    /// It happened, and nobody was told.
    After,
    /// It never ends.
    Hang,
}

/// The cluster; see the module.
#[derive(Debug, Default)]
pub struct FakeCluster(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, PersistentVolume>,
    attachments: Vec<VolumeAttachment>,
    /// Nodes that are not simply ready.
    nodes: BTreeMap<String, Option<Node>>,
    pods: Vec<Pod>,
    kubevirt: Option<KubeVirt>,
    /// The disks of machines, by namespace and name.
    disks: BTreeMap<(String, String), Vec<MachineDisk>>,
    /// Events, by PersistentVolume.
    posted: Vec<(String, Notice)>,
    made: u32,
    calls: usize,
    /// What happens to which call.
    faults: BTreeMap<usize, Fault>,
    /// How many writes find that somebody else was faster.
    overtaken: u32,
}

impl FakeCluster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a PersistentVolume or changes one.
    pub fn put(&self, volume: PersistentVolume) {
        let mut state = self.state();
        state.made += 1;
        let resource_version = state.made.to_string();
        let volume = PersistentVolume {
            resource_version,
            ..volume
        };
        state.volumes.insert(volume.name.clone(), volume);
    }

    /// Adds a VolumeAttachment, as whoever makes them names it.
    pub fn wish(&self, name: &str, node: &str, persistent_volume: &str) {
        let mut state = self.state();
        state.made += 1;
        let uid = format!("uid-{}", state.made);
        state.attachments.push(VolumeAttachment {
            name: name.to_owned(),
            uid,
            node: node.to_owned(),
            persistent_volume: persistent_volume.to_owned(),
            attached: false,
            leaving: false,
        });
    }

    /// Removes the VolumeAttachments of a node.
    pub fn delete(&self, node: &str) {
        self.state()
            .attachments
            .retain(|attachment| attachment.node != node);
    }

    /// Changes a node, or removes it. Every other is there and ready.
    pub fn node_is(&self, name: &str, node: Option<Node>) {
        self.state().nodes.insert(name.to_owned(), node);
    }

    /// Adds a pod.
    pub fn run(&self, pod: Pod) {
        self.state().pods.push(pod);
    }

    /// Installs KubeVirt, with these objects.
    pub fn kubevirt_is(&self, kubevirt: KubeVirt) {
        self.state().kubevirt = Some(kubevirt);
    }

    /// Gives a machine its disks.
    pub fn machine(&self, namespace: &str, name: &str, disks: &[MachineDisk]) {
        let key = (namespace.to_owned(), name.to_owned());
        self.state().disks.insert(key, disks.to_vec());
    }

    /// The annotation of a PersistentVolume.
    pub fn annotation(&self, name: &str, key: &str) -> Option<String> {
        self.state().volumes[name].annotations.get(key).cloned()
    }

    /// The events so far, as reasons and messages.
    pub fn posted(&self) -> Vec<(&'static str, String)> {
        let posted = |(_, notice): &(String, Notice)| (notice.reason, notice.message.clone());
        self.state().posted.iter().map(posted).collect()
    }

    /// Lets an attachment come true.
    pub fn attach(&self, node: &str) {
        for attachment in &mut self.state().attachments {
            attachment.attached |= attachment.node == node;
        }
    }

    /// How many calls were made.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Lets the call with this number, counted from 0, fail.
    pub fn fail(&self, call: usize, fault: Fault) {
        self.state().faults.insert(call, fault);
    }

    /// Lets so many writes find that somebody else was faster.
    pub fn overtake(&self, writes: u32) {
        self.state().overtaken = writes;
    }

    async fn call<T>(
        &self,
        effect: impl FnOnce(&mut State) -> Result<T, ClusterError> + Send,
    ) -> Result<T, ClusterError> {
        tokio::task::yield_now().await;
        let fault = {
            let mut state = self.state();
            state.calls += 1;
            let call = state.calls - 1;
            state.faults.remove(&call)
        };
        let failed = ClusterError::Failed {
            call: "a call of a test",
            reason: "on purpose".to_owned(),
        };
        match fault {
            None => effect(&mut self.state()),
            Some(Fault::Before) => Err(failed),
            Some(Fault::After) => {
                effect(&mut self.state())?;
                Err(failed)
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Reader for FakeCluster {
    async fn persistent_volume(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolume>, ClusterError> {
        self.call(|state| Ok(state.volumes.get(name).cloned()))
            .await
    }

    async fn volume_attachments(&self) -> Result<Vec<VolumeAttachment>, ClusterError> {
        self.call(|state| Ok(state.attachments.clone())).await
    }

    async fn node(&self, name: &str, _: &VolumeId) -> Result<Option<Node>, ClusterError> {
        let ready = Node {
            ready: true,
            ..Node::default()
        };
        self.call(|state| Ok(state.nodes.get(name).copied().unwrap_or(Some(ready))))
            .await
    }

    async fn pods(&self, namespace: &str, node: &str) -> Result<Vec<Pod>, ClusterError> {
        let there = |pod: &&Pod| pod.namespace == namespace && pod.node == node;
        self.call(|state| Ok(state.pods.iter().filter(there).cloned().collect()))
            .await
    }

    async fn kubevirt(&self, _: &str) -> Result<KubeVirt, ClusterError> {
        self.call(|state| Ok(state.kubevirt.clone().unwrap_or(KubeVirt::Absent)))
            .await
    }

    async fn volume_of(&self, claim: &Claim) -> Result<Option<String>, ClusterError> {
        let is_of = |volume: &&PersistentVolume| volume.claim.as_ref() == Some(claim);
        let name = |volume: &PersistentVolume| volume.name.clone();
        self.call(|state| Ok(state.volumes.values().find(is_of).map(name)))
            .await
    }

    async fn disks(
        &self,
        namespace: &str,
        machine: &str,
    ) -> Result<Option<Vec<MachineDisk>>, ClusterError> {
        let key = (namespace.to_owned(), machine.to_owned());
        self.call(|state| Ok(state.disks.get(&key).cloned())).await
    }
}

#[async_trait]
impl Cluster for FakeCluster {
    async fn annotate(
        &self,
        volume: &PersistentVolume,
        key: &str,
        value: &str,
    ) -> Result<(), ClusterError> {
        self.call(|state| {
            state.made += 1;
            let version = state.made.to_string();
            let found = state.volumes.get_mut(&volume.name);
            let found = found.filter(|found| found.resource_version == volume.resource_version);
            let overtaken = state.overtaken > 0;
            state.overtaken = state.overtaken.saturating_sub(1);
            let Some(found) = found.filter(|_| !overtaken) else {
                return Err(ClusterError::Changed {
                    name: format!("PersistentVolume {}", volume.name),
                });
            };
            found.annotations.insert(key.to_owned(), value.to_owned());
            found.resource_version = version;
            Ok(())
        })
        .await
    }

    async fn post(&self, volume: &str, notice: &Notice) -> Result<(), ClusterError> {
        let posted = (volume.to_owned(), notice.clone());
        self.call(|state| {
            state.posted.push(posted);
            Ok(())
        })
        .await
    }

    fn leadership(&self) -> Leadership {
        let leadership = Leadership::default();
        leadership.set(true);
        leadership
    }

    fn link(&self) -> ClusterLink {
        ClusterLink {
            trouble: None,
            requests: [(("list volumeattachments", "ok"), 3)].into(),
        }
    }
}
