//! Keeps the volume at the device to the nodes that have it, where the device was seen to go by
//! that.
//!
//! A node that gets the volume is let in before it is told so, and a failure of that is never
//! final. A node that has let go is kept out as soon as the device can be reached: detaching
//! needs no device and does not fail for that. What could not be closed is closed at the next
//! attachment, or by the next looks. Only while a look changes the volume, and the device hangs,
//! a detachment must be asked for again, as beside a call that does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rds_csi_core::appliance::{DiskItem, Step, VolumeState};
use rds_csi_core::attachment::Fencing;
use rds_csi_core::device_access::Rule;
use rds_csi_core::kind::Chain;
use rds_csi_core::nqn::{HostIdentity, Nqn};
use rds_csi_core::provision::{self, ProvisionError};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_routeros::Rds;
use tokio::time::timeout;
use tracing::{info, warn};

use super::error::ControllerError;
use super::probe::{Known, Sessions};
use super::{Controller, ControllerSettings};
use crate::inflight::VolumeLocks;
use crate::metrics::Metrics;

pub(super) mod look;

/// How long a detachment waits for the device.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever lets nodes in. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    pub(super) settings: ControllerSettings,
    pub(super) rds: Arc<dyn Rds>,
    /// What the device was seen to do, where there is a cluster to say it in.
    pub(super) known: Option<Known>,
    pub(super) metrics: Metrics,
    /// Whoever changes something of a volume holds its guard.
    pub(super) locks: VolumeLocks,
}

impl Admission {
    /// What becomes of sessions when their export ends, as far as anybody has seen. Without a
    /// cluster nobody is shut out by that.
    pub(super) fn sessions(&self) -> Sessions {
        let known = self.known.as_ref();
        known.map_or(Sessions::End, Known::sessions)
    }

    /// Has the device let in the hosts of these nodes, and no other where that can be had.
    /// Gives the volume as it was last read.
    pub(super) async fn admit(
        &self,
        id: &VolumeId,
        state: VolumeState,
        nodes: &BTreeSet<String>,
    ) -> Result<VolumeState, ControllerError> {
        let cluster = &self.settings.cluster;
        let item = provision::ours(&state, id, cluster).map_err(ControllerError::Existing)?;
        self.record(id, item, nodes);
        let Some(hosts) = self.plan(id, item, nodes) else {
            return Ok(state);
        };
        let not_admitted = |source| ControllerError::NotAdmitted {
            id: id.clone(),
            source: Box::new(source),
        };
        let file = item
            .backing_file()
            .unwrap_or_else(|| self.settings.volume_directory.file(id));
        let (owner, words) = (item.owner(), words(&hosts));
        let steps = [Step::Allow { hosts }];
        let state = self.rds.apply(id, &file, owner.as_ref(), &steps).await;
        let state = state.map_err(|source| not_admitted(source.into()))?;
        let now = provision::ours(&state, id, cluster)
            .map_err(|source| not_admitted(ControllerError::Existing(source)))?;
        if self.plan(id, now, nodes).is_some() {
            let source = ProvisionError::Different {
                id: id.clone(),
                property: "nvme-tcp-server-allow-host-name",
                found: now.allowed_host.clone().unwrap_or_default(),
                wanted: words,
            };
            return Err(not_admitted(ControllerError::Existing(source)));
        }
        self.metrics.access("set");
        info!(volume_id = %id, hosts = words, ?nodes, "hosts let in");
        Ok(state)
    }

    /// Whether a volume is kept to who has it, and has been set for these nodes already.
    pub(super) fn is_set(
        &self,
        id: &VolumeId,
        state: &VolumeState,
        nodes: &BTreeSet<String>,
    ) -> bool {
        let is_so = |item: &DiskItem| self.plan(id, item, nodes).is_none();
        self.is_kept(id) && state.item.as_ref().is_some_and(is_so)
    }

    /// The hosts that are to be let in now, where the item says otherwise.
    fn plan(&self, id: &VolumeId, item: &DiskItem, nodes: &BTreeSet<String>) -> Option<Vec<Nqn>> {
        let rule = self.rule(id).filter(|_| self.is_kept(id));
        provision::admit(item, &self.hosts(nodes), rule)
    }

    fn hosts(&self, nodes: &BTreeSet<String>) -> Vec<Nqn> {
        let host = |node: &String| HostIdentity::of(&self.settings.cluster, node).nqn;
        nodes.iter().map(host).collect()
    }

    /// The rule by which others could be kept out.
    fn rule(&self, id: &VolumeId) -> Option<Rule> {
        let access = self.known.as_ref().and_then(Known::access);
        provision::enforceable(access, id)
    }

    /// Counts what would be set, where that is all that is done.
    fn record(&self, id: &VolumeId, item: &DiskItem, nodes: &BTreeSet<String>) {
        if self.settings.fencing != Fencing::Record {
            return;
        }
        let rule = self.rule(id);
        let would = rule.and_then(|rule| provision::admit(item, &self.hosts(nodes), Some(rule)));
        if let Some(hosts) = would {
            self.metrics.access("recorded");
            info!(volume_id = %id, hosts = words(&hosts), "hosts would be let in, and no other");
        }
    }

    /// Whether a volume is closed to who does not have it.
    pub(super) fn is_kept(&self, id: &VolumeId) -> bool {
        self.settings.fencing == Fencing::Enforce && self.rule(id).is_some()
    }
}

impl Controller {
    /// Keeps a node out that has let go, if the device can be reached now.
    pub(super) async fn close_behind(&self, id: &VolumeId, node: &str) {
        if !self.admission.is_kept(id) || !self.rds.link().connected {
            return;
        }
        let closed = async {
            let mut nodes = self.attachments.holders(id).await?;
            nodes.remove(node);
            // Nobody is left for whom it would be opened; the next node is let in alone.
            if nodes.is_empty() {
                return Ok(());
            }
            let state = self.state(id, None).await?;
            self.admission.admit(id, state, &nodes).await.map(drop)
        };
        match timeout(PATIENCE, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.admission.metrics.access("failed");
                warn!(volume_id = %id, node, "not kept out yet: {}", Chain(&error));
            }
            Err(_) => {
                self.admission.metrics.access("failed");
                warn!(volume_id = %id, node, "not kept out yet: the cluster and the device took longer than {PATIENCE:?}");
            }
        }
    }
}

fn words(hosts: &[Nqn]) -> String {
    match hosts {
        [] => "any".to_owned(),
        hosts => {
            let hosts: Vec<&str> = hosts.iter().map(Nqn::as_str).collect();
            hosts.join(",")
        }
    }
}
