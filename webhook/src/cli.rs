//! From a command line to an exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use rds_csi_core::kind::Chain;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, LogFormat, ServeArgs};
use crate::check;
use crate::config::{CheckConfig, ConfigError, LogConfig, ServeConfig};
use crate::serve::{ServeError, Webhook};
use crate::shutdown;

/// A bad flag of `serve` (`EX_USAGE` of sysexits.h).
const BAD_CONFIG: u8 = 64;
/// A bad flag of `check`: its 1 means a refused manifest.
const BAD_CHECK: u8 = 2;

/// Threads that review. A review takes far less than a millisecond; one thread for each
/// processor, with memory of its own, would make a large node's webhook a large one.
const WORKERS: usize = 2;

/// Does what the arguments say.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(Cli {
            command: Command::Serve(args),
        }) => serve(&args),
        Ok(Cli {
            command: Command::Check(args),
        }) => match CheckConfig::try_from(&args) {
            Ok(config) => check::run(&config, &mut io::stdin().lock(), &mut io::stdout().lock()),
            Err(error) => refuse(&error, BAD_CHECK),
        },
        Err(error) => {
            let asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
            let is_check = args.get(1).is_some_and(|command| command == "check");
            // Nothing is left to say it to if the terminal is gone.
            let _ = error.print();
            match (asked.contains(&error.kind()), is_check) {
                (true, _) => ExitCode::SUCCESS,
                (false, true) => ExitCode::from(BAD_CHECK),
                (false, false) => ExitCode::from(BAD_CONFIG),
            }
        }
    }
}

fn refuse(error: &ConfigError, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "rds-csi-webhook: {}", Chain(error));
    ExitCode::from(code)
}

fn serve(args: &ServeArgs) -> ExitCode {
    let config = ServeConfig::try_from(args).and_then(|serve| Ok((serve, args.try_into()?)));
    let (config, log): (ServeConfig, LogConfig) = match config {
        Ok(both) => both,
        Err(error) => return refuse(&error, BAD_CONFIG),
    };
    start_log(&log);
    tracing::info!(?config, version = env!("CARGO_PKG_VERSION"), "starting");
    // Fails only if a provider is installed already, and then one is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "starting the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve_until_signalled(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the webhook stops");
            ExitCode::FAILURE
        }
    }
}

async fn serve_until_signalled(config: ServeConfig) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let second = shutdown::second_signal(stop.clone());
    let serving = async {
        let webhook = Webhook::prepare(config).await?;
        if let (Ok(reviews), Ok(admin)) = (webhook.review_address(), webhook.admin_address()) {
            tracing::info!(%reviews, %admin, "listening");
        }
        webhook.run(stop).await
    };
    tokio::select! {
        result = serving => result,
        () = second => Err(ServeError::Forced),
    }
}

fn start_log(config: &LogConfig) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.filter))
        .with_writer(io::stderr);
    match config.format {
        LogFormat::Text => log
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
