//! The command line, as it is typed.
//!
//! Every flag has an environment variable of the same name behind `RDS_CSI_`. Values
//! stay strings here and nothing is required: what they mean and what is missing is
//! decided in `config`, which reports every problem at once.

use clap::{ArgAction, Args, Parser, Subcommand};

/// CSI driver for volumes on a MikroTik ROSE Data Server, exported by NVMe over TCP.
///
/// `controller` makes volumes on the device over SSH and says which node may have them; it runs
/// beside the external-provisioner, -attacher and -resizer, in as many pods as there are to be:
/// for each kind of work one of them leads. With `--cluster none` it runs once.
/// `node` connects, formats and mounts them; it runs on every node, as root.
#[derive(Debug, Parser)]
#[command(name = "rds-csi-driver", version, max_term_width = 100)]
pub struct Cli {
    /// Which role.
    #[command(subcommand)]
    pub command: Command,
}

/// The roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, delete, grow and attach volumes on the device
    #[command(after_help = HELP)]
    Controller(Box<ControllerArgs>),
    /// Connect, format and mount volumes on this node
    #[command(after_help = HELP)]
    Node(Box<NodeArgs>),
}

const HELP: &str = "\
Durations are written like 30s, 5m or 1h0m0s.

The CSI services listen on the Unix socket of --endpoint (mode 0600). http://<admin-listen> has
/metrics, /healthz (the CSI socket answers, within 5 seconds) and /readyz (and what it depends on
does: the device; for a node, that kubelet has registered it).

SIGTERM or SIGINT: no new calls, operations under way finish within --shutdown-grace, then the end.
A second signal ends at once. An interrupted operation is safe to ask again.

Exit codes: 0 after an orderly end, 64 for a bad flag, 130 after a second signal, 1 for everything
else.";

/// Flags of both roles.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Name of the CSI driver, as in StorageClasses and PersistentVolumes
    #[arg(long, env = "RDS_CSI_DRIVER_NAME", value_name = "NAME",
          default_value = rds_csi_core::names::DEFAULT_DRIVER_NAME)]
    pub driver_name: String,
    /// Unix socket of the CSI services: an absolute path, with or without unix://
    #[arg(
        long,
        env = "RDS_CSI_ENDPOINT",
        value_name = "SOCKET",
        default_value = "unix:///csi/csi.sock"
    )]
    pub endpoint: String,
    /// Address of metrics, health and readiness, without TLS; "off" for none
    #[arg(
        long,
        env = "RDS_CSI_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9808"
    )]
    pub admin_listen: String,
    /// Identity of the cluster on the device: never change it. The UID of the kube-system
    /// namespace is a good one. The same for the controller and all nodes [required]
    #[arg(long, env = "RDS_CSI_CLUSTER_ID", value_name = "ID")]
    pub cluster_id: Option<String>,
    /// What the NQNs of volumes start with; the same for the controller and all nodes
    #[arg(long, env = "RDS_CSI_NQN_PREFIX", value_name = "PREFIX",
          default_value = rds_csi_core::nqn::DEFAULT_NQN_PREFIX)]
    pub nqn_prefix: String,
    /// How long operations under way may take to finish at the end; keep it below the
    /// pod's terminationGracePeriodSeconds
    #[arg(
        long,
        env = "RDS_CSI_SHUTDOWN_GRACE",
        value_name = "DURATION",
        default_value = "25s"
    )]
    pub shutdown_grace: String,
    /// Form of the log on stderr: text or json
    #[arg(
        long,
        env = "RDS_CSI_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: String,
    /// What is logged: a level (error, warn, info, debug, trace) or directives of them,
    /// such as info,rds_csi_routeros=debug
    #[arg(
        long,
        env = "RDS_CSI_LOG_LEVEL",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log_level: String,
}

/// Flags of `controller`.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// Flags of both roles.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Whom to ask who may have a volume: "kubernetes", the API server that $KUBECONFIG or the
    /// service account of the pod leads to; or "none", for trying without a cluster: attachments
    /// are then known to this process only, until it ends [required]
    #[arg(long, env = "RDS_CSI_CLUSTER", value_name = "MODE")]
    pub cluster: Option<String>,
    /// Names of the nodes that may have volumes, with commas between, for --cluster none, where
    /// nobody can be asked which nodes there are; the default is any
    #[arg(
        long,
        env = "RDS_CSI_NODES",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub nodes: Vec<String>,
    /// How strictly a rule about attachments is held, such as same-machine=warn: enforce, or
    /// allowed all the same and told (warn) or counted (audit); may be given more than once.
    /// same-machine: a second node is for the live migration of the machine on the first.
    /// node-loss: nothing is shared with, or taken from, a node that may be lost and writing.
    /// Whoever relaxes one answers for another way of keeping two writers apart
    #[arg(
        long,
        env = "RDS_CSI_RULE_MODE",
        value_name = "RULE=MODE",
        value_delimiter = ','
    )]
    pub rule_mode: Vec<String>,
    /// What is done before a volume is attached whose last node was never known to let go of it,
    /// as it was said to be off, or removed: "enforce" ends its sessions at the device and has the
    /// volume offered under a new name, which that node does not know; "record" only tells; "off"
    /// does nothing. Unless it is off, the device is tried on a volume of the driver's own for what
    /// it does about hosts and sessions; where it goes by the name of the host, "enforce" also keeps
    /// each volume to the nodes that have it
    #[arg(
        long,
        env = "RDS_CSI_FENCING",
        value_name = "MODE",
        default_value = "enforce"
    )]
    pub fencing: String,
    /// SSH service of the device: host, host:port or [ipv6]:port; the port's default is 22
    /// [required]
    #[arg(long, env = "RDS_CSI_RDS_ADDRESS", value_name = "ADDRESS")]
    pub rds_address: Option<String>,
    /// RouterOS user; its group needs the policies ssh, read, write and test
    #[arg(
        long,
        env = "RDS_CSI_RDS_USER",
        value_name = "USER",
        default_value = "rds-csi"
    )]
    pub rds_user: String,
    /// File with the user's private key, unencrypted, Ed25519 or RSA; read again at each
    /// connect [required]
    #[arg(long, env = "RDS_CSI_RDS_KEY_FILE", value_name = "FILE")]
    pub rds_key_file: Option<String>,
    /// Public key by which the device proves itself, such as "ssh-ed25519 AAAA…"; may be
    /// given more than once, in the variable with commas between [this or the file required]
    #[arg(
        long,
        env = "RDS_CSI_RDS_HOST_KEY",
        value_name = "KEY",
        value_delimiter = ','
    )]
    pub rds_host_key: Vec<String>,
    /// File with such keys of the device alone, one per line, as ssh-keyscan prints them;
    /// read at start
    #[arg(long, env = "RDS_CSI_RDS_HOST_KEY_FILE", value_name = "FILE")]
    pub rds_host_key_file: Option<String>,
    /// How long a connect to the device may take, 1s to 5m
    #[arg(
        long,
        env = "RDS_CSI_RDS_CONNECT_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s"
    )]
    pub rds_connect_timeout: String,
    /// How long one command on the device may take, 1s to 5m
    #[arg(
        long,
        env = "RDS_CSI_RDS_COMMAND_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s"
    )]
    pub rds_command_timeout: String,
    /// Accept RouterOS before 7.21, which cannot be told the NQN of a volume
    #[arg(long, env = "RDS_CSI_RDS_ALLOW_OLD_VERSION", action = ArgAction::SetTrue)]
    pub rds_allow_old_version: bool,
    /// Directory of backing files on the device, where a StorageClass names none
    #[arg(long, env = "RDS_CSI_VOLUME_PATH", value_name = "PATH",
          default_value = rds_csi_core::backing_file::DEFAULT_VOLUME_DIRECTORY)]
    pub volume_path: String,
    /// IP address where nodes connect by NVMe over TCP, where a StorageClass names none; the
    /// default is the host of --rds-address if that is an IP address
    #[arg(long, env = "RDS_CSI_NVME_ADDRESS", value_name = "IP")]
    pub nvme_address: Option<String>,
    /// TCP port of exports, where a StorageClass names none
    #[arg(
        long,
        env = "RDS_CSI_NVME_PORT",
        value_name = "PORT",
        default_value = "4420"
    )]
    pub nvme_port: String,
    /// How much of a pool may be promised to volumes, as a multiple of its size, 1.0 to 10.0.
    /// Backing files are sparse: above 1.0 the pool can run full under running volumes
    #[arg(
        long,
        env = "RDS_CSI_OVERCOMMIT_RATIO",
        value_name = "RATIO",
        default_value = "1.0"
    )]
    pub overcommit_ratio: String,
}

/// Flags of `node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Flags of both roles.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Name of this node in the cluster; its identity on the NVMe fabric derives from it
    /// [required]
    #[arg(long, env = "RDS_CSI_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Whom to ask, before a volume that the kernel gave up is connected anew, whether it is still
    /// this node's, and to tell what happens to it: "kubernetes", the API server that $KUBECONFIG
    /// or the service account of the pod leads to; or "none", for trying without a cluster: every
    /// volume that is recorded here then counts as this node's [required]
    #[arg(long, env = "RDS_CSI_CLUSTER", value_name = "MODE")]
    pub cluster: Option<String>,
    /// Directory on the host below which this driver, under its name, keeps the record of NVMe
    /// sessions; must outlive the pod
    #[arg(
        long,
        env = "RDS_CSI_STATE_DIR",
        value_name = "DIRECTORY",
        default_value = "/var/lib/rds-csi"
    )]
    pub state_dir: String,
    /// How long connecting a volume may take until its device is readable, 1s to 5m
    #[arg(
        long,
        env = "RDS_CSI_CONNECT_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s"
    )]
    pub connect_timeout: String,
    /// File that is there only while the machine shuts down, such as /run/nologin, which systemd
    /// and shutdown(8) make: then no session waits longer than 10 seconds for its device any more
    /// once the plugin is told to end, so that the shutdown does not hang; "off" for never
    #[arg(
        long,
        env = "RDS_CSI_SHUTDOWN_MARKER",
        value_name = "FILE",
        default_value = "off"
    )]
    pub shutdown_marker: String,
    /// How many volumes this node takes at most, 1 to 10000; the default is no limit
    #[arg(long, env = "RDS_CSI_MAX_VOLUMES", value_name = "COUNT")]
    pub max_volumes: Option<String>,
    /// Directory where kubelet looks for plugins, its plugins_registry: the node plugin
    /// registers itself there; "off" leaves that to somebody else
    #[arg(
        long,
        env = "RDS_CSI_REGISTRATION_DIR",
        value_name = "DIRECTORY",
        default_value = "off"
    )]
    pub registration_dir: String,
    /// Path of the CSI socket as kubelet sees it [required with --registration-dir]
    #[arg(long, env = "RDS_CSI_KUBELET_ENDPOINT", value_name = "SOCKET")]
    pub kubelet_endpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_the_variable_of_its_name_and_a_help_text() {
        let command = Cli::command();
        let mut flags = 0;
        for role in command.get_subcommands() {
            for arg in role.get_arguments().filter(|arg| arg.get_id() != "help") {
                let flag = arg.get_long().expect("every argument is a flag");
                let variable = format!("RDS_CSI_{}", flag.to_uppercase().replace('-', "_"));
                assert_eq!(arg.get_env().unwrap().to_str(), Some(variable.as_str()));
                assert!(arg.get_help().is_some(), "--{flag}");
                flags += 1;
            }
        }
        assert!(flags > 20, "{flags} flags");
    }
}
