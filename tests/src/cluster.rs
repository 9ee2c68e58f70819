//! A real Kubernetes: a control plane of processes, two nodes and the appliance as
//! guests. `hack/cluster up` starts it and keeps it; tests work with what runs.
//!
//! [`Cluster`] is that cluster for a test, which must run in its network namespace, as
//! `hack/cluster run` provides. [`namespace::Namespace`] is a test's own corner of it,
//! [`product`] the chart. Faults are orders to the supervisor; whoever breaks something
//! calls [`Cluster::mend`] at the end, and every test begins with [`Cluster::mended`] or
//! [`Cluster::whole`].

mod audit;
pub mod cdi;
mod certificates;
pub mod component;
mod control_plane;
pub mod image;
mod kubectl;
pub mod kubevirt;
pub mod layout;
pub mod mend;
pub mod namespace;
mod node;
pub mod order;
pub mod product;
pub mod supervisor;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::agent::{Agent, Command, Output};
use crate::wait::until;

pub use audit::AuditLog;
use kubectl::Kubectl;
use layout::{ApplianceDescription, Description, NodeDescription, State};
use order::{Link, Order, Part};

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
        Ok(Node {
            cluster: self,
            description,
        })
    }

    /// The appliance.
    #[must_use]
    pub fn appliance(&self) -> Device<'_> {
        Device {
            cluster: self,
            description: &self.description.appliance,
        }
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

/// A node of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    description: &'a NodeDescription,
}

impl Node<'_> {
    /// Its addresses and its name.
    #[must_use]
    pub fn description(&self) -> &NodeDescription {
        self.description
    }

    fn name(&self) -> String {
        self.description.name.clone()
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// It is off already.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let node = self.name();
        self.cluster.order(Order::Kill { node }).await.map(drop)
    }

    /// Boots it after [`Node::kill`]: kubelet runs when this returns.
    ///
    /// # Errors
    /// It did not come up.
    pub async fn boot(&self) -> anyhow::Result<()> {
        let node = self.name();
        self.cluster.order(Order::Boot { node }).await.map(drop)
    }

    /// Takes it off the cluster's network: no API, no other pods, no SSH to the device.
    /// Its storage goes on.
    ///
    /// # Errors
    /// The link cannot be cut.
    pub async fn cut_api(&self) -> anyhow::Result<()> {
        self.cluster.cut(Link::NodeApi(self.name())).await
    }

    /// Takes it off the storage network.
    ///
    /// # Errors
    /// The link cannot be cut.
    pub async fn cut_appliance(&self) -> anyhow::Result<()> {
        self.cluster.cut(Link::NodeStorage(self.name())).await
    }

    /// Gives it both networks back.
    ///
    /// # Errors
    /// A link cannot be restored.
    pub async fn restore(&self) -> anyhow::Result<()> {
        self.cluster.restore(Link::NodeApi(self.name())).await?;
        self.cluster.restore(Link::NodeStorage(self.name())).await
    }

    /// Kills kubelet and starts it again, and waits until it knows its pods: before, it
    /// runs nothing in them. Pods go on meanwhile.
    ///
    /// # Errors
    /// It did not run, or does not start.
    pub async fn restart_kubelet(&self) -> anyhow::Result<()> {
        let node = self.name();
        self.cluster.order(Order::KillKubelet { node }).await?;
        let node = self.name();
        self.cluster.order(Order::StartKubelet { node }).await?;
        let here = format!("--field-selector=spec.nodeName={}", self.name());
        let known = format!("/api/v1/nodes/{}/proxy/pods", self.name());
        let count = |list: &Value| list["items"].as_array().map_or(0, Vec::len);
        until("kubelet knows its pods", DEADLINE, async || {
            let words = ["pods", "--all-namespaces", &here];
            let wanted = self.cluster.get(&words).await?;
            let Ok(list) = self.cluster.kubectl(&["get", "--raw", &known]).await else {
                return Ok(None);
            };
            let list: Value = serde_json::from_str(&list).context("reading kubelet's pods")?;
            Ok((count(&list) >= count(&wanted)).then_some(()))
        })
        .await
    }

    /// Runs a program on the node itself, as root. Its failing is no error of this call.
    ///
    /// # Errors
    /// The guest does not answer, or has no such program.
    pub async fn run(&self, argv: &[&str]) -> anyhow::Result<Output> {
        run(self.description.agent, argv).await
    }
}

/// The appliance of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    cluster: &'a Cluster,
    description: &'a ApplianceDescription,
}

impl Device<'_> {
    /// Its addresses and keys.
    #[must_use]
    pub fn description(&self) -> &ApplianceDescription {
        self.description
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// It is off already.
    pub async fn power_off(&self) -> anyhow::Result<()> {
        self.cluster.order(Order::PowerOff).await.map(drop)
    }

    /// Boots it; its exports are served again when this returns.
    ///
    /// # Errors
    /// It did not come up.
    pub async fn power_on(&self) -> anyhow::Result<()> {
        self.cluster.order(Order::PowerOn).await.map(drop)
    }

    /// Cuts the power and boots again.
    ///
    /// # Errors
    /// It did not come up.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.power_off().await?;
        self.power_on().await
    }

    /// Silences its SSH; NVMe/TCP goes on.
    ///
    /// # Errors
    /// The link cannot be cut.
    pub async fn cut_ssh(&self) -> anyhow::Result<()> {
        self.cluster.cut(Link::Ssh).await
    }

    /// Silences its NVMe/TCP for everybody; SSH goes on.
    ///
    /// # Errors
    /// The link cannot be cut.
    pub async fn cut_nvme(&self) -> anyhow::Result<()> {
        self.cluster.cut(Link::Nvme).await
    }

    /// Gives both back.
    ///
    /// # Errors
    /// A link cannot be restored.
    pub async fn restore(&self) -> anyhow::Result<()> {
        self.cluster.restore(Link::Ssh).await?;
        self.cluster.restore(Link::Nvme).await
    }

    /// Asks the simulator's control socket, past SSH; see `rds-sim control --help`.
    ///
    /// # Errors
    /// The simulator does not answer, or refused.
    pub async fn control(&self, request: Value) -> anyhow::Result<Value> {
        let answer = self.cluster.order(Order::Simulator { request }).await?;
        ensure!(answer["ok"] == true, "the simulator refused: {answer}");
        Ok(answer)
    }

    /// Makes every command take so long from now on, on top of its own time.
    ///
    /// # Errors
    /// The simulator does not answer, or refuses.
    pub async fn latency(&self, time: Duration) -> anyhow::Result<()> {
        let milliseconds = u64::try_from(time.as_millis()).context("a latency")?;
        let request = json!({"op": "inject", "fault": "latency", "ms": milliseconds});
        self.control(request).await.map(drop)
    }

    /// Runs a program on the appliance's Linux. Its failing is no error of this call.
    ///
    /// # Errors
    /// The guest does not answer, or has no such program.
    pub async fn run(&self, argv: &[&str]) -> anyhow::Result<Output> {
        run(self.description.agent, argv).await
    }
}

impl Cluster {
    async fn cut(&self, link: Link) -> anyhow::Result<()> {
        self.order(Order::Cut { link }).await.map(drop)
    }

    async fn restore(&self, link: Link) -> anyhow::Result<()> {
        self.order(Order::Restore { link }).await.map(drop)
    }
}

async fn run(agent: std::net::SocketAddr, argv: &[&str]) -> anyhow::Result<Output> {
    let command = Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: std::collections::BTreeMap::new(),
    };
    let output = Agent::at(agent).run(command, &[], DEADLINE).await;
    output.with_context(|| format!("running {argv:?} on {agent}"))
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
