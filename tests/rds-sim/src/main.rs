//! `rds-sim`: the simulator as a program.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use rds_sim::sim::ask;
use rds_sim::store::Store;
use rds_sim::{Options, Sim, Variants, nvmet};
use tokio::signal::unix::{SignalKind, signal};

/// A simulator of a MikroTik ROSE Data Server.
///
/// It speaks RouterOS over SSH, keeps its disks as files, and can serve them over NVMe/TCP
/// with the kernel's own target. It is built from captures, the manual and reports; it is
/// no proof of what a device does.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<Serve>),
    /// Prints the host key of a state directory in OpenSSH form; makes it if need be.
    Hostkey {
        /// The state directory of `serve`.
        #[arg(long)]
        state_dir: PathBuf,
    },
    /// Lists the switches: name, default, what each decides, its source.
    ///
    /// Sources: hw = captured on a device, doc = the manual, insp = the console's own
    /// introspection, 3p = a report of somebody with the device, inf = inference.
    Variants,
    /// Sends one request to the control socket of a running simulator, and prints its answer.
    ///
    /// Requests: {"op":"state"}, {"op":"counters"}, {"op":"executed"},
    /// {"op":"exec","script":"…"}, {"op":"connected","slot":"…","connected":true},
    /// {"op":"variant","name":"…","value":"…"}, {"op":"clear-faults"}, and
    /// {"op":"inject","fault":"…",…} with a fault of `exec`, `permissions`, `latency`,
    /// `refuse-connections`, `cut-connections`, `pool-full`, `pool-state`, `pool-mounted`,
    /// `reboot`, `foreign-item`, `foreign-file`. For example, to lose the answer to the
    /// next `/disk add`:
    /// {"op":"inject","fault":"exec","matching":"/disk add","harm":{"cut":"after"}}
    #[command(verbatim_doc_comment)]
    Control {
        /// Address of the control socket.
        #[arg(long)]
        to: SocketAddr,
        /// The request, as JSON.
        request: String,
    },
}

/// Runs a simulator until it is told to end (SIGTERM or SIGINT).
///
/// When ready it prints one line: {"ssh":"127.0.0.1:40123","control":"127.0.0.1:40124"}.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  ssh-keygen -t ed25519 -N '' -f id
  rds-sim serve --listen 127.0.0.1:2222 --state-dir state --pool-dir pool \\
      --authorized-keys id.pub --control 127.0.0.1:2223 --variant slot-limit=accept &
  rds-sim hostkey --state-dir state > host_key.pub
  ssh -p 2222 -i id rds-csi@127.0.0.1 '/disk print detail'
  rds-sim control --to 127.0.0.1:2223 '{\"op\":\"counters\"}'

With --nvmet 10.77.0.2 (as root, with nvmet-tcp in the kernel) every exported disk is a
real NVMe/TCP subsystem on that address.")]
struct Serve {
    /// Address of the SSH server; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the control socket. It asks for no password: loopback only.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Directory for configuration and host key; both survive a restart.
    #[arg(long)]
    state_dir: PathBuf,
    /// Directory for backing files: /storage-pool/x.img is POOL_DIR/storage-pool/x.img.
    #[arg(long)]
    pool_dir: PathBuf,
    /// Public keys that may log in, in OpenSSH form, one on each line.
    #[arg(long)]
    authorized_keys: PathBuf,
    /// The user who may log in.
    #[arg(long, default_value = "rds-csi")]
    user: String,
    /// Slot of the pool of a new device.
    #[arg(long, default_value = "raid1")]
    pool_slot: String,
    /// Mount point of the pool of a new device.
    #[arg(long, default_value = "storage-pool")]
    pool_mount_point: String,
    /// Bytes of the pool of a new device.
    #[arg(long, default_value_t = 100 << 30)]
    pool_size: u64,
    /// Seconds after the start until the pool is mounted; items are there before, exports are not.
    #[arg(long, default_value_t = 0)]
    pool_mount_delay: u64,
    /// A switch, see `rds-sim variants`; may be repeated.
    #[arg(long = "variant", value_name = "NAME=VALUE")]
    variants: Vec<String>,
    /// Seconds of configuration that a power cut may lose (the switch config-loss-seconds).
    #[arg(long)]
    config_loss_seconds: Option<u64>,
    /// Serve exports over NVMe/TCP on this address, with the kernel's target.
    #[arg(long, value_name = "ADDRESS")]
    nvmet: Option<String>,
    /// Where configfs shows the target; another directory shows what would be written.
    #[arg(long, default_value = nvmet::CONFIGFS)]
    configfs_root: PathBuf,
}

impl Serve {
    fn options(self) -> anyhow::Result<Options> {
        let mut variants = Variants::default();
        for pair in &self.variants {
            variants.set_pair(pair)?;
        }
        if let Some(seconds) = self.config_loss_seconds {
            variants.config_loss_seconds = seconds;
        }
        let path = &self.authorized_keys;
        let keys = std::fs::read_to_string(path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let lines = keys.lines().map(str::trim);
        let authorized_keys: Vec<String> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if authorized_keys.is_empty() {
            bail!("{} holds no key", path.display());
        }
        Ok(Options {
            listen: self.listen,
            control: self.control,
            state_dir: Some(self.state_dir),
            pool_dir: Some(self.pool_dir),
            user: self.user,
            authorized_keys,
            pool_slot: self.pool_slot,
            pool_mount_point: self.pool_mount_point,
            pool_size: self.pool_size,
            pool_mount_delay: Duration::from_secs(self.pool_mount_delay),
            variants,
            nvmet: self.nvmet,
            configfs_root: self.configfs_root,
        })
    }
}

async fn serve(arguments: Serve) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sim = Sim::start(arguments.options()?).await?;
    let ready = serde_json::json!({
        "ssh": sim.address().to_string(),
        "control": sim.control_address().map(|address| address.to_string()),
    });
    say(&ready.to_string())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sim.stop().await;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Serve(arguments) => serve(*arguments).await,
        Command::Hostkey { state_dir } => {
            let key = Store::open(&state_dir)?.host_key()?;
            say(&key.public_key().to_openssh()?)?;
            Ok(())
        }
        Command::Variants => {
            for description in Variants::descriptions() {
                say(&description.to_string())?;
            }
            Ok(())
        }
        Command::Control { to, request } => {
            say(&ask(to, &request).await?)?;
            Ok(())
        }
    }
}
