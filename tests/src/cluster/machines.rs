//! The machines of a cluster for a test: what can be done to a node and to the appliance, and
//! asked of them. Every fault is an order to the supervisor.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::layout::{ApplianceDescription, NodeDescription};
use super::order::{Link, Order};
use super::{Cluster, DEADLINE};
use crate::agent::{Agent, Command, Output};
use crate::wait::until;

/// A node of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    description: &'a NodeDescription,
}

impl<'a> Node<'a> {
    pub(super) fn new(cluster: &'a Cluster, description: &'a NodeDescription) -> Self {
        Self {
            cluster,
            description,
        }
    }

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

impl<'a> Device<'a> {
    pub(super) fn new(cluster: &'a Cluster, description: &'a ApplianceDescription) -> Self {
        Self {
            cluster,
            description,
        }
    }

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

async fn run(agent: SocketAddr, argv: &[&str]) -> anyhow::Result<Output> {
    let command = Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::new(),
    };
    let output = Agent::at(agent).run(command, &[], DEADLINE).await;
    output.with_context(|| format!("running {argv:?} on {agent}"))
}
