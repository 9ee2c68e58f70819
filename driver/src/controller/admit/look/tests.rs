//! Looks over a device and a cluster in memory.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rds_csi_cluster::fake::FakeCluster;
use rds_csi_cluster::{Leadership, PersistentVolume};
use rds_csi_core::appliance::{DiskItem, DiskKind, FileDisk, Inventory, Step, VolumeState};
use rds_csi_core::attachment::Modes;
use rds_csi_core::attachment::grant::attachment_name;
use rds_csi_core::backing_file::{BackingFile, VolumeDirectory};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::device_access::{DeviceAccess, Proof, Rule};
use rds_csi_core::kind::{Failure as _, Kind};
use rds_csi_core::nqn::HostIdentity;
use rds_csi_core::volume_name::Owner;
use rds_csi_routeros::{LinkState, Rds, RdsError, Reading};
use tokio::time::Instant;

use super::*;
use crate::controller::ControllerSettings;
use crate::controller::probe::Known;
use crate::controller::reports::Reports;
use crate::metrics::Metrics;

const PV: &str = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
const VERSION: &str = "7.24.4 (stable)";

fn id() -> VolumeId {
    VolumeId::for_name(&"lab".parse().unwrap(), PV)
}

fn host(node: &str) -> String {
    HostIdentity::of(&"lab".parse().unwrap(), node)
        .nqn
        .to_string()
}

/// A device with one volume, of which only the hosts change.
#[derive(Debug)]
struct OneVolume {
    item: Mutex<DiskItem>,
    /// A node that is granted the volume while the device is busy.
    comes: Mutex<Option<Arc<FakeCluster>>>,
    /// Whether somebody gives the item another comment then.
    changes: AtomicBool,
}

impl OneVolume {
    fn new() -> Self {
        let id = id();
        let disk = FileDisk {
            path: VolumeDirectory::default().file(&id).file_path(),
            size: Bytes::gib(1),
            mount_filesystem: false,
        };
        let item = Mutex::new(DiskItem {
            slot: id.to_string(),
            comment: format!("rds-csi/lab/{PV}"),
            kind: DiskKind::File(disk),
            exported: true,
            nqn: None,
            port: None,
            allowed_host: None,
        });
        Self {
            item,
            comes: Mutex::default(),
            changes: AtomicBool::default(),
        }
    }

    fn allowed(&self) -> String {
        let item = self.item.lock().unwrap();
        item.allowed_host.clone().unwrap_or_default()
    }

    fn state(&self) -> VolumeState {
        VolumeState {
            item: Some(self.item.lock().unwrap().clone()),
            file_exists: true,
        }
    }
}

#[async_trait]
impl Rds for OneVolume {
    async fn inventory(&self) -> Result<Reading, RdsError> {
        let items = self.state().item.into_iter().collect();
        Ok(Reading {
            began: Instant::now(),
            inventory: Arc::new(Inventory {
                items,
                ..Inventory::default()
            }),
        })
    }

    async fn volume(&self, _: &VolumeId, _: &BackingFile) -> Result<VolumeState, RdsError> {
        Ok(self.state())
    }

    async fn apply(
        &self,
        _: &VolumeId,
        _: &BackingFile,
        owner: Option<&Owner>,
        steps: &[Step],
    ) -> Result<VolumeState, RdsError> {
        assert_eq!(owner.unwrap().to_string(), format!("rds-csi/lab/{PV}"));
        let [Step::Allow { hosts }] = steps else {
            panic!("{steps:?}")
        };
        let hosts: Vec<&str> = hosts.iter().map(Nqn::as_str).collect();
        self.item.lock().unwrap().allowed_host = Some(hosts.join(","));
        if let Some(cluster) = self.comes.lock().unwrap().take() {
            cluster.attach("b");
        }
        if self.changes.load(Ordering::Relaxed) {
            "a person's".clone_into(&mut self.item.lock().unwrap().comment);
        }
        Ok(self.state())
    }

    fn link(&self) -> LinkState {
        LinkState {
            connected: true,
            version: Some(VERSION.to_owned()),
            ..LinkState::default()
        }
    }
}

struct Stand {
    device: Arc<OneVolume>,
    fake: Arc<FakeCluster>,
    cluster: InCluster,
    admission: Admission,
}

/// A device of a rule, and a volume that `a` has and `b` wants.
fn stand(rule: Rule) -> Stand {
    stand_of(rule, PV)
}

/// The same, by a PersistentVolume of any name.
fn stand_of(rule: Rule, persistent_volume: &str) -> Stand {
    let (device, fake) = (Arc::new(OneVolume::new()), Arc::new(FakeCluster::default()));
    fake.put(PersistentVolume {
        name: persistent_volume.to_owned(),
        driver: "rds.csi.srvlab.io".to_owned(),
        handle: id().to_string(),
        ..PersistentVolume::default()
    });
    for node in ["a", "b"] {
        let name = attachment_name(&id(), &Default::default(), node);
        fake.wish(&name, node, persistent_volume);
    }
    fake.attach("a");
    let metrics = Metrics::new("controller", Vec::new());
    let settings = ControllerSettings {
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
    };
    let leadership = Leadership::default();
    let proof = Proof {
        access: DeviceAccess {
            rule,
            keeps_sessions: true,
            ends_sessions: true,
        },
        address: "10.0.1.2:4420".parse().unwrap(),
        version: VERSION.to_owned(),
    };
    leadership.say(&proof.to_string());
    let cluster = InCluster {
        cluster: fake.clone(),
        driver: Default::default(),
        owner: settings.cluster.clone(),
        modes: Modes::default(),
        fencing: Fencing::Enforce,
        reports: Reports::new(metrics.clone()).0,
    };
    let admission = Admission {
        known: Some(Known::new(leadership, device.clone(), &settings)),
        settings,
        rds: device.clone(),
        metrics,
    };
    Stand {
        device,
        fake,
        cluster,
        admission,
    }
}

impl Stand {
    async fn look(&self, before: &Due) -> Due {
        let looked = look(&self.admission, &self.cluster, before).await;
        looked.unwrap()
    }
}

#[tokio::test]
async fn what_two_looks_find_open_is_closed_to_the_node_that_has_it() {
    let stand = stand(Rule::Exact);
    let first = stand.look(&Due::new()).await;
    assert_eq!(stand.device.allowed(), "", "perhaps on its way");
    let second = stand.look(&first).await;
    assert_eq!(stand.device.allowed(), host("a"));
    assert_eq!(second, first);
    assert_eq!(stand.look(&second).await, Due::new());
    // It has moved: what was found before does not count.
    stand.fake.delete("a");
    stand.fake.attach("b");
    let moved = stand.look(&second).await;
    assert_eq!(stand.device.allowed(), host("a"));
    stand.look(&moved).await;
    assert_eq!(stand.device.allowed(), host("b"));
    // Nobody has it: the last one's it stays.
    stand.fake.delete("b");
    assert_eq!(stand.look(&Due::new()).await, Due::new());
}

/// A person made the PersistentVolume, under another name than the volume was made for.
#[tokio::test]
async fn a_volume_is_closed_whatever_its_persistent_volume_is_called() {
    let stand = stand_of(Rule::Exact, "restored");
    let due = stand.look(&Due::new()).await;
    stand.look(&due).await;
    assert_eq!(stand.device.allowed(), host("a"));
}

/// A node gets the volume while it is closed to another one, and is let in all the same.
#[tokio::test]
async fn a_node_that_comes_meanwhile_is_let_in() {
    for (rule, expected) in [
        (Rule::Exact, String::new()),
        (Rule::List, format!("{},{}", host("a"), host("b"))),
    ] {
        let stand = stand(rule);
        let due = stand.look(&Due::new()).await;
        *stand.device.comes.lock().unwrap() = Some(stand.fake.clone());
        stand.look(&due).await;
        assert_eq!(stand.device.allowed(), expected, "{rule}");
    }
}

#[tokio::test]
async fn where_the_name_does_not_count_nothing_is_set() {
    for rule in [Rule::Ignored, Rule::Other] {
        let stand = stand(rule);
        let due = stand.look(&Due::new()).await;
        assert_eq!(due, Due::new());
        stand.look(&due).await;
        assert_eq!(stand.device.allowed(), "");
    }
    // Nor where another version was tried.
    let stand = stand(Rule::Exact);
    let known = stand.admission.known.as_ref().unwrap();
    assert!(known.access().is_some());
    let other = Leadership::default();
    other.say(
        "rule=exact,keeps-sessions=true,ends-sessions=true,address=10.0.1.2:4420,version=7.25",
    );
    let settings = &stand.admission.settings;
    let known = Known::new(other, stand.device.clone(), settings);
    assert_eq!(known.access(), None);
}

/// A final answer would say that the node has no part in it, and it may have been let in.
#[tokio::test]
async fn what_is_seen_after_a_node_was_let_in_is_not_final() {
    let stand = stand(Rule::Exact);
    stand.device.changes.store(true, Ordering::Relaxed);
    let (state, nodes) = (stand.device.state(), BTreeSet::from(["a".to_owned()]));
    let seen = stand.admission.admit(&id(), &state, &nodes).await;
    assert_eq!(stand.device.allowed(), host("a"));
    assert_eq!(seen.unwrap_err().kind(), Kind::Unreachable);
}
