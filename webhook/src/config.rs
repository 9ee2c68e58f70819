//! What the command line means: typed, complete and checked before anything is bound.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use rds_csi_core::attachment::{Modes, Seat};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_core::names::DriverName;
use tracing_subscriber::EnvFilter;

use crate::args::{CheckArgs, LogFormat, OutputFormat, RuleArgs, ServeArgs};
use crate::server::Limits;

pub use certificate::CertificateConfig;

/// A flag that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {value:?} is not allowed: it takes {allowed}")]
pub struct ConfigError {
    flag: &'static str,
    value: String,
    allowed: String,
}

impl Failure for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

fn refuse(flag: &'static str, value: &str, allowed: impl Into<String>) -> ConfigError {
    ConfigError {
        flag,
        value: value.chars().take(128).collect(),
        allowed: allowed.into(),
    }
}

/// Where storage classes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassSource {
    /// Watched in a cluster.
    Cluster,
    /// Read once from manifests.
    Files(Vec<PathBuf>),
}

/// What `serve` works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Whose objects are judged.
    pub driver: DriverName,
    /// Where reviews are answered.
    pub listen: SocketAddr,
    /// Where health and metrics are.
    pub admin_listen: SocketAddr,
    /// Where the certificate comes from.
    pub certificate: CertificateConfig,
    /// How often that is read.
    pub tls_reload_interval: Duration,
    /// The cluster's kubeconfig; `None` looks where pods and people do.
    pub kubeconfig: Option<PathBuf>,
    /// Where storage classes come from.
    pub classes: ClassSource,
    /// How strictly the rules about attachments are held.
    pub modes: Modes,
    /// What clients may use.
    pub limits: Limits,
    /// From "not ready" to "no new connections".
    pub shutdown_delay: Duration,
    /// From there to the end.
    pub shutdown_grace: Duration,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// What gets in; parses as a filter.
    pub filter: String,
}

impl TryFrom<&ServeArgs> for ServeConfig {
    type Error = ConfigError;

    fn try_from(args: &ServeArgs) -> Result<Self, ConfigError> {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        let limits = Limits {
            request: duration("--request-timeout", &args.request_timeout, ms(100), s(30))?,
            concurrent: count("--max-concurrent-requests", &args.max_concurrent_requests)?,
            connections: count("--max-connections", &args.max_connections)?,
            ..Limits::default()
        };
        let interval = &args.tls.tls_reload_interval;
        let interval = duration("--tls-reload-interval", interval, ms(10), s(3600))?;
        let certificate = CertificateConfig::read(&args.tls, interval)?;
        Ok(Self {
            driver: driver(&args.rules)?,
            listen: address("--listen", &args.listen)?,
            admin_listen: address("--admin-listen", &args.admin_listen)?,
            tls_reload_interval: interval,
            classes: class_source(args, &certificate)?,
            certificate,
            kubeconfig: args.kubeconfig.clone(),
            modes: modes(&args.rule_mode)?,
            limits,
            shutdown_delay: duration("--shutdown-delay", &args.shutdown_delay, s(0), s(60))?,
            shutdown_grace: duration("--shutdown-grace", &args.shutdown_grace, s(0), s(300))?,
        })
    }
}

impl TryFrom<&ServeArgs> for LogConfig {
    type Error = ConfigError;

    fn try_from(args: &ServeArgs) -> Result<Self, ConfigError> {
        const ALLOWED: &str = "error, warn, info, debug, trace or a filter such as \
                               info,rds_csi_webhook=debug";
        EnvFilter::try_new(&args.log_level)
            .map_err(|_| refuse("--log-level", &args.log_level, ALLOWED))?;
        Ok(Self {
            format: args.log_format,
            filter: args.log_level.clone(),
        })
    }
}

/// What `check` works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// Whose objects are judged.
    pub driver: DriverName,
    /// What is checked.
    pub files: Vec<PathBuf>,
    /// Further storage classes.
    pub storage_classes: Vec<PathBuf>,
    /// For people or for machines.
    pub output: OutputFormat,
    /// Whether warnings fail too.
    pub strict: bool,
}

impl TryFrom<&CheckArgs> for CheckConfig {
    type Error = ConfigError;

    fn try_from(args: &CheckArgs) -> Result<Self, ConfigError> {
        Ok(Self {
            driver: driver(&args.rules)?,
            files: args.files.clone(),
            storage_classes: args.rules.storage_classes.clone(),
            output: args.output,
            strict: args.strict,
        })
    }
}

fn driver(args: &RuleArgs) -> Result<DriverName, ConfigError> {
    let name = &args.driver_name;
    name.parse().map_err(|_| {
        let allowed = "a DNS subdomain of at most 63 characters, such as rds.csi.srvlab.io";
        refuse("--driver-name", name, allowed)
    })
}

fn modes(entries: &[String]) -> Result<Modes, ConfigError> {
    let read = Modes::read(entries.iter().map(String::as_str), Seat::Admission);
    read.map_err(|error| refuse("--rule-mode", &entries.join(","), error.to_string()))
}

fn class_source(
    args: &ServeArgs,
    certificate: &CertificateConfig,
) -> Result<ClassSource, ConfigError> {
    let files = &args.rules.storage_classes;
    match (&args.kubeconfig, certificate) {
        _ if files.is_empty() => Ok(ClassSource::Cluster),
        (Some(path), CertificateConfig::Files(_)) => {
            let allowed = "the place of --storage-classes, not both";
            Err(refuse("--kubeconfig", &path.to_string_lossy(), allowed))
        }
        _ => Ok(ClassSource::Files(files.clone())),
    }
}

fn address(flag: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let allowed = "an IP address and a port, such as 0.0.0.0:8443 or [::]:8443";
    text.parse().map_err(|_| refuse(flag, text, allowed))
}

fn count(flag: &'static str, text: &str) -> Result<usize, ConfigError> {
    let number = text.parse().ok().filter(|n| (1..=10_000).contains(n));
    number.ok_or_else(|| refuse(flag, text, "a number from 1 to 10000"))
}

fn duration(
    flag: &'static str,
    text: &str,
    least: Duration,
    most: Duration,
) -> Result<Duration, ConfigError> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| {
            let allowed = format!("a duration from {least:?} to {most:?}, such as 5s or 1m30s");
            refuse(flag, text, allowed)
        })
}

mod certificate;

#[cfg(test)]
mod tests;
