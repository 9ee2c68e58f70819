//! What every test here begins and ends with.

use std::time::Duration;

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::kubevirt::{install, launcher, machine, migration};
use rds_csi_tests::cluster::namespace::Namespace;
use serde_json::{Value, json};

/// How long a refusal may take to be told, and what follows a mended cause.
pub(crate) const LONG: Duration = Duration::from_secs(300);
pub(crate) const DRIVER: &str = "rds.csi.srvlab.io";

/// A whole cluster with the product and KubeVirt's kinds in it, and a namespace in it.
pub(crate) struct Stand {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: Namespace,
}

impl Stand {
    pub(crate) async fn open(name: &str) -> Self {
        let cluster = Cluster::whole().await.unwrap();
        install(&cluster).await.unwrap();
        let namespace = Namespace::new(&cluster, name).await.unwrap();
        Self { cluster, namespace }
    }

    pub(crate) async fn close(self) {
        self.namespace.delete().await.unwrap();
    }

    pub(crate) async fn apply(&self, object: &Value) {
        self.namespace.apply(object).await.unwrap();
    }

    /// Applies what must be refused; the words of that.
    pub(crate) async fn refused(&self, object: &Value) -> String {
        format!("{:#}", self.namespace.apply(object).await.unwrap_err())
    }

    /// Makes a machine that runs, with disks on claims: its UID.
    pub(crate) async fn machine(&self, name: &str, claims: &[&Claim]) -> String {
        self.apply(&machine(name, claims)).await;
        self.uid("vmi", name).await
    }

    /// Makes a migration of a machine, or takes it a phase further: its UID.
    pub(crate) async fn migration(&self, name: &str, machine: &str, phase: &str) -> String {
        self.apply(&migration(name, machine, phase)).await;
        self.uid("vmim", name).await
    }

    /// Starts the pod of a machine on a node; for a migration, if one is named. It may wait.
    pub(crate) async fn launch(
        &self,
        pod_name: &str,
        node: &str,
        claim: &Claim,
        machine: (&str, &str),
        migration: Option<&str>,
    ) {
        let pod = launcher(pod_name, node, claim, machine, migration);
        self.apply(&pod).await;
    }

    async fn uid(&self, kind: &str, name: &str) -> String {
        let object = self.namespace.get(kind, name).await.unwrap();
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// The nodes that the cluster says have a volume.
    pub(crate) async fn attached(&self, volume: &str) -> Vec<String> {
        let is_attached = |found: &Value| found["status"]["attached"] == true;
        self.wanted(volume, is_attached).await
    }

    /// The nodes of a volume's attachments that are like this.
    pub(crate) async fn wanted(
        &self,
        volume: &str,
        is_meant: impl Fn(&Value) -> bool,
    ) -> Vec<String> {
        let all = self.cluster.get(&["volumeattachments"]).await.unwrap();
        let all = all["items"].as_array().unwrap();
        let of_it = all.iter().filter(|found| {
            found["spec"]["source"]["persistentVolumeName"] == volume && is_meant(found)
        });
        let node = |found: &Value| found["spec"]["nodeName"].as_str().unwrap().to_owned();
        let mut nodes: Vec<_> = of_it.map(node).collect();
        nodes.sort();
        nodes
    }
}

/// An attachment of a volume to a node, as the attach-detach controller asks for it.
pub(crate) fn attachment(name: &str, node: &str, volume: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": name},
        "spec": {"attacher": DRIVER, "nodeName": node,
            "source": {"persistentVolumeName": volume}},
    })
}
