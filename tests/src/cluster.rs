//! A real Kubernetes: a control plane of processes, two nodes and the appliance as
//! guests. `hack/cluster up` starts it and keeps it; tests work with what runs.
//!
//! [`Cluster`] is that cluster for a test, which must run in its network namespace, as
//! `hack/cluster run` provides. [`namespace::Namespace`] is a test's own corner of it,
//! [`product`] the chart. Faults are orders to the supervisor; whoever breaks something
//! calls [`Cluster::mend`] at the end, and every test begins with [`Cluster::mended`] or
//! [`Cluster::whole`], which give it the cluster for itself, or with [`Cluster::shared`] if it
//! breaks nothing.

mod audit;
pub mod cdi;
mod certificates;
pub mod claim;
pub mod component;
mod control_plane;
pub mod image;
mod kubectl;
pub mod kubevirt;
pub mod layout;
mod machines;
pub mod mend;
pub mod namespace;
mod node;
pub mod order;
pub mod product;
pub mod supervisor;
mod turn;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

pub use audit::AuditLog;
use kubectl::Kubectl;
use layout::{Description, State};
pub use machines::{Device, Node};
use order::{Order, Part};

/// How long anything in the cluster may take that nobody expects to be slow. Guests are
/// slow machines, and a test may share two processors with others.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Cluster {
    state: State,
    description: Description,
    kubectl: Kubectl,
}

impl Cluster {
    /// The cluster of this machine.
    ///
    /// # Errors
    /// None is up, or this process is not in its network namespace.
    pub async fn attach() -> anyhow::Result<Self> {
        let state = State::of_this_machine();
        let description = state.read()?;
        let kubectl = Kubectl::new(description.tools.join("kubectl"), &state);
        let cluster = Self {
            state,
            description,
            kubectl,
        };
        cluster
            .kubectl(&["get", "--raw", "/readyz", "--request-timeout=30s"])
            .await
            .context("the cluster does not answer; run this by: hack/cluster run COMMAND")?;
        Ok(cluster)
    }

    /// Runs kubectl as the administrator: what it wrote.
    ///
    /// # Errors
    /// It failed; its own words are in the error.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl.run(arguments).await
    }

    /// Runs helm as the administrator: what it wrote.
    ///
    /// # Errors
    /// It failed; its own words are in the error.
    pub async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let helm = self.description.tools.join("helm");
        self.kubectl.run_other(&helm, arguments).await
    }

    /// Applies manifests: YAML, or JSON.
    ///
    /// # Errors
    /// The API refused one; its reason is in the error, as a person would read it.
    pub async fn apply(&self, manifests: &str) -> anyhow::Result<String> {
        self.kubectl
            .run_with(&["apply", "--filename=-"], manifests)
            .await
    }

    /// Objects by the words of `kubectl get`, such as `["pod", "name", "-n", "default"]`.
    ///
    /// # Errors
    /// There is none of that name, or the API did not answer.
    pub async fn get(&self, words: &[&str]) -> anyhow::Result<Value> {
        let words = [&["get", "--output=json"], words].concat();
        let text = self.kubectl(&words).await?;
        serde_json::from_str(&text).with_context(|| format!("reading kubectl {words:?}"))
    }

    /// [`Cluster::get`] for one object that may be absent.
    ///
    /// # Errors
    /// The API did not answer.
    pub async fn find(&self, words: &[&str]) -> anyhow::Result<Option<Value>> {
        let words = [&["get", "--output=json", "--ignore-not-found"], words].concat();
        let text = self.kubectl(&words).await?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let value = serde_json::from_str(&text);
        value.with_context(|| format!("reading kubectl {words:?}"))
    }

    /// The names of the nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<&str> {
        self.description
            .nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect()
    }

    /// A node.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn node(&self, name: &str) -> anyhow::Result<Node<'_>> {
        let found = self.description.nodes.iter().find(|node| node.name == name);
        let description = found.with_context(|| format!("there is no node {name:?}"))?;
        Ok(Node::new(self, description))
    }

    /// The appliance.
    #[must_use]
    pub fn appliance(&self) -> Device<'_> {
        Device::new(self, &self.description.appliance)
    }

    /// Undoes every fault of machines and networks: links, kubelets, guests and the control
    /// plane are up, the nodes ready and the device willing when this returns.
    /// [`Cluster::mend`] also undoes what was done by way of the API.
    ///
    /// # Errors
    /// Something does not come up.
    pub async fn heal(&self) -> anyhow::Result<()> {
        self.order(Order::Heal).await.map(drop)
    }

    /// How every part is.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub async fn parts(&self) -> anyhow::Result<Vec<Part>> {
        let parts = self.order(Order::Status).await?;
        serde_json::from_value(parts).context("reading the supervisor's answer")
    }

    /// Gives the supervisor any order.
    ///
    /// # Errors
    /// It was not carried out.
    pub async fn order(&self, order: Order) -> anyhow::Result<Value> {
        order::give(&self.state, &order).await
    }

    /// The API server's audit log, from the cluster's start on.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        AuditLog::new(self.state.path("audit.log"))
    }
}

/// The objects of a list.
fn items(mut list: Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The name of an object.
fn name(object: &Value) -> String {
    let name = &object["metadata"]["name"];
    name.as_str().unwrap_or_default().to_owned()
}
