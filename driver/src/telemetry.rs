//! The log: to stderr, for people or one JSON object a line.
//!
//! A JSON line carries the span of the RPC it belongs to. Nothing here or behind it may
//! log a request whole.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging, once per process. Colours only where stderr is a terminal.
pub fn start(config: &LogConfig) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.filter))
        .with_writer(io::stderr);
    match config.format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
