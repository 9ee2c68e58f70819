//! The driver's roles as running programs, spoken to as the orchestrator does.
//!
//! [`Plugin`] is a CSI socket, wherever it is; [`ControllerProcess`] is the controller
//! on the test's own machine, [`NodeProcess`] the node plugin in a guest. The programs
//! are the real ones, with real arguments.

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use csi_proto::v1::GetPluginInfoRequest;
use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::node_client::NodeClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::agent::Status;
use crate::appliance::Appliance;
use crate::child::ChildProcess;
use crate::guest::{Guest, Process};
use crate::lab::{Lab, program};
use crate::wait::until;

/// The cluster that every lab is.
pub const CLUSTER: &str = "lab";
const DEADLINE: Duration = Duration::from_secs(30);
const SOCKET: &str = "/run/rds-csi/csi.sock";

/// A CSI socket.
#[derive(Debug, Clone)]
pub struct Plugin(Channel);

impl Plugin {
    /// A socket on the test's own machine. Connects on first use.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Self(Endpoint::from_static("http://socket").connect_with_connector_lazy(connector))
    }

    /// Its Identity service.
    #[must_use]
    pub fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.0.clone())
    }

    /// Its Controller service.
    #[must_use]
    pub fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.0.clone())
    }

    /// Its Node service.
    #[must_use]
    pub fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.0.clone())
    }

    async fn answers(&self) -> bool {
        self.identity()
            .get_plugin_info(GetPluginInfoRequest {})
            .await
            .is_ok()
    }
}

/// The arguments with which `rds-csi-driver` is a controller of the appliance, wherever it
/// runs, that asks a cluster or `none`: `key` and `socket` are paths there.
#[must_use]
pub fn controller_arguments(
    appliance: &Appliance,
    key: &Path,
    socket: &Path,
    cluster: &str,
) -> Vec<String> {
    let (rds, key) = (appliance.ssh().to_string(), key.display().to_string());
    let endpoint = socket.display().to_string();
    let words = [
        "controller",
        "--cluster",
        cluster,
        "--cluster-id",
        CLUSTER,
        "--admin-listen",
        "127.0.0.1:0",
        "--endpoint",
        &endpoint,
        "--rds-address",
        &rds,
        "--rds-host-key",
        appliance.host_key(),
        "--rds-key-file",
        &key,
    ];
    words.map(str::to_owned).into()
}

/// The controller on the test's own machine, in the lab's network.
#[derive(Debug)]
pub struct ControllerProcess {
    child: ChildProcess,
    plugin: Plugin,
}

impl ControllerProcess {
    /// Starts `rds-csi-driver controller` for an appliance and waits for its socket.
    /// Whether the appliance answers does not matter.
    ///
    /// # Errors
    /// It did not start, or ended.
    pub async fn start(
        lab: &Lab,
        appliance: &Appliance,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        Self::start_in(lab, appliance, "none", arguments, &[]).await
    }

    /// [`ControllerProcess::start`] in a cluster that has an API server, of which this is the
    /// kubeconfig.
    ///
    /// # Errors
    /// See there.
    pub async fn start_asking(
        lab: &Lab,
        appliance: &Appliance,
        kubeconfig: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let path = lab.directory().join("controller.kubeconfig");
        std::fs::write(&path, kubeconfig)?;
        let environment = [format!("KUBECONFIG={}", path.display())];
        Self::start_in(lab, appliance, "kubernetes", arguments, &environment).await
    }

    async fn start_in(
        lab: &Lab,
        appliance: &Appliance,
        cluster: &str,
        arguments: &[&str],
        environment: &[String],
    ) -> anyhow::Result<Self> {
        let socket = lab.directory().join(format!("controller-{cluster}.sock"));
        let mut words = environment.to_vec();
        words.push(program("rds-csi-driver")?.display().to_string());
        words.extend(controller_arguments(
            appliance,
            appliance.key(),
            &socket,
            cluster,
        ));
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        let log = lab.directory().join("controller.log");
        let child =
            ChildProcess::start_at("rds-csi-driver", Path::new("/usr/bin/env"), &words, &log)?;
        let plugin = Plugin::at(&socket);
        child
            .ready("the controller answers", async || {
                Ok(plugin.answers().await.then_some(()))
            })
            .await?;
        Ok(Self { child, plugin })
    }

    /// Its socket.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.child.output()
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It did not end by itself, or not well.
    pub async fn stop(self) -> anyhow::Result<()> {
        let status = self.child.terminate().await?;
        ensure!(
            status.success(),
            "the controller ended with {status}: {}",
            self.output()
        );
        Ok(())
    }
}

/// The node plugin in a guest.
#[derive(Debug)]
pub struct NodeProcess {
    process: Process,
    plugin: Plugin,
}

impl NodeProcess {
    /// Starts `rds-csi-driver node` and waits for its socket. Its state directory is in
    /// the guest's share, as a host directory outlives a reboot.
    ///
    /// # Errors
    /// It did not start, or ended.
    pub async fn start(guest: &Guest, node_name: &str) -> anyhow::Result<Self> {
        Self::start_with(guest, node_name, &[]).await
    }

    /// [`NodeProcess::start`] with more arguments.
    ///
    /// # Errors
    /// See there.
    pub async fn start_with(guest: &Guest, node_name: &str, more: &[&str]) -> anyhow::Result<Self> {
        let more = [&["--cluster", "none"], more].concat();
        Self::start_in(guest, node_name, &more, &[]).await
    }

    /// [`NodeProcess::start`] in a cluster that has an API server, of which this is the
    /// kubeconfig.
    ///
    /// # Errors
    /// See there.
    pub async fn start_asking(
        guest: &Guest,
        node_name: &str,
        kubeconfig: &str,
    ) -> anyhow::Result<Self> {
        let path = guest.share().join("kubeconfig");
        std::fs::write(&path, kubeconfig)?;
        let environment = [("KUBECONFIG", &*path.display().to_string())];
        let more = ["--cluster", "kubernetes"];
        Self::start_in(guest, node_name, &more, &environment).await
    }

    async fn start_in(
        guest: &Guest,
        node_name: &str,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let state = guest.share().join("state");
        let words = [
            &program("rds-csi-driver")?.display().to_string(),
            "node",
            "--cluster-id",
            CLUSTER,
            "--node-name",
            node_name,
            "--endpoint",
            SOCKET,
            "--state-dir",
            &state.display().to_string(),
            "--admin-listen",
            "127.0.0.1:9808",
        ];
        let words = [&words, more].concat();
        // As the image has it.
        let environment = [&[("MALLOC_ARENA_MAX", "1")], environment].concat();
        let process = guest.spawn("node-plugin", &words, &environment).await?;
        let started = Self {
            process,
            plugin: Plugin(guest.channel(SOCKET)),
        };
        until("the node plugin answers", DEADLINE, async || {
            if let Some(status) = started.process.status().await? {
                bail!(
                    "the node plugin ended with {status:?}: {}",
                    started.output()
                );
            }
            Ok(started.plugin.answers().await.then_some(()))
        })
        .await?;
        Ok(started)
    }

    /// Its socket.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The process in the guest.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it has logged so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// The guest does not answer, or it does not end.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.process.signal("TERM").await?;
        let ended = self.process.wait(DEADLINE).await?;
        ensure!(
            ended.is_some(),
            "the node plugin goes on: {}",
            self.output()
        );
        Ok(())
    }

    /// Kills it, as a crash would, and waits for its end.
    ///
    /// # Errors
    /// The guest does not answer.
    pub async fn kill(&self) -> anyhow::Result<Option<Status>> {
        self.process.signal("KILL").await?;
        Ok(self.process.wait(DEADLINE).await?)
    }
}
