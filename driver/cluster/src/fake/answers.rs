//! What the cluster in memory answers, and what it takes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rds_csi_core::attachment::observation::{Claim, KubeVirt, Node, Pod, VolumeAttachment};
use rds_csi_core::volume_id::VolumeId;

use super::FakeCluster;
use crate::{
    Clearing, Cluster, ClusterError, ClusterLink, Leadership, MachineDisk, Notice,
    PersistentVolume, ReadAttachment, Reader,
};

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
        let read = self.read_attachments().await?;
        Ok(read.into_iter().map(|read| read.attachment).collect())
    }

    async fn node(&self, name: &str, _: &VolumeId) -> Result<Option<Node>, ClusterError> {
        let ready = Self::ready(name);
        self.call(|state| Ok(state.nodes.get(name).copied().unwrap_or(Some(ready))))
            .await
    }

    async fn pods(&self, namespace: &str, node: &str) -> Result<Vec<Pod>, ClusterError> {
        let there = |pod: &&Pod| pod.namespace == namespace && pod.node == node;
        self.call(|state| Ok(state.pods.iter().filter(there).cloned().collect()))
            .await
    }

    async fn kubevirt(&self, _: &str, names: &BTreeSet<&str>) -> Result<KubeVirt, ClusterError> {
        self.call(|state| {
            let mut kubevirt = state.kubevirt.clone().unwrap_or(KubeVirt::Absent);
            if let KubeVirt::Present { machines, .. } = &mut kubevirt {
                machines.retain(|machine| names.contains(machine.name.as_str()));
            }
            Ok(kubevirt)
        })
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
        self.call(|state| match &state.kubevirt {
            Some(KubeVirt::Incomplete { missing }) => Err(ClusterError::Without {
                missing: missing.clone(),
            }),
            _ => Ok(state.disks.get(&key).cloned()),
        })
        .await
    }
}

#[async_trait]
impl Clearing for FakeCluster {
    async fn read_attachments(&self) -> Result<Vec<ReadAttachment>, ClusterError> {
        self.call(|state| Ok(state.attachments.clone())).await
    }

    async fn node_names(&self) -> Result<BTreeSet<String>, ClusterError> {
        self.call(|state| {
            let wished = state.attachments.iter().map(|read| &read.attachment.node);
            let named = wished.chain(state.nodes.keys()).cloned();
            let mut names: BTreeSet<String> = named.collect();
            names.retain(|name| !matches!(state.nodes.get(name), Some(None)));
            // This program runs somewhere.
            names.insert("controller".to_owned());
            Ok(names)
        })
        .await
    }

    async fn pods_on(&self, node: &str) -> Result<Vec<Pod>, ClusterError> {
        let there = |pod: &&Pod| pod.node == node;
        self.call(|state| Ok(state.pods.iter().filter(there).cloned().collect()))
            .await
    }

    async fn clear(&self, read: &ReadAttachment) -> Result<(), ClusterError> {
        self.call(|state| {
            state.made += 1;
            let resource_version = state.made.to_string();
            let Some(at) = state.attachments.iter().position(|now| now == read) else {
                return Err(ClusterError::Changed {
                    name: format!("VolumeAttachment {}", read.attachment.name),
                });
            };
            // Whoever attached it holds it until it is detached.
            let found = &mut state.attachments[at];
            if found.attachment.attached {
                found.attachment.leaving = true;
                found.resource_version = resource_version;
            } else {
                state.attachments.remove(at);
            }
            Ok(())
        })
        .await
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
        self.led.clone()
    }

    fn link(&self) -> ClusterLink {
        ClusterLink {
            trouble: None,
            requests: [(("list volumeattachments", "ok"), 3)].into(),
        }
    }
}
