//! What every test begins with: a cluster in which nothing is broken, whatever a test before
//! it did and did not live to undo.

use serde_json::Value;

use super::{Cluster, product};

/// The name of the objects by which a test lets the API server refuse requests: what bears it
/// goes when the cluster is mended.
pub const REFUSAL: &str = "rds-csi-faults";
/// Marks the class of claims that name none.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

impl Cluster {
    /// The cluster of this machine, mended.
    ///
    /// # Errors
    /// See [`Cluster::attach`] and [`Cluster::mend`].
    pub async fn mended() -> anyhow::Result<Self> {
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
        cluster.ensure_installed().await?;
        cluster.product_is_ready().await?;
        Ok(cluster)
    }

    /// Undoes every fault: of machines and networks, as [`Cluster::heal`] does, and what was
    /// done by way of the API. Nodes take pods, nothing is refused, there is no default class,
    /// and the webhook has the replicas of the chart.
    ///
    /// # Errors
    /// Something does not come up, or the API does not answer.
    pub async fn mend(&self) -> anyhow::Result<()> {
        self.heal().await?;
        let objects = format!("flowschema/{REFUSAL} prioritylevelconfiguration/{REFUSAL}");
        let mut words = vec!["delete", "--ignore-not-found"];
        words.extend(objects.split(' '));
        self.kubectl(&words).await?;
        self.open_nodes().await?;
        self.unset_default_class().await?;
        self.unscale_webhook().await
    }

    async fn open_nodes(&self) -> anyhow::Result<()> {
        for node in items(self.get(&["nodes"]).await?) {
            let name = name(&node);
            if node["spec"]["unschedulable"] == true {
                self.kubectl(&["uncordon", &name]).await?;
            }
            let taints = node["spec"]["taints"].as_array();
            let is_given_up = |taint: &Value| taint["key"] == OUT_OF_SERVICE;
            if taints.is_some_and(|taints| taints.iter().any(is_given_up)) {
                let taint = format!("{OUT_OF_SERVICE}-");
                self.kubectl(&["taint", "node", &name, &taint]).await?;
            }
        }
        Ok(())
    }

    async fn unset_default_class(&self) -> anyhow::Result<()> {
        for class in items(self.get(&["storageclass"]).await?) {
            if class["metadata"]["annotations"][DEFAULT_CLASS] == "true" {
                let annotation = format!("{DEFAULT_CLASS}-");
                let words = ["annotate", "storageclass", &name(&class), &annotation];
                self.kubectl(&words).await?;
            }
        }
        Ok(())
    }

    /// A webhook without replicas is as ready as it was told to be: nothing else would notice.
    async fn unscale_webhook(&self) -> anyhow::Result<()> {
        let here = ["--namespace", product::NAMESPACE];
        let webhook = ["deployment", "rds-csi-webhook"];
        let found = self.find(&[&here[..], &webhook].concat()).await?;
        if found.is_some_and(|found| found["spec"]["replicas"] != product::WEBHOOKS) {
            let count = format!("--replicas={}", product::WEBHOOKS);
            let words = [&here[..], &["scale", &count], &webhook].concat();
            self.kubectl(&words).await?;
        }
        Ok(())
    }
}

fn items(mut list: Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn name(object: &Value) -> String {
    let name = &object["metadata"]["name"];
    name.as_str().unwrap_or_default().to_owned()
}
