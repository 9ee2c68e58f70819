//! Nodes that are objects alone: no machine is behind them, and to the cluster they are as
//! ready as any. Where only verdicts matter there may be as many as a sequence needs.
//!
//! The node lifecycle controller takes a node for lost that it has not heard of for 50 s, so
//! their leases are renewed here. They promise no room, so that the scheduler leaves them
//! alone, and the attach-detach controller does so because they do not say that it is to
//! manage their attachments: what it would ask for, a sequence asks for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rds_csi_core::attachment::grant::name_on_nodes;
use rds_csi_core::names::DriverName;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::cluster::mend::ALONE;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::objects::{CSI_NODE, LEASE, NODE, Objects};

/// How often kubelets renew the leases of their nodes.
const BEAT: Duration = Duration::from_secs(10);

/// The names of those that are heard of.
type Heard = Arc<Mutex<BTreeSet<String>>>;

/// Nodes of a sequence.
pub(crate) struct Nodes {
    objects: Objects,
    driver: DriverName,
    names: Vec<String>,
    heard: Heard,
    /// Renews the leases until it is dropped.
    _beats: JoinSet<()>,
}

impl Nodes {
    /// Makes nodes that are ready and have the driver.
    pub(crate) async fn new(objects: &Objects, driver: &DriverName, names: &[&str]) -> Self {
        for name in names {
            objects.make(NODE, &node(name)).await;
            objects.make(LEASE, &lease(name)).await;
            // As the driver registers with kubelet: its node ids are names of nodes.
            let registered = json!({"name": driver.as_str(), "nodeID": name, "topologyKeys": []});
            let spec = json!({"drivers": [registered]});
            let registered = json!({"metadata": labelled(name), "spec": spec});
            objects.make(CSI_NODE, &registered).await;
        }
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let heard = Heard::new(Mutex::new(names.iter().cloned().collect()));
        let mut beats = JoinSet::new();
        beats.spawn(beat(objects.clone(), Arc::clone(&heard)));
        Self {
            objects: objects.clone(),
            driver: driver.clone(),
            names,
            heard,
            _beats: beats,
        }
    }

    fn hear(&self, name: &str, is_heard: bool) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if is_heard {
            heard.insert(name.to_owned());
        } else {
            heard.remove(name);
        }
    }

    /// Nothing is heard of a node any more.
    pub(crate) async fn lose(&self, name: &str) {
        self.hear(name, false);
        self.objects.report(NODE, name, &ready("Unknown")).await;
    }

    /// A node is heard of again.
    pub(crate) async fn come_back(&self, name: &str) {
        self.objects.report(NODE, name, &ready("True")).await;
        self.hear(name, true);
    }

    /// Kubelet says which volumes it uses, and no others.
    pub(crate) async fn use_volumes(&self, name: &str, volumes: &[&VolumeId]) {
        let names = volumes
            .iter()
            .map(|volume| name_on_nodes(volume, &self.driver));
        let used: Vec<String> = names.collect();
        let used = json!({"volumesInUse": used});
        self.objects.report(NODE, name, &used).await;
    }

    /// Deletes a node, as one that will never come back.
    pub(crate) async fn delete(&self, name: &str) {
        self.hear(name, false);
        for kind in [NODE, CSI_NODE, LEASE] {
            self.objects.delete(kind, name, 0).await;
        }
    }

    /// Deletes them all.
    pub(crate) async fn close(&self) {
        for name in &self.names {
            self.delete(name).await;
        }
    }
}

/// Renews the leases of those that are heard of, for ever.
async fn beat(objects: Objects, heard: Heard) {
    let mut beats = interval(BEAT);
    loop {
        beats.tick().await;
        let names = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in names {
            // One that is deleted meanwhile has none, and one that was missed is made up for.
            objects.try_change(LEASE, &name, &lease(&name)).await.ok();
        }
    }
}

fn labelled(name: &str) -> Value {
    json!({"name": name, "labels": {ALONE: "yes"}})
}

fn node(name: &str) -> Value {
    json!({"metadata": labelled(name), "status": ready("True")})
}

fn ready(status: &str) -> Value {
    let now = rds_csi_cluster::now().to_string();
    json!({"conditions": [{
        "type": "Ready", "status": status, "reason": "Test", "message": "An object alone",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }]})
}

fn lease(name: &str) -> Value {
    // To the microsecond, as leases have it.
    let now = rds_csi_cluster::now().to_string().replace('Z', ".000000Z");
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now});
    json!({"metadata": labelled(name), "spec": spec})
}
