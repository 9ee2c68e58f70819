//! The command line, as it is typed. What the strings mean is decided in `config`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Refuses Kubernetes storage objects of the rds-csi driver that cannot work.
///
/// `serve` answers the API server over TLS; `check` applies the same rules to manifests,
/// for a pull request or before `kubectl apply`. Both judge PersistentVolumeClaims,
/// PersistentVolumes, StorageClasses, VolumeAttributesClasses and VolumeSnapshotClasses of one
/// driver; `serve` judges VolumeAttachments and KubeVirt's migrations too. Everything else passes.
#[derive(Debug, Parser)]
#[command(name = "rds-csi-webhook", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer admission reviews of an API server over TLS
    #[command(after_help = SERVE_HELP)]
    Serve(Box<ServeArgs>),
    /// Apply the rules to manifests in files
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
}

const SERVE_HELP: &str = "\
Reviews are posted to https://<listen>/validate as admission.k8s.io/v1 (HTTP/1.1 or HTTP/2).
http://<admin-listen> has /healthz, /readyz and /metrics; ready means that there is a certificate
which has not expired, and that the storage classes have been read. Until then claims pass with a
warning.

VolumeAttachments and migrations pass by what was watched, which may be a moment behind; before one
is refused or warned about it is judged anew by what the API server says at that moment. With the
storage classes, which are watched too, this needs list and watch on storageclasses,
persistentvolumes, volumeattachments and pods, get on persistentvolumes, persistentvolumeclaims,
nodes and virtualmachineinstances, and list on virtualmachineinstances and
virtualmachineinstancemigrations. With --storage-classes they pass. What cannot be read passes with
a warning: the driver judges again.

With --certificates self the webhook needs get and patch on its Secret, which must be there, empty at
first, and get and patch on its ValidatingWebhookConfiguration. Replicas share the work without
further ado. Without the cluster it serves on with what it has.

SIGTERM: not ready, after --shutdown-delay no new connections, after at most --shutdown-grace the
end. A second signal ends at once.

Exit codes: 0 after an orderly end, 64 for a bad flag, 1 for everything else.

Try it without a cluster:
  rds-csi-webhook serve --tls-cert tls.crt --tls-key tls.key --storage-classes class.yaml";

const CHECK_HELP: &str = "\
Storage classes are taken from the manifests themselves and from --storage-classes. A claim whose
class is in neither passes, with a warning if this driver would refuse it.

Exit codes: 0 nothing refused, 1 something refused (with --strict: or warned about), 2 input that
cannot be read, or a bad flag.

Examples:
  rds-csi-webhook check -f deploy/
  kustomize build | rds-csi-webhook check -f - --storage-classes cluster/classes.yaml
  rds-csi-webhook check -f deploy/ --output json --strict";

/// Flags of both commands.
#[derive(Debug, Args)]
pub struct RuleArgs {
    /// The CSI driver whose objects are judged, such as rds.csi.srvlab.io
    #[arg(long, env = "RDS_CSI_WEBHOOK_DRIVER_NAME", value_name = "NAME",
          default_value = rds_csi_core::names::DEFAULT_DRIVER_NAME)]
    pub driver_name: String,
    /// File or directory with StorageClass manifests; may be given more than once
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_STORAGE_CLASSES",
        value_name = "PATH",
        value_delimiter = ':'
    )]
    pub storage_classes: Vec<PathBuf>,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Flags of both commands.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// Where reviews are answered: an IP address and a port
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8443"
    )]
    pub listen: String,
    /// Where health, readiness and metrics are served, without TLS
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_listen: String,
    /// Where the certificate comes from
    #[command(flatten)]
    pub tls: TlsArgs,
    /// The cluster; default: the pod's own, or KUBECONFIG. Its storage classes are watched,
    /// so not together with --storage-classes, unless for --certificates self
    #[arg(long, env = "RDS_CSI_WEBHOOK_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How strictly a rule about attachments is held, such as same-machine=warn: enforce, warn
    /// (allowed with a warning) or audit (allowed without); may be given more than once. What
    /// either lets pass is logged and counted. The driver has modes of its own. Rules:
    /// shared-filesystem, leaving, single-node, two-nodes, node-loss, same-machine, in-use
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_RULE_MODE",
        value_name = "RULE=MODE",
        value_delimiter = ','
    )]
    pub rule_mode: Vec<String>,
    /// How long a request may take, its arrival included: 100ms to 30s
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "2s"
    )]
    pub request_timeout: String,
    /// Reviews under way at once, 1 to 10000; more are answered 503
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_MAX_CONCURRENT_REQUESTS",
        value_name = "N",
        default_value = "256"
    )]
    pub max_concurrent_requests: String,
    /// Open connections, 1 to 10000; more are closed at once
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "512"
    )]
    pub max_connections: String,
    /// From "not ready" to "no new connections", for endpoints to be updated: 0s to 1m
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_SHUTDOWN_DELAY",
        value_name = "DURATION",
        default_value = "3s"
    )]
    pub shutdown_delay: String,
    /// For requests under way to be answered after that: 0s to 5m
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_SHUTDOWN_GRACE",
        value_name = "DURATION",
        default_value = "10s"
    )]
    pub shutdown_grace: String,
    /// Form of the log on standard error
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// error, warn, info, debug, trace, or a filter such as info,rds_csi_webhook=debug
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: String,
}

/// Flags of `serve` about its certificate.
#[derive(Debug, Args)]
pub struct TlsArgs {
    /// Where the certificate comes from
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_CERTIFICATES",
        value_name = "MODE",
        default_value = "files"
    )]
    pub certificates: CertificateSource,
    /// PEM file with the certificate chain, leaf first; read again as it changes (files)
    #[arg(long, env = "RDS_CSI_WEBHOOK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key (files)
    #[arg(long, env = "RDS_CSI_WEBHOOK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// How often the files, or the Secret and the configuration, are read: 10ms to 1h
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_TLS_RELOAD_INTERVAL",
        value_name = "DURATION",
        default_value = "10s"
    )]
    pub tls_reload_interval: String,
    /// Namespace of the webhook's service and Secret (self)
    #[arg(long, env = "RDS_CSI_WEBHOOK_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Secret for the webhook's CA and certificate, which must be there, empty at first (self)
    #[arg(long, env = "RDS_CSI_WEBHOOK_SECRET_NAME", value_name = "NAME")]
    pub secret_name: Option<String>,
    /// Service under which API servers reach the webhook (self)
    #[arg(long, env = "RDS_CSI_WEBHOOK_SERVICE_NAME", value_name = "NAME")]
    pub service_name: Option<String>,
    /// ValidatingWebhookConfiguration whose caBundle is kept (self)
    #[arg(long, env = "RDS_CSI_WEBHOOK_CONFIGURATION_NAME", value_name = "NAME")]
    pub configuration_name: Option<String>,
    /// Life of a CA, three of a certificate's at least; renewed after two thirds (self)
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_CA_LIFETIME",
        value_name = "DURATION",
        default_value = "8760h"
    )]
    pub ca_lifetime: String,
    /// Life of a certificate, 3s and 4.5 of --tls-reload-interval at least, to 8760h; renewed
    /// after two thirds (self)
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_LEAF_LIFETIME",
        value_name = "DURATION",
        default_value = "2160h"
    )]
    pub leaf_lifetime: String,
    /// How long a new CA is in caBundle before its certificate is served: 10ms to 24h, and
    /// at most a sixth of a certificate's life (self)
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_CA_LEAD_TIME",
        value_name = "DURATION",
        default_value = "1m"
    )]
    pub ca_lead_time: String,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CertificateSource {
    /// --tls-cert and --tls-key: somebody else makes and renews them
    Files,
    /// The webhook makes and renews its own and writes its CA into the configuration
    #[value(name = "self")]
    Own,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Flags of both commands.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// File, directory (*.yaml, *.yml, *.json in it and below) or - for standard input;
    /// may be given more than once
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
    /// Form of the result on standard output
    #[arg(
        long,
        env = "RDS_CSI_WEBHOOK_OUTPUT",
        value_name = "FORMAT",
        default_value = "human"
    )]
    pub output: OutputFormat,
    /// Exit with 1 for warnings too
    #[arg(long, env = "RDS_CSI_WEBHOOK_STRICT")]
    pub strict: bool,
}

/// Form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One finding a line and a summary
    Human,
    /// One JSON object
    Json,
}
