//! From a command line to an exit code.
//!
//! Nothing is bound before the whole configuration is valid, and the connection to the
//! device outlives the operations that drain at the end.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;
use rds_csi_cluster::{ApiServer, NodeApiServer, NodeCluster};
use rds_csi_core::kind::Chain;
use rds_csi_host::Linux;
use rds_csi_host::command::Runner;
use rds_csi_host::registry::Registry;
use rds_csi_host::sys::{Root, boot_id};
use rds_csi_routeros::RdsClient;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::Cli;
use crate::config::{ClusterMode, Config, ControllerConfig, NodeConfig, Role};
use crate::node::{CALM, ready};
use crate::serve::{ServeError, serve_controller, serve_node};
use crate::shutdown::Signals;
use crate::telemetry;

/// A bad flag (`EX_USAGE` of sysexits.h).
const BAD_CONFIG: u8 = 64;
/// A second signal: what shells report for a program ended by SIGINT.
const FORCED: u8 = 130;
/// The blocking threads of a node: for all calls that may hang at once, and for what has no
/// cap of its own: changes of records, closing devices, files.
const NODE_THREADS: usize = Linux::THREADS + Registry::THREADS + 64;
/// How long threads that hang in the kernel, on a dead device, may hold up the end.
const HANGING_THREADS: Duration = Duration::from_millis(200);

/// Does what the arguments and the environment say.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to say it to if the terminal is gone.
            let _ = error.print();
            let asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
            return ExitCode::from(if asked.contains(&error.kind()) {
                0
            } else {
                BAD_CONFIG
            });
        }
    };
    let config = match Config::try_from(&cli) {
        Ok(config) => config,
        Err(error) => {
            let _ = writeln!(io::stderr(), "rds-csi-driver: {error}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    telemetry::start(&config.log);
    tracing::info!(role = ?config.role, version = env!("CARGO_PKG_VERSION"), "starting");
    let outcome = runtime(&config.role)
        .map_err(ServeError::Runtime)
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(config.role));
            runtime.shutdown_timeout(HANGING_THREADS);
            outcome
        });
    match outcome {
        Ok(()) => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{}", Chain(&error));
            ExitCode::from(if matches!(error, ServeError::Forced) {
                FORCED
            } else {
                1
            })
        }
    }
}

/// Two workers carry a controller, which encrypts. A node waits for the kernel, and one
/// worker does that with fewer wake-ups: nothing on it may block. Threads for blocking
/// calls are made as they are needed; of a node's, as many as its host lets hang may do so,
/// and there are threads for others all the same. The one that a node's calm looks use is
/// kept from each to the next.
fn runtime(role: &Role) -> io::Result<Runtime> {
    let (mut builder, blocking) = match role {
        Role::Controller(_) => (Builder::new_multi_thread(), 8),
        Role::Node(_) => (Builder::new_current_thread(), NODE_THREADS),
    };
    builder
        .worker_threads(2)
        .max_blocking_threads(blocking)
        .thread_keep_alive(CALM * 2)
        .enable_all()
        .build()
}

/// Runs a role until a signal ends it.
///
/// # Errors
/// When it cannot serve, a part failed, or the end was not orderly.
pub async fn run(role: Role) -> Result<(), ServeError> {
    let signals = Signals::listen().map_err(ServeError::Signals)?;
    let stop = CancellationToken::new();
    let serving = async {
        match role {
            Role::Controller(config) => controller(&config, stop.clone()).await,
            Role::Node(config) => node(&config, stop.clone()).await,
        }
    };
    tokio::select! {
        outcome = serving => outcome,
        () = signals.second(stop.clone()) => Err(ServeError::Forced),
    }
}

async fn controller(config: &ControllerConfig, stop: CancellationToken) -> Result<(), ServeError> {
    let (link, tasks) = (CancellationToken::new(), TaskTracker::new());
    let _ends_the_link = link.clone().drop_guard();
    let rds = RdsClient::start(config.rds.clone(), &tasks, link);
    match config.cluster {
        ClusterMode::Kubernetes => {
            let cluster = Arc::new(ApiServer::new(None, &config.driver_name).await?);
            tokio::select! {
                outcome = serve_controller(config, rds, Some(cluster.clone()), stop) => outcome,
                () = Box::pin(cluster.follow()) => Err(ServeError::Ended("following the cluster")),
            }
        }
        ClusterMode::None => {
            tracing::warn!(
                "attachments are known to this process only: after a restart an attached volume counts as free"
            );
            serve_controller(config, rds, None, stop).await
        }
    }
}

async fn node(config: &NodeConfig, stop: CancellationToken) -> Result<(), ServeError> {
    let runner = Runner::default();
    ready(&runner, &config.state_dir)?;
    let root = Root::default();
    let boot = boot_id(&root).map_err(ServeError::Boot)?;
    let cluster = match config.cluster {
        ClusterMode::Kubernetes => {
            let (driver, node) = (&config.driver_name, &config.node_name);
            let server = NodeApiServer::new(None, driver, node).await?;
            Some(Arc::new(server) as Arc<dyn NodeCluster>)
        }
        ClusterMode::None => {
            tracing::warn!(
                "nobody is asked whether a volume is still this node's before it is connected anew"
            );
            None
        }
    };
    let host = Arc::new(Linux::new(root, runner));
    serve_node(config, host, &boot, cluster, stop).await
}
