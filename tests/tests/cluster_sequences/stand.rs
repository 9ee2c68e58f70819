//! Where a sequence goes on: disks that are real volumes, nodes that are objects alone, and
//! machines, migrations and pods as virt-controller makes them.

use std::collections::BTreeMap;

use rds_csi_core::names::DriverName;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_tests::cluster::claim::{Claim, IMAGE};
use rds_csi_tests::cluster::kubevirt::{install, machine, migration};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::nodes::Nodes;
use crate::objects::{ATTACHMENT, MACHINE, MIGRATION, Objects, POD, VOLUME};

pub(crate) const DRIVER: &str = "rds.csi.srvlab.io";
/// The nodes of every sequence.
pub(crate) const A: &str = "alone-a";
/// See [`A`].
pub(crate) const B: &str = "alone-b";
/// See [`A`].
pub(crate) const C: &str = "alone-c";

/// A namespace with disks, on a whole cluster with KubeVirt's kinds and three nodes more.
pub(crate) struct Stand {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: Namespace,
    pub(crate) objects: Objects,
    pub(crate) nodes: Nodes,
    pub(crate) driver: DriverName,
    disks: BTreeMap<String, Disk>,
}

/// A claim's volume.
pub(crate) struct Disk {
    claim: Claim,
    /// The PersistentVolume.
    pub(crate) volume: String,
    pub(crate) id: VolumeId,
}

/// A machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A migration.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A pod to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodToBe<'a> {
    pub(crate) name: &'a str,
    /// Without one it is bound later.
    pub(crate) node: Option<&'a str>,
    pub(crate) disks: &'a [&'a str],
    pub(crate) labels: Value,
    /// Its controller: kind, name and UID.
    pub(crate) owner: Option<(&'a str, &'a str, &'a str)>,
}

/// A claim for a machine's disk that can follow it.
pub(crate) fn disk(name: &str) -> Claim {
    Claim::block(name)
        .of_class("rds-csi")
        .access("ReadWriteMany")
}

impl Stand {
    /// With disks that can follow their machines.
    pub(crate) async fn open(name: &str, disks: &[&str]) -> Self {
        let claims: Vec<Claim> = disks.iter().map(|name| disk(name)).collect();
        Self::with(name, &claims).await
    }

    /// With disks on these claims.
    pub(crate) async fn with(name: &str, claims: &[Claim]) -> Self {
        let cluster = Cluster::whole().await.unwrap();
        install(&cluster).await.unwrap();
        cluster.open_passage().await.unwrap();
        let objects = Objects::of(name).await;
        // What a test that failed has left would keep the namespace of before.
        for migration in objects.all(MIGRATION, None).await {
            let name = migration["metadata"]["name"].as_str().unwrap();
            let free = json!({"metadata": {"finalizers": null}});
            let _ = objects.try_change(MIGRATION, name, &free).await;
        }
        let namespace = Namespace::new(&cluster, name).await.unwrap();
        let manifests: Vec<Value> = claims.iter().map(Claim::manifest).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
        namespace.apply(&list).await.unwrap();
        let mut disks = BTreeMap::new();
        for claim in claims {
            let volume = namespace.bound(&claim.name).await.unwrap();
            let found = objects.find(VOLUME, &volume).await.unwrap();
            let handle = found["spec"]["csi"]["volumeHandle"].as_str().unwrap();
            let (id, claim) = (handle.parse().unwrap(), claim.clone());
            disks.insert(claim.name.clone(), Disk { claim, volume, id });
        }
        let driver = DRIVER.parse().unwrap();
        let nodes = Nodes::new(&objects, &driver, &[A, B, C]).await;
        Self {
            cluster,
            namespace,
            objects,
            nodes,
            driver,
            disks,
        }
    }

    /// Removes everything; nothing of the disks is left when this returns.
    pub(crate) async fn close(self) {
        self.nodes.close().await;
        for attachment in self.attachments().await {
            let name = attachment["metadata"]["name"].as_str().unwrap();
            self.objects.delete(ATTACHMENT, name, 0).await;
        }
        self.namespace.delete().await.unwrap();
        self.cluster.close_passage().await.unwrap();
        for disk in self.disks.values() {
            let gone = until("the disk is gone", DEADLINE, async || {
                let found = self.objects.find(VOLUME, &disk.volume).await;
                Ok(found.is_none().then_some(()))
            });
            gone.await.unwrap();
        }
    }

    pub(crate) fn disk(&self, name: &str) -> &Disk {
        &self.disks[name]
    }

    fn claims(&self, disks: &[&str]) -> Vec<&Claim> {
        disks.iter().map(|name| &self.disk(name).claim).collect()
    }

    /// Makes a machine with disks; it runs once its first pod does.
    pub(crate) async fn machine(&self, name: &str, disks: &[&str]) -> Machine {
        let machine = machine(name, &self.claims(disks));
        let made = self.objects.make(MACHINE, &machine).await;
        Machine {
            name: name.to_owned(),
            uid: uid(&made),
        }
    }

    /// Makes a migration of a machine, which begins in `Pending`.
    pub(crate) async fn migration(&self, name: &str, machine: &Machine) -> Migration {
        let migration = migration(name, &machine.name, "Pending");
        self.migration_as(&migration).await
    }

    /// Makes a migration by its manifest.
    pub(crate) async fn migration_as(&self, migration: &Value) -> Migration {
        let made = self.objects.make(MIGRATION, migration).await;
        Migration {
            name: made["metadata"]["name"].as_str().unwrap().to_owned(),
            uid: uid(&made),
        }
    }

    /// Takes a migration a phase further.
    pub(crate) async fn phase(&self, migration: &Migration, phase: &str) {
        let fields = json!({"status": {"phase": phase}});
        let name = &migration.name;
        self.objects.change(MIGRATION, name, &fields).await;
    }

    /// Deletes a migration, which aborts it: virt-controller lets it go at once.
    pub(crate) async fn abort(&self, migration: &Migration) {
        self.objects.delete(MIGRATION, &migration.name, 0).await;
    }

    /// Makes the pod of a machine on a node; for a migration, if one is named. It runs.
    pub(crate) async fn launcher(
        &self,
        name: &str,
        node: &str,
        disks: &[&str],
        machine: &Machine,
        migration: Option<&Migration>,
    ) -> String {
        let mut labels = json!({"kubevirt.io": "virt-launcher"});
        if let Some(migration) = migration {
            labels["kubevirt.io/migrationJobUID"] = json!(migration.uid);
        }
        let owner = ("VirtualMachineInstance", &*machine.name, &*machine.uid);
        self.running(PodToBe {
            name,
            node: Some(node),
            disks,
            labels,
            owner: Some(owner),
        })
        .await
    }

    /// Makes a pod that runs: its UID.
    pub(crate) async fn running(&self, pod: PodToBe<'_>) -> String {
        let uid = self.pod(&pod).await;
        self.pod_is(pod.name, "Running").await;
        uid
    }

    /// Makes a pod that waits: its UID.
    pub(crate) async fn pod(&self, pod: &PodToBe<'_>) -> String {
        let made = self.objects.make(POD, &pod.manifest()).await;
        uid(&made)
    }

    /// Kubelet says how far a pod has come.
    pub(crate) async fn pod_is(&self, name: &str, phase: &str) {
        self.objects
            .report(POD, name, &json!({"phase": phase}))
            .await;
    }

    /// A pod ends, and is forgotten.
    pub(crate) async fn pod_gone(&self, name: &str) {
        self.objects.delete(POD, name, 0).await;
    }
}

impl PodToBe<'_> {
    fn manifest(&self) -> Value {
        let volume =
            |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        let device = |name: &&str| json!({"name": name, "devicePath": format!("/dev/{name}")});
        let volumes: Vec<Value> = self.disks.iter().map(volume).collect();
        let devices: Vec<Value> = self.disks.iter().map(device).collect();
        let mut pod = json!({
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": IMAGE, "volumeDevices": devices}],
                "volumes": volumes,
                // No kubelet says that it has ended.
                "terminationGracePeriodSeconds": 0,
                // The cluster's own does not bind it.
                "schedulerName": "none",
            },
        });
        if let Some(node) = self.node {
            pod["spec"]["nodeName"] = json!(node);
        }
        if let Some((kind, name, uid)) = self.owner {
            let group = match kind {
                "Pod" => "v1",
                "VirtualMachineExport" => "export.kubevirt.io/v1beta1",
                _ => "kubevirt.io/v1",
            };
            pod["metadata"]["ownerReferences"] = json!([{
                "apiVersion": group, "kind": kind, "name": name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        pod
    }
}

pub(crate) fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}
