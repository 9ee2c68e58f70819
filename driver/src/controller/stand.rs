//! A device and a cluster in memory, with what the controller does unasked between them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rds_csi_cluster::fake::FakeCluster;
use rds_csi_cluster::{Cluster as _, PersistentVolume};
use rds_csi_core::appliance::{DiskItem, DiskKind, FileDisk, Inventory, Step, VolumeState};
use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::attachment::{Fencing, Modes};
use rds_csi_core::backing_file::{BackingFile, VolumeDirectory};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::device_access::{DeviceAccess, Proof, Rule};
use rds_csi_core::nqn::{HostIdentity, Nqn};
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::error::AnswerError;
use rds_csi_routeros::{FailureKind, LinkState, Rds, RdsError, Reading};
use tokio::time::Instant;

use super::ControllerSettings;
use super::admit::Admission;
use super::attachments::InCluster;
use super::probe::Known;
use super::reports::Reports;
use crate::inflight::VolumeLocks;
use crate::metrics::Metrics;

pub(super) const PV: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
pub(super) const VERSION: &str = "7.24.4 (stable)";

/// The volume that was made for a PersistentVolume.
pub(super) fn id_of(persistent_volume: &str) -> VolumeId {
    VolumeId::for_name(&"lab".parse().unwrap(), persistent_volume)
}

pub(super) fn id() -> VolumeId {
    id_of(PV)
}

pub(super) fn host(node: &str) -> String {
    HostIdentity::of(&"lab".parse().unwrap(), node)
        .nqn
        .to_string()
}

/// What happens once, while something else is done.
#[derive(Default)]
pub(super) struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Meanwhile {
    pub(super) fn is(&self, what: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(what));
    }

    fn happens(&self) {
        let what = self.0.lock().unwrap().take();
        if let Some(what) = what {
            what();
        }
    }
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

/// A device with volumes, of which only hosts and names change, under their guards.
#[derive(Debug, Default)]
pub(super) struct Device {
    items: Mutex<Vec<DiskItem>>,
    locks: VolumeLocks,
    /// While all items are read.
    pub(super) read: Meanwhile,
    /// Once one is read.
    pub(super) looked: Meanwhile,
    /// While one is changed, after that.
    pub(super) changed: Meanwhile,
    /// A volume that cannot be read by itself.
    pub(super) broken: Mutex<Option<VolumeId>>,
    /// What was done.
    pub(super) taken: Mutex<Vec<Step>>,
}

impl Device {
    fn make(&self, persistent_volume: &str) {
        let id = id_of(persistent_volume);
        let disk = FileDisk {
            path: VolumeDirectory::default().file(&id).file_path(),
            size: Bytes::gib(1),
            mount_filesystem: false,
        };
        self.items.lock().unwrap().push(DiskItem {
            slot: id.to_string(),
            comment: format!("rds-csi/lab/{persistent_volume}"),
            kind: DiskKind::File(disk),
            exported: true,
            nqn: None,
            port: None,
            allowed_host: None,
        });
    }

    pub(super) fn item(&self, id: &VolumeId) -> DiskItem {
        self.change(id, |item| item.clone())
    }

    pub(super) fn change<T>(&self, id: &VolumeId, how: impl FnOnce(&mut DiskItem) -> T) -> T {
        let mut items = self.items.lock().unwrap();
        let mut items = items.iter_mut();
        how(items.find(|item| item.slot == id.as_str()).unwrap())
    }

    pub(super) fn allowed(&self) -> String {
        self.item(&id()).allowed_host.unwrap_or_default()
    }

    pub(super) fn state(&self, id: &VolumeId) -> VolumeState {
        VolumeState {
            item: Some(self.item(id)),
            file_exists: true,
        }
    }
}

#[async_trait]
impl Rds for Device {
    async fn inventory(&self) -> Result<Reading, RdsError> {
        self.read.happens();
        let items = self.items.lock().unwrap().clone();
        Ok(Reading {
            began: Instant::now(),
            inventory: Arc::new(Inventory {
                items,
                ..Inventory::default()
            }),
        })
    }

    async fn volume(&self, id: &VolumeId, _: &BackingFile) -> Result<VolumeState, RdsError> {
        let free = self.locks.try_lock(id.as_str());
        assert!(free.is_err(), "it is worked on without its guard");
        if self.broken.lock().unwrap().as_ref() == Some(id) {
            return Err(RdsError::Read {
                what: id.to_string(),
                device: "the device".to_owned(),
                source: AnswerError::Complaint {
                    message: "broken".to_owned(),
                    kind: FailureKind::Unknown,
                },
            });
        }
        let state = self.state(id);
        self.looked.happens();
        Ok(state)
    }

    async fn apply(
        &self,
        id: &VolumeId,
        _: &BackingFile,
        owner: Option<&Owner>,
        steps: &[Step],
    ) -> Result<VolumeState, RdsError> {
        assert_eq!(owner.unwrap().to_string(), self.item(id).comment);
        self.taken.lock().unwrap().extend(steps.iter().cloned());
        self.change(id, |item| match steps {
            [Step::Allow { hosts }] => {
                let hosts: Vec<&str> = hosts.iter().map(Nqn::as_str).collect();
                item.allowed_host = Some(hosts.join(","));
            }
            [Step::Renew { nqn, .. }] => item.nqn = Some(nqn.to_string()),
            _ => panic!("{steps:?}"),
        });
        self.changed.happens();
        Ok(self.state(id))
    }

    fn link(&self) -> LinkState {
        LinkState {
            connected: true,
            version: Some(VERSION.to_owned()),
            ..LinkState::default()
        }
    }
}

pub(super) struct Stand {
    pub(super) device: Arc<Device>,
    pub(super) fake: Arc<FakeCluster>,
    pub(super) cluster: InCluster,
    pub(super) admission: Admission,
}

/// A device of a rule, and a volume that `a` has and `b` wants.
pub(super) fn stand(rule: Rule) -> Stand {
    stand_of(rule, PV)
}

/// The same, by a PersistentVolume of any name.
pub(super) fn stand_of(rule: Rule, persistent_volume: &str) -> Stand {
    let (device, fake) = (
        Arc::new(Device::default()),
        Arc::new(FakeCluster::default()),
    );
    let proof = Proof {
        access: DeviceAccess {
            rule,
            keeps_sessions: true,
            ends_sessions: true,
        },
        address: "10.0.1.2:4420".parse().unwrap(),
        version: VERSION.to_owned(),
    };
    fake.leadership().say(&proof.to_string());
    let metrics = Metrics::new("controller", Vec::new());
    let settings = settings();
    let cluster = InCluster {
        cluster: fake.clone(),
        driver: Default::default(),
        owner: settings.cluster.clone(),
        modes: Modes::default(),
        fencing: Fencing::Enforce,
        reports: Reports::new(metrics.clone()).0,
    };
    let admission = Admission {
        known: Some(Known::new(fake.leadership(), device.clone(), &settings)),
        settings,
        rds: device.clone(),
        metrics,
        locks: device.locks.clone(),
    };
    let stand = Stand {
        device,
        fake,
        cluster,
        admission,
    };
    stand.device.make(PV);
    stand.bind(&id(), persistent_volume);
    stand
}

fn settings() -> ControllerSettings {
    ControllerSettings {
        driver_name: Default::default(),
        cluster: "lab".parse().unwrap(),
        nodes: BTreeSet::new(),
        modes: Modes::default(),
        fencing: Fencing::Enforce,
        leftovers: Default::default(),
        probe: true,
        volume_directory: Default::default(),
        nqn_prefix: Default::default(),
        rds_address: None,
        nvme_address: "10.0.1.2".parse().unwrap(),
        nvme_port: 4420,
        overcommit_percent: 100,
    }
}

impl Stand {
    /// Another volume that `a` has and `b` wants.
    pub(super) fn another(&self, persistent_volume: &str) -> VolumeId {
        let id = id_of(persistent_volume);
        self.device.make(persistent_volume);
        self.bind(&id, persistent_volume);
        id
    }

    fn bind(&self, id: &VolumeId, persistent_volume: &str) {
        self.fake.put(PersistentVolume {
            name: persistent_volume.to_owned(),
            driver: "rds.csi.srvlab.io".to_owned(),
            handle: id.to_string(),
            ..PersistentVolume::default()
        });
        for node in ["a", "b"] {
            let name = attachment_name(id, &Default::default(), node);
            self.fake.wish(&name, node, persistent_volume);
        }
        self.fake.attach("a");
    }
}
