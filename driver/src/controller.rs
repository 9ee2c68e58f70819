//! The controller: volumes on the device, and which nodes may have them.
//!
//! One operation a file, each of the same form: read the device, let the core plan from
//! the reading, take the steps, and believe only what is read back. An operation never
//! assumes what an earlier one did, so it may die anywhere and be asked again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rds_csi_cluster::Cluster;
use rds_csi_core::attachment::leftovers::Pace;
use rds_csi_core::attachment::{Fencing, Modes};
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::bytes::Bytes;
use rds_csi_core::cluster_id::ClusterId;
use rds_csi_core::names::DriverName;
use rds_csi_core::nqn::NqnPrefix;
use rds_csi_core::provision::Space;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_routeros::rds::Rds;

mod admit;
pub(crate) mod attachments;
mod capacity;
mod create;
mod delete;
pub(crate) mod error;
mod expand;
mod ledger;
mod leftovers;
mod list;
mod migrations;
mod probe;
mod publish;
mod recall;
mod reports;
#[cfg(test)]
mod stand;

pub(crate) use create::{CreateRequest, Created};
pub(crate) use list::Token;
pub(crate) use publish::PublishRequest;

use crate::inflight::VolumeLocks;
use crate::metrics::Metrics;
use admit::Admission;
use attachments::{Attachments, InCluster, InProcess};
use delete::Removals;
use ledger::Ledger;
use probe::{Known, Probe};
use reports::{Events, Reports};

/// What the controller must be told.
#[derive(Debug, Clone)]
pub(crate) struct ControllerSettings {
    /// The driver's name.
    pub(crate) driver_name: DriverName,
    /// Whose volumes these are.
    pub(crate) cluster: ClusterId,
    /// The nodes that may have volumes; any, if none is named.
    pub(crate) nodes: BTreeSet<String>,
    /// How strictly the rules about attachments are held.
    pub(crate) modes: Modes,
    /// Whether the array shuts out who may still write.
    pub(crate) fencing: Fencing,
    /// How patiently is looked for attachments to nodes that exist no more.
    pub(crate) leftovers: Pace,
    /// Whether the device is tried for what it does about hosts and sessions.
    pub(crate) probe: bool,
    /// Where backing files lie where a StorageClass does not say it.
    pub(crate) volume_directory: VolumeDirectory,
    /// What volume NQNs start with.
    pub(crate) nqn_prefix: NqnPrefix,
    /// The management address of the device, where it is an IP address.
    pub(crate) rds_address: Option<IpAddr>,
    /// Where nodes connect where a StorageClass does not say it.
    pub(crate) nvme_address: IpAddr,
    /// The TCP port of exports where a StorageClass does not say it.
    pub(crate) nvme_port: u16,
    /// How much of a pool may be promised, in hundredths of its size.
    pub(crate) overcommit_percent: u32,
}

/// The controller of one device for one cluster.
#[derive(Debug)]
pub(crate) struct Controller {
    settings: ControllerSettings,
    rds: Arc<dyn Rds>,
    attachments: Attachments,
    admission: Admission,
    ledger: Ledger,
    removals: Removals,
}

/// What a controller does beside its calls.
#[derive(Debug)]
pub(crate) struct Beside {
    cluster: InCluster,
    events: Events,
    leftovers: Pace,
    probe: Option<Probe>,
    admission: Admission,
}

impl Beside {
    /// Follows migrations, clears what vanished nodes have left, tries the device, looks whom
    /// volumes let in and under which names they are offered, and posts events, for ever.
    pub(crate) async fn run(self) {
        let cluster = self.cluster.cluster.clone();
        let probe = async {
            if let Some(probe) = self.probe {
                probe.follow().await;
            }
        };
        tokio::join!(
            reports::post(self.events, &*cluster),
            migrations::follow(&self.cluster),
            leftovers::clear(&self.cluster, self.leftovers),
            admit::look::follow(&self.admission, &self.cluster, self.leftovers.look),
            recall::follow(&self.admission, &self.cluster, self.leftovers.look),
            probe
        );
    }
}

impl Controller {
    /// A controller, and what it does beside its calls. Without a cluster, attachments are
    /// known to this process only, and there is nothing beside.
    pub(crate) fn new(
        settings: ControllerSettings,
        rds: Arc<dyn Rds>,
        cluster: Option<Arc<dyn Cluster>>,
        metrics: &Metrics,
    ) -> (Self, Option<Beside>) {
        let known = cluster
            .as_ref()
            .map(|cluster| Known::new(cluster.leadership(), rds.clone(), &settings));
        let admission = Admission {
            settings: settings.clone(),
            rds: rds.clone(),
            known: known.clone(),
            metrics: metrics.clone(),
            locks: VolumeLocks::default(),
        };
        let beside = cluster.map(|cluster| {
            let probe = known.clone().filter(|_| settings.probe);
            let probe = probe.map(|known| Probe::new(known, settings.clone(), metrics.clone()));
            let (reports, events) = Reports::new(metrics.clone());
            let cluster = InCluster {
                cluster,
                driver: settings.driver_name.clone(),
                owner: settings.cluster.clone(),
                modes: settings.modes.clone(),
                fencing: settings.fencing,
                reports,
            };
            Beside {
                cluster,
                events,
                leftovers: settings.leftovers,
                probe,
                admission: admission.clone(),
            }
        });
        let attachments = beside.as_ref().map_or_else(
            || Attachments::Process(InProcess::default()),
            |beside| Attachments::Cluster(beside.cluster.clone()),
        );
        let controller = Self {
            settings,
            rds,
            attachments,
            admission,
            ledger: Ledger::default(),
            removals: Removals::default(),
        };
        (controller, beside)
    }

    pub(crate) const fn locks(&self) -> &VolumeLocks {
        &self.admission.locks
    }

    /// The id of the volume of a CSI name.
    pub(crate) fn id_for(&self, name: &str) -> VolumeId {
        VolumeId::for_name(&self.settings.cluster, name)
    }

    fn space(&self, reserved: Bytes) -> Space {
        Space {
            reserved,
            overcommit_percent: self.settings.overcommit_percent,
        }
    }
}
