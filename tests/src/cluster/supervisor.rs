//! The process that holds a cluster: it starts every part, carries out orders, and ends
//! with everything that it has started.
//!
//! It works only under `hack/lab`, whose namespaces take with them whatever a killed
//! supervisor leaves behind.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::certificates::Authority;
use super::control_plane::{ControlPlane, PARTS, Programs};
use super::kubectl::Kubectl;
use super::layout::{ApplianceDescription, Description, State};
use super::node::Node;
use super::order::{Answer, Link, Order, Part, receive, send};
use crate::appliance::{Appliance, ApplianceOptions};
use crate::guest::Guest;
use crate::lab::{Lab, Network};

/// The nodes and the subnets of their pods.
const NODES: [(&str, &str); 2] = [("node-a", "10.80.1.0/24"), ("node-b", "10.80.2.0/24")];
const READY: &str = "--timeout=120s";

/// What a cluster is made from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where its state goes; the directory exists and is empty.
    pub state: State,
    /// The folder of the Go programs.
    pub tools: PathBuf,
    /// The program etcd.
    pub etcd: PathBuf,
    /// The directory of the archives of images that every cluster needs. A disk with them
    /// is kept there by the first cluster and copied by the others.
    pub base: PathBuf,
    /// Further archives of images that every node gets.
    pub images: Vec<PathBuf>,
}

/// A running cluster, as its own process holds it.
#[derive(Debug)]
pub struct Supervisor {
    lab: Lab,
    plane: ControlPlane,
    nodes: Vec<Node>,
    appliance: Mutex<Appliance>,
    cuts: Mutex<Vec<Link>>,
    plan: Plan,
}

/// Says what was done and how long after the beginning.
#[derive(Debug, Clone, Copy)]
struct Progress(Instant);

impl Progress {
    #[expect(clippy::print_stdout, reason = "progress is what a person waits with")]
    fn say(self, what: &str) {
        println!("{:5.1} s  {what}", self.0.elapsed().as_secs_f64());
    }
}

impl Supervisor {
    /// Starts everything and waits until both nodes are ready.
    ///
    /// # Errors
    /// A part did not come up; the end of its log is in the error.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let progress = Progress(Instant::now());
        let lab = Lab::for_cluster()?;
        let state = &plan.state;
        let authority = Authority::new(&state.path("pki"))?;
        std::fs::create_dir_all(state.path("log")).context("making the directory of logs")?;
        let programs = Programs {
            tools: plan.tools.clone(),
            etcd: plan.etcd.clone(),
        };
        progress.say("certificates");
        let plane = async {
            let plane = ControlPlane::start(&lab, &authority, state, &programs).await?;
            progress.say("control plane answers");
            anyhow::Ok(plane)
        };
        let appliance = async {
            let options = ApplianceOptions {
                disk_mebibytes: 16 << 10,
                pool_gibibytes: 100,
                ..ApplianceOptions::default()
            };
            let appliance = Appliance::start(&lab, options).await?;
            progress.say("appliance serves");
            anyhow::Ok(appliance)
        };
        let [first, second] =
            NODES.map(|(name, pods)| start_node(&lab, &authority, name, pods, &plan, progress));
        let (plane, appliance, first, second) = tokio::try_join!(plane, appliance, first, second)?;
        let supervisor = Self {
            lab,
            plane,
            nodes: vec![first, second],
            appliance: Mutex::new(appliance),
            cuts: Mutex::default(),
            plan,
        };
        supervisor.await_nodes().await?;
        progress.say("nodes are ready");
        supervisor.describe().await?;
        Ok(supervisor)
    }

    /// Takes orders, until the process is told to end.
    ///
    /// # Errors
    /// The socket cannot be made, or accepting failed.
    pub async fn serve(self) -> anyhow::Result<()> {
        let socket = self.plan.state.socket();
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        let (cluster, orders) = (Rc::new(self), TaskTracker::new());
        // On this thread: what waits for guests cannot move to another.
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await.context("accepting an order")?;
                let cluster = Rc::clone(&cluster);
                orders.spawn_local(async move {
                    // Who went away has no use for the answer.
                    cluster.answer(stream).await.ok();
                });
            }
        };
        LocalSet::new().run_until(accept).await
    }

    async fn answer(&self, stream: UnixStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let order: Order = receive(&mut stream).await?;
        let answer: Answer = self.obey(order).await.map_err(|error| format!("{error:#}"));
        send(&mut stream, &answer).await
    }

    async fn obey(&self, order: Order) -> anyhow::Result<Value> {
        match order {
            Order::Kill { node } => self.node(&node)?.guest().kill()?,
            Order::Boot { node } => self.node(&node)?.boot_again().await?,
            Order::KillKubelet { node } => self.node(&node)?.kill_kubelet().await?,
            Order::StartKubelet { node } => self.node(&node)?.restart_kubelet().await?,
            Order::Import { archive } => self.import(&archive).await?,
            Order::Cut { link } => self.cut(link).await?,
            Order::Restore { link } => self.restore(&link).await?,
            Order::PowerOff => self.appliance.lock().await.power_off()?,
            Order::PowerOn => self.appliance.lock().await.power_on().await?,
            Order::Simulator { request } => {
                return self.appliance.lock().await.control(&request).await;
            }
            Order::KillPart { part } => self.plane.kill_part(&part)?,
            Order::StartPart { part } => self.plane.start_part(&part).await?,
            Order::SignalPart { part, signal } => self.plane.signal_part(&part, &signal)?,
            Order::Heal => self.heal().await?,
            Order::Status => return Ok(serde_json::to_value(self.parts().await)?),
        }
        Ok(Value::Null)
    }

    fn node(&self, name: &str) -> anyhow::Result<&Node> {
        let found = self.nodes.iter().find(|node| node.guest().name() == name);
        found.with_context(|| format!("there is no node {name:?}"))
    }

    async fn import(&self, archive: &Path) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.import(archive).await?;
        }
        Ok(())
    }

    async fn cut(&self, link: Link) -> anyhow::Result<()> {
        let mut cuts = self.cuts.lock().await;
        if !cuts.contains(&link) {
            self.with_link(&link, |guest, network| self.lab.cut_from(guest, network))
                .await?;
            cuts.push(link);
        }
        Ok(())
    }

    async fn restore(&self, link: &Link) -> anyhow::Result<()> {
        let mut cuts = self.cuts.lock().await;
        self.with_link(link, |guest, network| self.lab.restore_to(guest, network))
            .await?;
        cuts.retain(|cut| cut != link);
        Ok(())
    }

    /// Does something with the guest and the network that a link is.
    async fn with_link(
        &self,
        link: &Link,
        act: impl FnOnce(&Guest, Network) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match link {
            Link::NodeApi(node) => act(self.node(node)?.guest(), Network::Cluster),
            Link::NodeStorage(node) => act(self.node(node)?.guest(), Network::Data),
            Link::Ssh => act(self.appliance.lock().await.guest(), Network::Cluster),
            Link::Nvme => act(self.appliance.lock().await.guest(), Network::Data),
        }
    }

    async fn heal(&self) -> anyhow::Result<()> {
        let cuts = self.cuts.lock().await.clone();
        for link in &cuts {
            self.restore(link).await?;
        }
        for part in PARTS {
            if self.plane.pid(part).is_none() {
                self.plane.kill_part(part).ok();
                self.plane.start_part(part).await?;
            }
            self.plane.signal_part(part, "CONT")?;
        }
        let mut appliance = self.appliance.lock().await;
        if !appliance.guest().is_running() {
            appliance.power_off()?;
            appliance.power_on().await?;
        }
        appliance.forget_faults().await?;
        drop(appliance);
        for node in &self.nodes {
            if !node.guest().is_running() {
                node.guest().kill()?;
                node.boot_again().await?;
            } else if !node.has_kubelet().await? {
                node.restart_kubelet().await?;
            }
        }
        self.await_nodes().await
    }

    async fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = PARTS
            .iter()
            .map(|name| Part {
                name: (*name).to_owned(),
                pid: self.plane.pid(name),
                log: self.plan.state.log(name),
            })
            .collect();
        let appliance = self.appliance.lock().await;
        let guests = self
            .nodes
            .iter()
            .map(Node::guest)
            .chain([appliance.guest()]);
        parts.extend(guests.map(|guest| Part {
            name: guest.name().to_owned(),
            pid: guest.pid(),
            log: guest.console_file(),
        }));
        parts
    }

    async fn await_nodes(&self) -> anyhow::Result<()> {
        let kubectl = Kubectl::new(self.plan.tools.join("kubectl"), &self.plan.state);
        let end = Instant::now() + Duration::from_secs(120);
        // A node that has not registered yet cannot be waited for by kubectl.
        let all = NODES.map(|(name, _)| name).join(" node/");
        loop {
            let words = format!("wait --for=condition=Ready {READY} node/{all}");
            let words: Vec<&str> = words.split(' ').collect();
            match kubectl.run(&words).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(error).context("the nodes did not become ready");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
    }

    async fn describe(&self) -> anyhow::Result<()> {
        let appliance = self.appliance.lock().await;
        self.plan.state.write(&Description {
            tools: self.plan.tools.clone(),
            nodes: self.nodes.iter().map(Node::describe).collect(),
            appliance: ApplianceDescription {
                agent: appliance.guest().agent().address(),
                ssh: appliance.ssh(),
                nvme: appliance.address(),
                key: copy_key(&appliance, &self.plan.state)?,
                host_key: appliance.host_key().to_owned(),
                share: appliance.guest().share().to_owned(),
            },
        })
    }
}

/// The appliance's key lies where only the lab's processes see it.
fn copy_key(appliance: &Appliance, state: &State) -> anyhow::Result<PathBuf> {
    let key = state.path("ssh-key");
    std::fs::copy(appliance.key(), &key).context("copying the appliance's key")?;
    Ok(key)
}

async fn start_node(
    lab: &Lab,
    authority: &Authority,
    name: &str,
    pods: &str,
    plan: &Plan,
    progress: Progress,
) -> anyhow::Result<Node> {
    let template = plan.base.join(Node::disk_name());
    let known = template.exists().then_some(template.as_path());
    let node = Node::boot(lab, authority, name, pods, &plan.tools, known).await?;
    progress.say(&format!("{name} runs containerd"));
    if known.is_none() {
        for archive in archives(&plan.base)? {
            node.import(&archive).await?;
        }
        if name == NODES[0].0 {
            node.keep_disk(&template).await?;
        }
    }
    for archive in &plan.images {
        node.import(archive).await?;
    }
    progress.say(&format!("{name} has its images"));
    node.start_kubelet().await?;
    Ok(node)
}

fn archives(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    Ok(paths)
}
