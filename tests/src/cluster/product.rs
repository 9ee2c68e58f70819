//! The product in a cluster: the chart of this repository, installed as a user would.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::Cluster;
use super::claim::Claim;
use super::component::Component;

/// The namespace and the name of the release.
pub const NAMESPACE: &str = "rds-csi";
/// The replicas of the webhook, as the chart has them by default.
pub const WEBHOOKS: usize = 2;
/// The Secret of the webhook's own CA and certificate.
pub const WEBHOOK_SECRET: &str = "rds-csi-webhook-tls";
const SECRET: &str = "device-key";
/// On the pool that the appliance has.
const VOLUME_PATH: &str = "/storage-pool/rds-csi";
/// The label of every object that says what it was made from.
const INPUTS: &str = "rds-csi.test/inputs";
/// How names of the product's images begin.
const IMAGES: &str = "localhost/rds-csi-";
/// The class of xfs volumes, which the chart does not make by itself.
const XFS_CLASS: &str = "test-xfs";
/// What [`Cluster::imported`] found: asking takes seconds, and tests import nothing.
static IMPORTED: OnceCell<String> = OnceCell::const_new();
/// How helm merges, waits and fails; a person would use the same words.
const HELM: &[&str] = &["--namespace", NAMESPACE, "--wait", "--timeout", "170s"];

impl Cluster {
    /// Installs the chart or upgrades to it, and waits until every pod of it is ready.
    /// `values` goes over those that every installation needs.
    ///
    /// # Errors
    /// helm failed; its words and what the cluster knows are in the error.
    pub async fn install(&self, values: &Value) -> anyhow::Result<()> {
        self.prepare_installation().await?;
        self.forget_interrupted().await?;
        let mut all = self.required_values().await?;
        merge(&mut all, values);
        let file = self.state.path("values.json");
        std::fs::write(&file, all.to_string()).context("writing the chart's values")?;
        let (chart, file) = (chart()?.display().to_string(), file.display().to_string());
        let words = [
            &["upgrade", "--install", NAMESPACE, &chart, "--values", &file],
            HELM,
        ]
        .concat();
        let installed = self.helm(&words).await;
        if let Err(error) = installed {
            return Err(error.context(self.product_report().await));
        }
        Ok(())
    }

    /// Makes sure that the chart of this repository is installed with the plain values, and
    /// that its pods run the images that the nodes have now, without doing much if it is so.
    ///
    /// # Errors
    /// See [`Cluster::install`].
    pub async fn ensure_installed(&self) -> anyhow::Result<()> {
        let words = [
            "status",
            NAMESPACE,
            "--namespace",
            NAMESPACE,
            "--output=json",
        ];
        let status = self.helm(&words).await.unwrap_or_default();
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        if status["info"]["status"] == "deployed"
            && status["config"] == self.required_values().await?
        {
            return Ok(());
        }
        self.install(&json!({})).await
    }

    /// The page of metrics of the API server.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn api_metrics(&self) -> anyhow::Result<String> {
        self.kubectl(&["get", "--raw", "/metrics"]).await
    }

    /// Makes sure of a class of xfs volumes: its name. A volume of it has 300 MiB at least.
    ///
    /// # Errors
    /// The API refused it.
    pub async fn xfs_class(&self) -> anyhow::Result<&'static str> {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": XFS_CLASS},
            "provisioner": "rds.csi.srvlab.io",
            "allowVolumeExpansion": true,
            "parameters": {"csi.storage.k8s.io/fstype": "xfs"},
        });
        self.apply(&class.to_string()).await?;
        Ok(XFS_CLASS)
    }

    /// Claims of every kind: ext4, xfs and a raw device, named after their kind and a stem before
    /// it, whose volumes go with them.
    ///
    /// # Errors
    /// See [`Cluster::xfs_class`].
    pub async fn kinds(&self, stem: &str) -> anyhow::Result<[Claim; 3]> {
        let name = |kind: &str| format!("{stem}{kind}");
        let xfs = self.xfs_class().await?;
        Ok([
            Claim::filesystem(&name("ext4")),
            Claim::filesystem(&name("xfs")).of_class(xfs).size("320Mi"),
            Claim::block(&name("raw")).of_class("rds-csi"),
        ])
    }

    /// Empties the Secret of the webhook's own certificate, as a person does to have another:
    /// the webhook makes a CA and a certificate anew.
    ///
    /// # Errors
    /// The API refused it.
    pub async fn empty_webhook_secret(&self) -> anyhow::Result<()> {
        let patch = json!({"data": null}).to_string();
        let words = ["patch", "secret", WEBHOOK_SECRET, "--type=merge", "--patch"];
        let words = [&["--namespace", NAMESPACE], &words[..], &[&patch]].concat();
        self.kubectl(&words).await.map(drop)
    }

    /// Removes the chart. Volumes stay.
    ///
    /// # Errors
    /// helm failed; its words are in the error.
    pub async fn uninstall(&self) -> anyhow::Result<()> {
        let words = [&["uninstall", NAMESPACE], HELM].concat();
        self.helm(&words).await.map(drop)
    }

    /// Waits until every pod of the product is ready.
    ///
    /// # Errors
    /// One does not become so; what the cluster knows is in the error.
    pub async fn product_is_ready(&self) -> anyhow::Result<()> {
        // The daemon set forgets pods for nodes that went before they were bound, until something
        // of it changes, and counts them.
        let unbound = [
            "delete",
            "pods",
            "--namespace",
            NAMESPACE,
            "--selector",
            Component::Node.selector(),
            "--field-selector=spec.nodeName=",
        ];
        self.kubectl(&unbound).await?;
        let ready = async |workload: &str| {
            let words = ["rollout", "status", workload, "--timeout=170s"];
            let words = [&["--namespace", NAMESPACE], &words[..]].concat();
            self.kubectl(&words).await.map(drop)
        };
        let all = tokio::try_join!(
            ready("daemonset/rds-csi-node"),
            ready("deployment/rds-csi-controller"),
            ready("deployment/rds-csi-webhook"),
        );
        match all {
            Ok(_) => Ok(()),
            Err(error) => Err(error.context(self.product_report().await)),
        }
    }

    /// The values that the chart requires, for this cluster's appliance; the label that lets pods
    /// be made anew when the chart or an image has changed under its old name; and patience with
    /// the webhook, since what it judges too late is admitted, and a machine may be busy.
    async fn required_values(&self) -> anyhow::Result<Value> {
        let device = &self.description.appliance;
        Ok(json!({
            "device": {
                "address": device.ssh.to_string(),
                "hostKeys": [device.host_key],
                "sshKeySecret": {"name": SECRET},
                "nvmeAddress": device.nvme.to_string(),
                "volumePath": VOLUME_PATH,
            },
            "image": {
                "driver": {"repository": format!("{IMAGES}driver")},
                "webhook": {"repository": format!("{IMAGES}webhook")},
            },
            "labels": {INPUTS: self.inputs().await?},
            "webhook": {"timeoutSeconds": 30},
        }))
    }

    /// What stands for the chart as it is and for the product's images as the nodes have them.
    async fn inputs(&self) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        for path in files(&chart()?)? {
            hash.update(
                std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?,
            );
        }
        hash.update(IMPORTED.get_or_try_init(|| self.imported()).await?);
        Ok(format!("{:x}", hash.finalize()).chars().take(16).collect())
    }

    /// The product's images on the nodes: name, type and digest of each.
    async fn imported(&self) -> anyhow::Result<String> {
        let ctr = self.description.tools.join("ctr").display().to_string();
        let mut all = Vec::new();
        for node in self.node_names() {
            let words = [&ctr, "--namespace=k8s.io", "images", "list"];
            let listed = self.node(node)?.run(&words).await?;
            ensure!(listed.success(), "ctr: {}", listed.error_text());
            let listed = listed.text();
            let ours = listed.lines().filter(|line| line.starts_with(IMAGES));
            // What follows is no property of an image.
            let ours = ours.flat_map(|line| line.split_whitespace().take(3));
            let ours: Vec<String> = ours.map(str::to_owned).collect();
            ensure!(
                !ours.is_empty(),
                "{node} has none of the product's images: hack/cluster import FILE…"
            );
            all.extend(ours);
        }
        Ok(all.join(" "))
    }

    /// Makes helm forget a revision whose installation, upgrade, rollback or removal was
    /// interrupted: it would refuse any other for ever. What the revision made is taken over
    /// by the next, since it bears the release's name.
    async fn forget_interrupted(&self) -> anyhow::Result<()> {
        let selector = format!(
            "--selector=owner=helm,name={NAMESPACE},status in (pending-install, pending-upgrade, \
             pending-rollback, uninstalling)"
        );
        let words = ["--namespace", NAMESPACE, "delete", "secrets", &selector];
        self.kubectl(&words).await.map(drop)
    }

    /// The namespace and the Secret with the device's key, which are the user's to make.
    async fn prepare_installation(&self) -> anyhow::Result<()> {
        let key = &self.description.appliance.key;
        let key = std::fs::read_to_string(key).context("reading the appliance's key")?;
        let labels = json!({"pod-security.kubernetes.io/enforce": "privileged"});
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace",
             "metadata": {"name": NAMESPACE, "labels": labels}},
            {"apiVersion": "v1", "kind": "Secret",
             "metadata": {"name": SECRET, "namespace": NAMESPACE},
             "stringData": {"ssh-privatekey": key}},
        ]});
        self.apply(&objects.to_string()).await.map(drop)
    }

    async fn product_report(&self) -> String {
        let namespace = super::namespace::Namespace::named(self, NAMESPACE);
        namespace.report().await
    }
}

/// The chart of this repository.
fn chart() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../charts/rds-csi")
        .canonicalize()
        .context("looking for charts/rds-csi")
}

/// Every file below a directory, in order.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts the fields of one value over another's.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
