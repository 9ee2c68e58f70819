//! The appliance of the lab: `rds-sim` in a guest of its own, whose exports are real
//! NVMe/TCP subsystems of that guest's kernel, on a disk that outlives a power cut.
//!
//! It speaks SSH on the data network, where a cut link silences it whole; in a cluster's
//! lab it does so on the cluster's network, so that either can be cut alone. Its control
//! socket is on the guest's loopback and is asked through the management network.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::guest::{Guest, GuestOptions, Process};
use crate::lab::{Lab, program};
use crate::wait::until;

const CONTROL: &str = "127.0.0.1:2223";
const DEADLINE: Duration = Duration::from_secs(60);
/// The mount point of the pool's disk in the guest, and the simulator's directory on it.
const DISK: &str = "/mnt/appliance";

/// The device of a lab.
#[derive(Debug)]
pub struct Appliance {
    guest: Guest,
    ssh: Ipv4Addr,
    simulator: Process,
    run: Run,
    key: PathBuf,
    host_key: String,
}

/// What every start of the simulator needs.
#[derive(Debug)]
struct Run {
    gateway: Option<Ipv4Addr>,
    /// The mount options of the pool's disk.
    mount: &'static str,
    arguments: Vec<String>,
}

/// What the appliance is to be.
#[derive(Debug, Clone)]
pub struct ApplianceOptions {
    /// The size of the disk that holds the pool, in MiB. Files on it are sparse.
    pub disk_mebibytes: u64,
    /// The size that the pool says it has, in GiB.
    pub pool_gibibytes: u64,
    /// Whether a power cut loses what was written and not flushed, as with a write cache
    /// in memory. No source says which the real device does. A session that outlives the
    /// cut does not tell its writer: what it then flushes is gone already.
    pub volatile_cache: bool,
    /// Further arguments of `rds-sim serve`, such as `--variant` and its value.
    pub arguments: Vec<String>,
}

impl Default for ApplianceOptions {
    fn default() -> Self {
        Self {
            disk_mebibytes: 1024,
            pool_gibibytes: 10,
            volatile_cache: false,
            arguments: Vec::new(),
        }
    }
}

impl Appliance {
    /// Boots the guest, makes its pool and starts the simulator.
    ///
    /// # Errors
    /// The guest did not boot, or the simulator did not become ready.
    pub async fn start(lab: &Lab, options: ApplianceOptions) -> anyhow::Result<Self> {
        let disk = lab.disk("appliance", options.disk_mebibytes)?;
        let guest = Guest::boot(lab, GuestOptions::named("appliance").disk(&disk)).await?;
        let key = guest.share().join("ssh-key");
        generate_key(&guest).await?;
        guest.script("mkfs.xfs -q /dev/ubda").await?;
        let gateway = lab.cluster_address();
        let ssh = gateway.map_or(guest.address(), |_| guest.cluster_address());
        let run = Run {
            gateway,
            mount: if options.volatile_cache {
                "async"
            } else {
                "sync"
            },
            arguments: serve_arguments(&guest, ssh, &options)?,
        };
        let simulator = serve(&guest, &run).await?;
        let host_key = guest
            .script(&format!(
                "{} hostkey --state-dir {DISK}/state",
                simulator_path()?
            ))
            .await?;
        fs::copy(guest.share().join("id"), &key).context("copying the key")?;
        Ok(Self {
            guest,
            ssh,
            simulator,
            run,
            key,
            host_key: host_key.trim().to_owned(),
        })
    }

    /// The guest.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Where nodes connect.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.guest.address()
    }

    /// Where the SSH server listens.
    #[must_use]
    pub fn ssh(&self) -> SocketAddr {
        SocketAddr::from((self.ssh, 22))
    }

    /// The private key of the user `rds-csi`, a file on the test's own machine.
    #[must_use]
    pub fn key(&self) -> &std::path::Path {
        &self.key
    }

    /// The host key, in OpenSSH form.
    #[must_use]
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Cuts the power.
    ///
    /// # Errors
    /// The guest was not running.
    pub fn power_off(&self) -> anyhow::Result<()> {
        self.guest.kill()
    }

    /// Boots after [`Appliance::power_off`] and starts the simulator, whose exports are
    /// served again when this returns.
    ///
    /// # Errors
    /// The guest runs already or did not boot, or the simulator did not become ready: it is off
    /// again then.
    pub async fn power_on(&mut self) -> anyhow::Result<()> {
        ensure!(!self.guest.is_running(), "the appliance runs already");
        let begun = async {
            self.guest.start().await?;
            serve(&self.guest, &self.run).await
        };
        match begun.await {
            Ok(simulator) => self.simulator = simulator,
            Err(error) => {
                self.power_off()?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the simulator, which withdraws its exports, and starts it again.
    ///
    /// # Errors
    /// The simulator did not end, or did not become ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.simulator.signal("TERM").await?;
        let ended = self.simulator.wait(DEADLINE).await?;
        ensure!(ended.is_some(), "the simulator does not end");
        self.simulator = serve(&self.guest, &self.run).await?;
        Ok(())
    }

    /// Takes back what the simulator was told to do wrong: faults that wait, and those that
    /// last.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn forget_faults(&self) -> anyhow::Result<()> {
        for request in [
            json!({"op": "clear-faults"}),
            json!({"op": "inject", "fault": "latency", "ms": 0}),
            json!({"op": "inject", "fault": "refuse-connections", "refuse": false}),
            json!({"op": "inject", "fault": "pool-full", "full": false}),
        ] {
            let answer = self.control(&request).await?;
            ensure!(answer["ok"] == true, "{request} was refused: {answer}");
        }
        Ok(())
    }

    /// Asks the simulator's control socket.
    ///
    /// # Errors
    /// It did not answer, or refused the request.
    pub async fn control(&self, request: &Value) -> anyhow::Result<Value> {
        let request = request.to_string();
        let output = self
            .guest
            .run(&[&simulator_path()?, "control", "--to", CONTROL, &request])
            .await?;
        ensure!(
            output.success(),
            "asking {request}: {}",
            output.error_text()
        );
        serde_json::from_str(&output.text()).context("reading the simulator's answer")
    }

    /// What the simulator has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.simulator.output()
    }
}

fn simulator_path() -> anyhow::Result<String> {
    Ok(program("rds-sim")?.display().to_string())
}

async fn generate_key(guest: &Guest) -> anyhow::Result<()> {
    let id = guest.share().join("id");
    guest
        .script(&format!(
            "ssh-keygen -q -t ed25519 -N '' -C lab -f {}",
            id.display()
        ))
        .await?;
    Ok(())
}

fn serve_arguments(
    guest: &Guest,
    ssh: Ipv4Addr,
    options: &ApplianceOptions,
) -> anyhow::Result<Vec<String>> {
    let address = guest.address().to_string();
    let keys = guest.share().join("id.pub").display().to_string();
    let (listen, pool_size) = (
        format!("{ssh}:22"),
        (options.pool_gibibytes << 30).to_string(),
    );
    let (state, pool) = (format!("{DISK}/state"), format!("{DISK}/pool"));
    let words = [
        &simulator_path()?,
        "serve",
        "--listen",
        &listen,
        "--control",
        CONTROL,
        "--state-dir",
        &state,
        "--pool-dir",
        &pool,
        "--authorized-keys",
        &keys,
        "--pool-size",
        &pool_size,
        "--nvmet",
        &address,
    ];
    Ok(words
        .into_iter()
        .map(str::to_owned)
        .chain(options.arguments.iter().cloned())
        .collect())
}

/// Mounts the pool's disk and runs the simulator until it says that it is ready.
async fn serve(guest: &Guest, run: &Run) -> anyhow::Result<Process> {
    if let Some(gateway) = run.gateway {
        // Pods are behind their nodes.
        guest
            .script(&format!("ip route replace default via {gateway}"))
            .await?;
    }
    let mount = format!(
        "mkdir -p {DISK}; mountpoint -q {DISK} || mount -o {} /dev/ubda {DISK}
         mkdir -p {DISK}/state {DISK}/pool/storage-pool",
        run.mount
    );
    guest.script(&mount).await?;
    let words: Vec<&str> = run.arguments.iter().map(String::as_str).collect();
    let simulator = guest.spawn("rds-sim", &words, &[]).await?;
    until("the simulator is ready", DEADLINE, async || {
        if let Some(status) = simulator.status().await? {
            anyhow::bail!("rds-sim ended with {status:?}: {}", simulator.output());
        }
        Ok(simulator.output().contains("\"ssh\":").then_some(()))
    })
    .await?;
    Ok(simulator)
}
