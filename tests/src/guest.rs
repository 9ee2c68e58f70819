//! One guest: a Linux kernel of its own, run as a process (User-Mode Linux).
//!
//! It sees the host's root read-only under an overlay that forgets, so that host
//! programs run in it as they are; one shared directory, the same path on both
//! sides, is writable and survives. Disks are files. There is one processor.
//!
//! [`Guest::kill`] is a power cut: what the guest had not flushed is lost. A guest
//! never outlives its value. When a test panics, its console is printed.

mod machine;
mod options;
mod process;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tonic::transport::Channel;

use crate::agent::{Agent, AgentError, Command, Connection, Endpoint, Output};
use crate::lab::{Lab, Network, Port, Shared};
use crate::wait;

use machine::Machine;
pub use options::GuestOptions;
pub use process::Process;

/// How long [`Guest::run`] lets a program run.
pub const RUN_DEADLINE: Duration = Duration::from_secs(60);
/// A boot takes a second; a busy machine takes longer.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);
const AGENT_PORT: u16 = 7;
/// Lines of console in an error or after a failed test.
const CONSOLE_TAIL: usize = 80;

/// A running guest, or one whose power was cut.
#[derive(Debug)]
pub struct Guest {
    lab: Arc<Shared>,
    options: GuestOptions,
    port: Port,
    machine: Machine,
    agent: Agent,
}

impl Guest {
    /// Boots a guest and waits until it can be worked in.
    ///
    /// # Errors
    /// The name is taken or unfit, or the guest did not come up: its console is in
    /// the error.
    pub async fn boot(lab: &Lab, options: GuestOptions) -> anyhow::Result<Self> {
        options.check()?;
        let lab = lab.shared();
        let directory = lab.directory().join(&options.name);
        let machine = Machine::new(directory)?;
        let port = lab.plug_in()?;
        let manage = port.address(Network::Management);
        let guest = Self {
            lab,
            options,
            port,
            machine,
            agent: Agent::at(SocketAddr::new(manage.into(), AGENT_PORT)),
        };
        guest.start().await?;
        Ok(guest)
    }

    /// Boots again after [`Guest::kill`]: same disks, same addresses, empty memory.
    ///
    /// # Errors
    /// The guest runs already, or did not come up: its console is in the error.
    pub async fn start(&self) -> anyhow::Result<()> {
        let arguments = self
            .options
            .command_line(&self.lab, self.port, &self.machine);
        self.machine.start(&self.lab.kernel, &arguments)?;
        let ready = self.share().join("agent.ready");
        let up = wait::until("the guest is up", BOOT_DEADLINE, async || {
            ensure!(self.is_running(), "the guest ended while it booted");
            if !ready.exists() {
                return Ok(None);
            }
            // Its network may be deaf for a moment longer.
            let name = self.agent.read(Path::new("/proc/sys/kernel/hostname"));
            Ok(name.await.ok().map(drop))
        });
        up.await.with_context(|| self.report())
    }

    /// Cuts the power. The guest is gone when this returns; disks and share stay.
    ///
    /// # Errors
    /// The process could not be ended.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.machine.kill()
    }

    /// Cuts the power and boots again.
    ///
    /// # Errors
    /// See [`Guest::kill`] and [`Guest::start`].
    pub async fn reboot(&self) -> anyhow::Result<()> {
        self.kill()?;
        self.start().await
    }

    /// Whether the guest's kernel runs: false after a power cut or a panic.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.machine.is_running()
    }

    /// The guest's host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// The guest's address on the data network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.port.address(Network::Data)
    }

    /// The guest's address on the cluster's network; of use only in such a lab.
    pub(crate) fn cluster_address(&self) -> Ipv4Addr {
        self.port.address(Network::Cluster)
    }

    /// The directory that the guest shares with the host, the same path on both.
    #[must_use]
    pub fn share(&self) -> &Path {
        self.machine.share()
    }

    /// Everything the guest's kernel and its programs wrote to the console so far,
    /// over all boots.
    #[must_use]
    pub fn console(&self) -> String {
        self.machine.console()
    }

    /// The agent in the guest, for what the methods here do not offer.
    #[must_use]
    pub fn agent(&self) -> Agent {
        self.agent
    }

    /// Runs a program in the guest, for at most [`RUN_DEADLINE`]. Its failing is no
    /// error of this call.
    ///
    /// # Errors
    /// The guest does not answer, or has no such program.
    pub async fn run(&self, argv: &[&str]) -> Result<Output, AgentError> {
        self.run_within(argv, RUN_DEADLINE).await
    }

    /// [`Guest::run`] with another deadline.
    ///
    /// # Errors
    /// See [`Guest::run`].
    pub async fn run_within(
        &self,
        argv: &[&str],
        deadline: Duration,
    ) -> Result<Output, AgentError> {
        self.agent.run(command(argv, &[]), &[], deadline).await
    }

    /// Runs a bash script in the guest, where any failing command ends it: what it
    /// wrote.
    ///
    /// # Errors
    /// The script failed or took longer than [`RUN_DEADLINE`]; its words are in the
    /// error.
    pub async fn script(&self, script: &str) -> anyhow::Result<String> {
        let argv = ["bash", "-euo", "pipefail", "-c", script];
        let output = self.run(&argv).await?;
        ensure!(
            output.success(),
            "on {}: {script}\n{:?}: {}",
            self.name(),
            output.status,
            output.error_text()
        );
        Ok(output.text())
    }

    /// Starts a program in the guest. Its outputs go to `<name>.log` in the share.
    ///
    /// # Errors
    /// The guest does not answer, or has no such program.
    pub async fn spawn(
        &self,
        name: &str,
        argv: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Process, AgentError> {
        let log = self.share().join(format!("{name}.log"));
        let (handle, pid) = self.agent.spawn(command(argv, env), log.clone()).await?;
        Ok(Process::new(self.agent, handle, pid, log))
    }

    /// The text of a file in the guest, without white space around it.
    ///
    /// # Errors
    /// The guest does not answer, or its kernel refused.
    pub async fn read(&self, path: &str) -> Result<String, AgentError> {
        let content = self.agent.read(Path::new(path)).await?;
        Ok(String::from_utf8_lossy(&content).trim().to_owned())
    }

    /// Writes a file of the guest, or an attribute of sysfs.
    ///
    /// # Errors
    /// The guest does not answer, or its kernel refused.
    pub async fn write(&self, path: &str, content: &str) -> Result<(), AgentError> {
        self.agent.write(Path::new(path), content.as_bytes()).await
    }

    /// A gRPC channel to a unix socket in the guest, over the management network.
    #[must_use]
    pub fn channel(&self, socket: &str) -> Channel {
        self.agent.channel(Path::new(socket))
    }

    /// A stream to a unix socket in the guest.
    ///
    /// # Errors
    /// The guest does not answer, or nothing listens there.
    pub async fn unix(&self, socket: &str) -> Result<Connection, AgentError> {
        self.agent.dial(Endpoint::Unix(socket.into())).await
    }

    /// A stream to a TCP address as the guest sees it, such as `127.0.0.1:8080`.
    ///
    /// # Errors
    /// The guest does not answer, or nothing listens there.
    pub async fn tcp(&self, address: &str) -> Result<Connection, AgentError> {
        self.agent.dial(Endpoint::Tcp(address.to_owned())).await
    }

    /// The process that the guest is, if it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.machine.pid()
    }

    /// Where the console goes.
    pub(crate) fn console_file(&self) -> PathBuf {
        self.machine.console_file()
    }

    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// What a person needs to see when the guest failed.
    fn report(&self) -> String {
        self.machine.report(self.name(), CONSOLE_TAIL)
    }
}

fn command(argv: &[&str], env: &[(&str, &str)]) -> Command {
    Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: env
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_report();
        }
        self.machine.kill().ok();
        self.lab.unplug(self.port);
    }
}

impl Guest {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness captures it and shows it for a failed test"
    )]
    fn print_report(&self) {
        eprintln!("{}", self.report());
    }
}
