//! A cluster in memory, with the rules of the real one: versions, and writes that are
//! refused over a version that is not the newest. Each call ends a turn before it takes
//! effect, so that a test may put anything in between, and may be made to fail there,
//! before the effect or after it.

mod answers;
pub mod machine;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rds_csi_core::attachment::observation::{KubeVirt, Node, NodeIdentity, Pod, VolumeAttachment};
use rds_csi_core::nqn::Nqn;

use super::{ClusterError, Leadership, MachineDisk, Notice, PersistentVolume, ReadAttachment};

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

/// The cluster; see the module. Whoever asks leads.
#[derive(Debug)]
pub struct FakeCluster {
    state: Mutex<State>,
    led: Leadership,
}

impl Default for FakeCluster {
    fn default() -> Self {
        let led = Leadership::default();
        led.set(true);
        led.hear(None, true);
        Self {
            state: Mutex::default(),
            led,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, PersistentVolume>,
    attachments: Vec<ReadAttachment>,
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (uid, resource_version) = (format!("uid-{}", state.made), state.made.to_string());
        let attachment = VolumeAttachment {
            name: name.to_owned(),
            uid,
            node: node.to_owned(),
            persistent_volume: persistent_volume.to_owned(),
            attached: false,
            leaving: false,
            created: Some(Timestamp::now().as_second()),
        };
        state.attachments.push(ReadAttachment {
            attachment,
            nqn: None,
            resource_version,
        });
    }

    /// Has the VolumeAttachments of a node be so old.
    pub fn age(&self, node: &str, age: Duration) {
        let mut state = self.state();
        let all = state.attachments.iter_mut();
        for read in all.filter(|read| read.attachment.node == node) {
            let made = Timestamp::now().checked_sub(age).ok();
            read.attachment.created = made.map(Timestamp::as_second);
        }
    }

    /// The VolumeAttachments as they are now.
    pub fn attachments(&self) -> Vec<VolumeAttachment> {
        let state = self.state();
        let all = state.attachments.iter();
        all.map(|read| read.attachment.clone()).collect()
    }

    /// Removes the VolumeAttachments of a node.
    pub fn delete(&self, node: &str) {
        self.state()
            .attachments
            .retain(|read| read.attachment.node != node);
    }

    /// A node that is ready, by one Node object for ever.
    #[must_use]
    pub fn ready(name: &str) -> Node {
        Node {
            ready: true,
            identity: NodeIdentity::of(name, "", "uid"),
            ..Node::default()
        }
    }

    /// Changes a node, or removes it. Every other is [ready](Self::ready).
    pub fn node_is(&self, name: &str, node: Option<Node>) {
        self.state().nodes.insert(name.to_owned(), node);
    }

    /// Adds a pod.
    pub fn run(&self, pod: Pod) {
        self.state().pods.push(pod);
    }

    /// Removes the pods of a node.
    pub fn end_pods(&self, node: &str) {
        self.state().pods.retain(|pod| pod.node != node);
    }

    /// Removes a PersistentVolume.
    pub fn remove(&self, volume: &str) {
        self.state().volumes.remove(volume);
    }

    /// Lets whoever asks lead, or not.
    pub fn lead(&self, held: bool) {
        self.led.set(held);
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
        let mut state = self.state();
        state.made += 1;
        let resource_version = state.made.to_string();
        let all = state.attachments.iter_mut();
        for read in all.filter(|read| read.attachment.node == node) {
            read.attachment.attached = true;
            read.resource_version.clone_from(&resource_version);
        }
    }

    /// Has the VolumeAttachments of a node say that it was told a name.
    pub fn tell(&self, node: &str, nqn: &Nqn) {
        let mut state = self.state();
        let all = state.attachments.iter_mut();
        for read in all.filter(|read| read.attachment.node == node) {
            read.nqn = Some(nqn.clone());
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
