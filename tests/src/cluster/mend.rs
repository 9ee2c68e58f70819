//! What every test begins with: a cluster in which nothing is broken, whatever a test before
//! it did and did not live to undo.

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::namespace::OWNER;
use super::{Cluster, items, name, product, turn};

/// The name of the objects by which a test lets the API server refuse requests: what bears it
/// goes when the cluster is mended.
pub const REFUSAL: &str = "rds-csi-faults";
/// Marks the class of claims that name none.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Labels nodes that are objects alone, and what belongs to them: it goes when the cluster is
/// mended.
pub const ALONE: &str = "rds-csi.test/alone";
/// Labels what goes past the webhook while [`Cluster::open_passage`] holds.
pub const PAST: &str = "rds-csi.test/past-webhook";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// The configuration that lets the API server ask the webhook of a test: it goes when the
/// cluster is mended.
pub const BESIDE: &str = "rds-csi-beside";
/// The name of the webhook's Deployment and of its configuration.
const WEBHOOK: &str = "rds-csi-webhook";
/// The product's own.
pub const WEBHOOKS: &str = "validatingwebhookconfiguration/rds-csi-webhook";
/// What a passage is for: what the driver judges as well.
const PASSING: [&str; 3] = [
    "persistentvolumeclaims",
    "volumeattachments",
    "virtualmachineinstancemigrations",
];

/// Tests that begin beside each other make the cluster whole one after the other.
static MENDING: Mutex<()> = Mutex::const_new(());

impl Cluster {
    /// The cluster of this machine, mended, for this test alone.
    ///
    /// # Errors
    /// See [`Cluster::attach`] and [`Cluster::mend`].
    pub async fn mended() -> anyhow::Result<Self> {
        turn::alone();
        let cluster = Self::attach().await?;
        cluster.mend().await?;
        Ok(cluster)
    }

    /// The cluster of this machine, mended, with the plain product in it, all of whose pods
    /// are ready.
    ///
    /// # Errors
    /// See [`Cluster::mended`] and [`Cluster::ensure_installed`].
    pub async fn whole() -> anyhow::Result<Self> {
        let cluster = Self::mended().await?;
        cluster.become_whole().await?;
        Ok(cluster)
    }

    /// [`Cluster::whole`] for a test that breaks nothing, changes nothing that is not in its
    /// namespaces, and counts nothing that others do: others like it may run beside it.
    ///
    /// # Errors
    /// See [`Cluster::whole`].
    pub async fn shared() -> anyhow::Result<Self> {
        turn::beside_others();
        let _mending = MENDING.lock().await;
        let cluster = Self::attach().await?;
        cluster.mend().await?;
        cluster.become_whole().await?;
        Ok(cluster)
    }

    async fn become_whole(&self) -> anyhow::Result<()> {
        self.ensure_installed().await?;
        self.product_is_ready().await
    }

    /// Undoes every fault: of machines and networks, as [`Cluster::heal`] does, and what was
    /// done by way of the API. Nodes take pods and have machines, nothing is refused, there is no
    /// default class, the webhook has the replicas of the chart and sees everything, and the
    /// namespaces of tests that have ended, and failed, are removed, as far as they go away.
    ///
    /// # Errors
    /// Something does not come up, or the API does not answer.
    pub async fn mend(&self) -> anyhow::Result<()> {
        self.heal().await?;
        self.remove_faults().await?;
        tokio::try_join!(self.remove_others(), self.put_back_what_stays()).map(drop)
    }

    /// Asks once for all that may have to be put back: each kubectl takes processors that the
    /// nodes need.
    async fn put_back_what_stays(&self) -> anyhow::Result<()> {
        let kinds = "nodes,storageclasses,validatingwebhookconfigurations,deployments";
        let found = self
            .get(&[kinds, "--namespace", product::NAMESPACE])
            .await?;
        for object in items(found) {
            match object["kind"].as_str() {
                Some("Node") => self.open_node(&object).await?,
                Some("StorageClass") => self.unset_default_class(&object).await?,
                Some("ValidatingWebhookConfiguration") => self.end_passage(&object).await?,
                _ => self.unscale_webhook(&object).await?,
            }
        }
        self.remove_alone().await
    }

    async fn remove_faults(&self) -> anyhow::Result<()> {
        let objects = format!(
            "flowschema/{REFUSAL} prioritylevelconfiguration/{REFUSAL} \
             validatingwebhookconfiguration/{BESIDE}"
        );
        let mut words = vec!["delete", "--ignore-not-found"];
        words.extend(objects.split(' '));
        self.kubectl(&words).await.map(drop)
    }

    /// The namespaces of tests that have ended. One that is on its way or stays was told of by the
    /// test that it was for.
    async fn remove_others(&self) -> anyhow::Result<()> {
        let live = Vec::from_iter(turn::owners()).join(",");
        let selector = format!("--selector={OWNER},{OWNER} notin ({live})");
        let active = "--field-selector=status.phase=Active";
        let words = ["delete", "namespaces", &selector, active, "--timeout=120s"];
        self.kubectl(&words).await.ok();
        Ok(())
    }

    /// Lets claims, attachments and migrations that are labelled [`PAST`] go past the webhook, as if
    /// it were away, so that the driver is asked. A moment passes before it is so.
    ///
    /// # Errors
    /// The API does not answer, or has no webhook.
    pub async fn open_passage(&self) -> anyhow::Result<()> {
        let unlabelled = json!({"matchExpressions": [{"key": PAST, "operator": "DoesNotExist"}]});
        self.select(&unlabelled).await
    }

    /// Ends [`Cluster::open_passage`].
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn close_passage(&self) -> anyhow::Result<()> {
        let found = self.find(&[WEBHOOKS]).await?.unwrap_or_default();
        self.end_passage(&found).await
    }

    async fn end_passage(&self, configuration: &Value) -> anyhow::Result<()> {
        if name(configuration) != WEBHOOK {
            return Ok(());
        }
        let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
        let mut selectors = webhooks.map(|webhook| webhook["objectSelector"].to_string());
        if selectors.any(|selector| selector.contains(PAST)) {
            self.select(&Value::Null).await?;
        }
        Ok(())
    }

    async fn select(&self, selector: &Value) -> anyhow::Result<()> {
        let webhook = |kind| {
            let name = format!("{kind}.webhook.rds.csi.srvlab.io");
            json!({"name": name, "objectSelector": selector})
        };
        let patch = json!({"webhooks": PASSING.map(webhook)}).to_string();
        let words = ["patch", WEBHOOKS, "--patch", &patch];
        self.kubectl(&words).await.map(drop)
    }

    /// Nodes first: what a node has that exists no more is let go of at once.
    async fn remove_alone(&self) -> anyhow::Result<()> {
        let selector = format!("--selector={ALONE}");
        let words = [
            "delete",
            "nodes,csinodes,volumeattachments,leases",
            &selector,
        ];
        let rest = ["--namespace=kube-node-lease", "--wait=false"];
        self.kubectl(&[&words[..], &rest].concat()).await.map(drop)
    }

    async fn open_node(&self, node: &Value) -> anyhow::Result<()> {
        let name = name(node);
        if node["spec"]["unschedulable"] == true {
            self.kubectl(&["uncordon", &name]).await?;
        }
        let taints = node["spec"]["taints"].as_array();
        let is_given_up = |taint: &Value| taint["key"] == OUT_OF_SERVICE;
        if taints.is_some_and(|taints| taints.iter().any(is_given_up)) {
            let taint = format!("{OUT_OF_SERVICE}-");
            self.kubectl(&["taint", "node", &name, &taint]).await?;
        }
        Ok(())
    }

    async fn unset_default_class(&self, class: &Value) -> anyhow::Result<()> {
        if class["metadata"]["annotations"][DEFAULT_CLASS] == "true" {
            let annotation = format!("{DEFAULT_CLASS}-");
            let words = ["annotate", "storageclass", &name(class), &annotation];
            self.kubectl(&words).await?;
        }
        Ok(())
    }

    /// A webhook without replicas is as ready as it was told to be: nothing else would notice.
    async fn unscale_webhook(&self, deployment: &Value) -> anyhow::Result<()> {
        let is_webhook = name(deployment) == WEBHOOK;
        if is_webhook && deployment["spec"]["replicas"] != product::WEBHOOKS {
            let here = ["--namespace", product::NAMESPACE];
            let count = format!("--replicas={}", product::WEBHOOKS);
            let words = [&here[..], &["scale", &count, "deployment", WEBHOOK]].concat();
            self.kubectl(&words).await?;
        }
        Ok(())
    }
}
