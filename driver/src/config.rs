//! What the process was told, typed and checked.
//!
//! Nothing is bound, connected or changed before every value here is valid, and every
//! problem is reported at once: whoever fixes a manifest should not have to start the
//! pod once per mistake. No value here is a secret; keys are named by their files.

mod controller;
mod node;
mod reader;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rds_csi_core::attachment::leftovers::Pace;
use rds_csi_core::attachment::{Fencing, Modes};
use rds_csi_core::backing_file::VolumeDirectory;
use rds_csi_core::cluster_id::ClusterId;
use rds_csi_core::names::DriverName;
use rds_csi_core::nqn::{HostIdentity, NqnPrefix};
use rds_csi_host::sys::Root;
use rds_csi_routeros::RdsConfig;

use crate::args::{Cli, Command, CommonArgs};
use crate::controller::ControllerSettings;
use crate::node::NodeSettings;
use reader::Reader;
pub use reader::{ConfigError, Problem};

/// A valid command line.
#[derive(Debug, Clone)]
pub struct Config {
    /// What to be.
    pub role: Role,
    /// How to log.
    pub log: LogConfig,
}

/// The roles, each with all it needs and nothing of the other.
#[derive(Debug, Clone)]
pub enum Role {
    /// Volumes on the device.
    Controller(ControllerConfig),
    /// Volumes on this node.
    Node(NodeConfig),
}

/// What the controller is told.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    /// The driver's name.
    pub driver_name: DriverName,
    /// The path of the CSI socket.
    pub endpoint: PathBuf,
    /// Where metrics and health are served; `None` is nowhere.
    pub admin: Option<SocketAddr>,
    /// Whose volumes these are.
    pub cluster_id: ClusterId,
    /// Where attachments are recorded.
    pub cluster: ClusterMode,
    /// The nodes that may have volumes where no cluster is asked; any, if none is named.
    pub nodes: BTreeSet<String>,
    /// How strictly the rules about attachments are held.
    pub modes: Modes,
    /// Whether the array shuts out who may still write.
    pub fencing: Fencing,
    /// How patiently is looked for attachments to nodes that exist no more. Nobody is asked:
    /// only tests are less patient.
    pub leftovers: Pace,
    /// Whether the device is tried for what it does about hosts and sessions.
    pub probe: bool,
    /// The device.
    pub rds: RdsConfig,
    /// Where backing files lie where a StorageClass does not say it.
    pub volume_directory: VolumeDirectory,
    /// What volume NQNs start with.
    pub nqn_prefix: NqnPrefix,
    /// Where nodes connect where a StorageClass does not say it.
    pub nvme_address: IpAddr,
    /// The TCP port of exports where a StorageClass does not say it.
    pub nvme_port: u16,
    /// How much of a pool may be promised, in hundredths of its size: 100 to 1000.
    pub overcommit_percent: u32,
    /// How long operations under way may take at the end.
    pub shutdown_grace: Duration,
}

impl ControllerConfig {
    /// What the operations need of it.
    pub(crate) fn settings(&self) -> ControllerSettings {
        ControllerSettings {
            driver_name: self.driver_name.clone(),
            cluster: self.cluster_id.clone(),
            nodes: self.nodes.clone(),
            modes: self.modes.clone(),
            fencing: self.fencing,
            leftovers: self.leftovers,
            probe: self.probe,
            volume_directory: self.volume_directory.clone(),
            nqn_prefix: self.nqn_prefix.clone(),
            rds_address: controller::ip_of(&self.rds.address),
            nvme_address: self.nvme_address,
            nvme_port: self.nvme_port,
            overcommit_percent: self.overcommit_percent,
        }
    }
}

/// Where the controller learns of attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterMode {
    /// The Kubernetes API server that `$KUBECONFIG` or the pod's service account leads to.
    Kubernetes,
    /// No cluster is asked. Attachments are known to this process only, so after a
    /// restart a volume that is still attached counts as free.
    None,
}

/// What a node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The driver's name.
    pub driver_name: DriverName,
    /// The path of the CSI socket.
    pub endpoint: PathBuf,
    /// Where metrics and health are served; `None` is nowhere.
    pub admin: Option<SocketAddr>,
    /// Whose node this is.
    pub cluster_id: ClusterId,
    /// Who is asked whether a volume is still this node's, and told what happens to it.
    pub cluster: ClusterMode,
    /// The node's name: a DNS subdomain of at most 192 bytes.
    pub node_name: String,
    /// What volume NQNs start with.
    pub nqn_prefix: NqnPrefix,
    /// Where the record of sessions lies.
    pub state_dir: PathBuf,
    /// How long connecting a volume may take.
    pub connect_timeout: Duration,
    /// A file that is there only while the machine shuts down, if one is known.
    pub shutdown_marker: Option<PathBuf>,
    /// How many volumes the node takes; `None` is no limit.
    pub max_volumes: Option<u32>,
    /// How kubelet learns of the plugin; `None` is by somebody else.
    pub registration: Option<RegistrationConfig>,
    /// How long operations under way may take at the end.
    pub shutdown_grace: Duration,
}

impl ClusterMode {
    /// `none` is what it means to ask nobody.
    fn read(reader: &mut Reader, text: Option<&str>, none: &str) -> Option<Self> {
        let takes = format!("kubernetes, or none: {none}");
        let text = reader.required("cluster", text, &takes)?;
        reader.checked("cluster", text, &takes, |text| match text {
            "kubernetes" => Some(Self::Kubernetes),
            "none" => Some(Self::None),
            _ => None,
        })
    }
}

impl NodeConfig {
    /// What the operations need of it, and which boot of the machine this is.
    pub(crate) fn settings(&self, boot: &str) -> NodeSettings {
        NodeSettings {
            name: self.node_name.clone(),
            identity: HostIdentity::of(&self.cluster_id, &self.node_name),
            nqn_prefix: self.nqn_prefix.clone(),
            connect_timeout: self.connect_timeout,
            max_volumes: self.max_volumes.unwrap_or(0),
            boot: boot.to_owned(),
            shutdown_marker: self.shutdown_marker.clone(),
            nodes: Root::default().nodes,
        }
    }
}

/// How a node plugin registers itself with kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// The path of the registration socket.
    pub socket: PathBuf,
    /// The path of the CSI socket as kubelet sees it.
    pub kubelet_endpoint: PathBuf,
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Of which form.
    pub format: LogFormat,
    /// What: directives of tracing-subscriber's `EnvFilter`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TryFrom<&Cli> for Config {
    type Error = ConfigError;

    /// Reads the host key file and looks whether the key file can be opened; touches
    /// nothing else.
    fn try_from(cli: &Cli) -> Result<Self, ConfigError> {
        let mut reader = Reader::default();
        let (common, role) = match &cli.command {
            Command::Controller(args) => {
                let common = Common::read(&mut reader, &args.common);
                let config = controller::read(&mut reader, args, common);
                (&args.common, config.map(Role::Controller))
            }
            Command::Node(args) => {
                let common = Common::read(&mut reader, &args.common);
                let config = node::read(&mut reader, args, common);
                (&args.common, config.map(Role::Node))
            }
        };
        let log = LogConfig::read(&mut reader, common);
        let config = role.zip(log).map(|(role, log)| Self { role, log });
        reader.finish(config)
    }
}

/// What both roles are told.
struct Common {
    driver_name: DriverName,
    endpoint: PathBuf,
    admin: Option<SocketAddr>,
    cluster_id: ClusterId,
    nqn_prefix: NqnPrefix,
    shutdown_grace: Duration,
}

impl Common {
    /// `None` where a problem was noted.
    fn read(reader: &mut Reader, args: &CommonArgs) -> Option<Self> {
        let driver_name = reader.parsed("driver-name", &args.driver_name);
        let endpoint = reader.checked("endpoint", &args.endpoint, SOCKET_PATH, socket_path);
        let admin = reader.checked(
            "admin-listen",
            &args.admin_listen,
            "an IP address and a port, such as 0.0.0.0:9808 or [::]:9808, or off",
            |text| match text {
                "off" => Some(None),
                text => text.parse().ok().map(Some),
            },
        );
        let cluster_id = reader
            .required(
                "cluster-id",
                args.cluster_id.as_deref(),
                "1 to 36 lower-case letters, digits and inner hyphens",
            )
            .and_then(|text| reader.parsed("cluster-id", text));
        let nqn_prefix = reader.parsed("nqn-prefix", &args.nqn_prefix);
        let shutdown_grace = reader.duration("shutdown-grace", &args.shutdown_grace, 1..=3600);
        Some(Self {
            driver_name: driver_name?,
            endpoint: endpoint?,
            admin: admin?,
            cluster_id: cluster_id?,
            nqn_prefix: nqn_prefix?,
            shutdown_grace: shutdown_grace?,
        })
    }
}

/// What [`socket_path`] takes.
const SOCKET_PATH: &str = "an absolute path of at most 100 bytes, with or without unix://";

/// A socket's address has 108 bytes with its final zero; binding takes four more than
/// the final name.
fn socket_path(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    let path = path.strip_prefix("//").unwrap_or(path);
    let plain = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
    (plain && path.len() <= 100).then(|| PathBuf::from(path))
}

impl LogConfig {
    fn read(reader: &mut Reader, args: &CommonArgs) -> Option<Self> {
        let format =
            reader.checked(
                "log-format",
                &args.log_format,
                "text or json",
                |text| match text {
                    "text" => Some(LogFormat::Text),
                    "json" => Some(LogFormat::Json),
                    _ => None,
                },
            );
        let filter = reader.checked(
            "log-level",
            &args.log_level,
            "error, warn, info, debug, trace, or directives such as info,rds_csi_routeros=debug",
            |text| {
                tracing_subscriber::EnvFilter::try_new(text).ok()?;
                Some(text.to_owned())
            },
        );
        Some(Self {
            format: format?,
            filter: filter?,
        })
    }
}

#[cfg(test)]
mod tests;
