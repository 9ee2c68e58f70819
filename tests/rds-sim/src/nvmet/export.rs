//! What is served.

use std::io;
use std::path::PathBuf;

/// Ports are numbered by their TCP port above this, to keep clear of ports of others.
pub(super) const PORT_IDS: u32 = 10_000;

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Any host.
    Anybody,
    /// Hosts with one of these NQNs.
    Hosts(Vec<String>),
}

/// One subsystem to serve.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Export {
    /// Its name.
    pub nqn: String,
    /// TCP port.
    pub port: u16,
    /// Who may connect.
    pub access: Access,
    /// File behind namespace 1; without one there is no namespace.
    pub file: Option<PathBuf>,
    /// Identity of namespace 1.
    pub uuid: String,
    /// Bytes.
    pub size: u64,
}

/// A step on configfs that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} {path}")]
pub struct TargetError {
    pub(super) step: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

/// Whether `wanted` needs a new subsystem in place of `served`.
pub(super) fn replaces(served: &Export, wanted: &Export) -> bool {
    served.port != wanted.port || served.file != wanted.file || served.uuid != wanted.uuid
}

pub(super) fn subsystem(nqn: &str) -> String {
    format!("subsystems/{nqn}")
}

pub(super) fn port_path(port: u16) -> String {
    format!("ports/{}", PORT_IDS + u32::from(port))
}

pub(super) fn link(export: &Export) -> String {
    format!("{}/subsystems/{}", port_path(export.port), export.nqn)
}
