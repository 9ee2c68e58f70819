//! Sessions that this node opened and that nothing here uses.
//!
//! A plugin that dies while it stages leaves one, and so does a connection that the kernel
//! makes after the driver has stopped waiting for it. They hold an export and do nothing.
//! They are told of and left alone: unstaging the volume ends one, once it is proved that
//! nobody holds its device, and staging it goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rds_csi_core::kind::Chain;
use rds_csi_core::nqn::Nqn;
use tracing::{debug, warn};

use super::Engine;
use crate::node::NodeError;

/// How often it is looked. What is being staged is unused too, so one look proves nothing.
const EVERY: Duration = Duration::from_secs(60);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Unused {
    due: Duration,
    /// By NQN: in how many looks on end each was unused.
    seen: BTreeMap<String, u32>,
}

impl Engine {
    /// Tells of each once, as soon as a second look finds it unused still.
    pub(super) async fn look_for_unused(&mut self) {
        let now = self.now();
        if now < self.unused.due {
            return;
        }
        self.unused.due = now + EVERY;
        let found = match self.unused_sessions().await {
            Ok(found) => found,
            Err(failed) => {
                debug!("looking for unused sessions: {}", Chain(&failed));
                return;
            }
        };
        self.unused.seen.retain(|nqn, _| found.contains(nqn));
        for nqn in found {
            let looks = self.unused.seen.entry(nqn.clone()).or_default();
            *looks = looks.saturating_add(1);
            if *looks == 2 {
                warn!(
                    nqn,
                    "a session of this node is open, and nothing here uses it"
                );
            }
        }
        let proved = self.unused.seen.values().filter(|looks| **looks > 1);
        self.node.metrics.unused_sessions(proved.count());
    }

    /// The NQNs that are connected under this node's own name, of no volume that is staged
    /// here, mounted or published.
    async fn unused_sessions(&self) -> Result<BTreeSet<String>, NodeError> {
        let own = self.node.settings.identity.nqn.as_str();
        let tracked = self.tracked.values();
        let staged: Vec<Nqn> = tracked.map(|tracked| tracked.session.nqn.clone()).collect();
        let mut open = self.node.host.others(&staged).await?;
        open.retain(|subsystem| {
            let mut hosts = subsystem.controllers.iter().map(|found| &found.host_nqn);
            !subsystem.controllers.is_empty() && hosts.all(|host| host.as_deref() == Some(own))
        });
        if open.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mounts = self.node.host.mounts().await?;
        let (records, _) = self.node.registry.readable().await?;
        open.retain(|subsystem| {
            let mut numbers = subsystem.namespaces.iter().map(|found| found.number);
            let is_mounted = numbers.any(|number| mounts.iter().any(|at| at.device == number));
            let mut records = records.iter();
            let is_published = records
                .any(|record| record.nqn.as_str() == subsystem.nqn && !record.targets.is_empty());
            !is_mounted && !is_published
        });
        Ok(open.into_iter().map(|subsystem| subsystem.nqn).collect())
    }
}
