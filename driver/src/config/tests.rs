//! That each flag is read, and that each mistake is told with all others.

use std::fs;

use clap::Parser as _;
use rstest::rstest;
use tempfile::TempDir;

use super::*;

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHtWzgSZyS0fDb2CTGFmvZ0DDNRcbHuhvmMJ1k5Pc3Ah rds";

/// The files that a controller is told of.
struct Files {
    _base: TempDir,
    key: String,
    host_keys: String,
}

fn files() -> Files {
    let base = tempfile::tempdir().unwrap();
    let path = |name: &str| base.path().join(name).to_str().unwrap().to_owned();
    let (key, host_keys) = (path("id_ed25519"), path("known_hosts"));
    fs::write(&key, "a secret").unwrap();
    fs::write(&host_keys, format!("# device\n10.0.0.1 {HOST_KEY}\n")).unwrap();
    Files {
        _base: base,
        key,
        host_keys,
    }
}

fn read(args: &[&str]) -> Result<Config, ConfigError> {
    let args = std::iter::once("rds-csi-driver").chain(args.iter().copied());
    Config::try_from(&Cli::try_parse_from(args).unwrap())
}

fn controller(files: &Files, more: &[&str]) -> Result<ControllerConfig, ConfigError> {
    let mut args = vec!["controller", "--cluster=none", "--cluster-id=c1"];
    args.extend(["--rds-key-file", &files.key]);
    args.extend(["--rds-host-key-file", &files.host_keys]);
    if !more.iter().any(|arg| arg.starts_with("--rds-address")) {
        args.push("--rds-address=10.0.0.1");
    }
    args.extend(more);
    read(&args).map(|config| match config.role {
        Role::Controller(config) => config,
        Role::Node(_) => panic!("a controller was asked for"),
    })
}

fn node(more: &[&str]) -> Result<NodeConfig, ConfigError> {
    let mut args = vec!["node", "--cluster-id=c1", "--node-name=worker-1"];
    if !more.iter().any(|arg| arg.starts_with("--cluster=")) {
        args.push("--cluster=none");
    }
    args.extend(more);
    read(&args).map(|config| match config.role {
        Role::Node(config) => config,
        Role::Controller(_) => panic!("a node was asked for"),
    })
}

fn flags(error: &ConfigError) -> Vec<&'static str> {
    error.problems.iter().map(|problem| problem.flag).collect()
}

#[test]
fn a_controller_needs_little_and_the_rest_has_defaults() {
    let config = controller(&files(), &[]).unwrap();
    assert_eq!(config.driver_name, DriverName::default());
    assert_eq!(config.endpoint, PathBuf::from("/csi/csi.sock"));
    assert_eq!(config.rds.address.to_string(), "10.0.0.1:22");
    assert_eq!(config.rds.user, "rds-csi");
    assert_eq!(config.rds.host_keys.len(), 1);
    assert_eq!(config.nvme_address.to_string(), "10.0.0.1");
    assert_eq!((config.nvme_port, config.overcommit_percent), (4420, 100));
    assert_eq!(config.volume_directory, VolumeDirectory::default());
    assert_eq!(config.shutdown_grace, Duration::from_secs(25));
    let settings = config.settings();
    assert_eq!(settings.rds_address, "10.0.0.1".parse().ok());
    assert!(settings.nodes.is_empty());
}

#[test]
fn the_nodes_of_a_controller_are_a_list_and_an_unset_one_is_none() {
    let nodes = |arg: &str| controller(&files(), &[arg]).unwrap().settings().nodes;
    assert_eq!(nodes("--nodes=b,a"), ["a", "b"].map(str::to_owned).into());
    assert!(nodes("--nodes=").is_empty());
}

#[test]
fn a_node_needs_its_name_and_its_cluster() {
    let config = node(&["--connect-timeout=1m30s", "--max-volumes=100"]).unwrap();
    assert_eq!(config.node_name, "worker-1");
    let base = PathBuf::from("/var/lib/rds-csi");
    assert_eq!(config.state_dir, base.join("rds.csi.srvlab.io"));
    let second = node(&["--driver-name=x.example"]).unwrap();
    assert_eq!(second.state_dir, base.join("x.example"));
    assert_eq!(config.connect_timeout, Duration::from_secs(90));
    assert_eq!(config.max_volumes, Some(100));
}

#[test]
fn a_node_registers_itself_where_it_is_told_to() {
    assert_eq!(node(&[]).unwrap().registration, None);
    let config = node(&[
        "--registration-dir=/registration",
        "--kubelet-endpoint=unix:///var/lib/kubelet/plugins/x/csi.sock",
        "--driver-name=x.example",
    ]);
    let expected = RegistrationConfig {
        socket: PathBuf::from("/registration/csi@x.example-reg.sock"),
        kubelet_endpoint: PathBuf::from("/var/lib/kubelet/plugins/x/csi.sock"),
    };
    assert_eq!(config.unwrap().registration, Some(expected));
}

#[test]
fn a_registration_needs_the_path_that_kubelet_uses() {
    let error = node(&["--registration-dir=/registration"]).unwrap_err();
    assert_eq!(flags(&error), ["kubelet-endpoint"]);
    assert_eq!(error.problems[0].value, None);
    let error = node(&["--registration-dir=x", "--kubelet-endpoint=csi.sock"]).unwrap_err();
    assert_eq!(flags(&error), ["registration-dir", "kubelet-endpoint"]);
}

#[rstest]
#[case("", "it takes an absolute path, or off")]
#[case("registration", "it takes an absolute path, or off")]
#[case(
    "/var/lib/kubelet/plugins_registry/and/then/so/deep/down/that/no/socket/can/be/bound",
    "rds.csi.srvlab.io-reg.sock\" is an absolute path of at most 100 bytes"
)]
fn a_bad_registration_directory_is_told(#[case] directory: &str, #[case] remedy: &str) {
    let directory = format!("--registration-dir={directory}");
    let error = node(&[&directory, "--kubelet-endpoint=/csi.sock"]).unwrap_err();
    assert_eq!(flags(&error), ["registration-dir"]);
    assert!(error.problems[0].remedy.contains(remedy), "{error}");
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let error = read(&["controller"]).unwrap_err();
    assert_eq!(
        flags(&error),
        [
            "cluster-id",
            "cluster",
            "rds-address",
            "rds-key-file",
            "rds-host-key"
        ]
    );
    let text = error.to_string();
    assert!(
        text.contains("\n  --cluster-id (RDS_CSI_CLUSTER_ID) is missing: it takes 1 to 36"),
        "{text}"
    );
    assert_eq!(
        flags(&read(&["node"]).unwrap_err()),
        ["cluster-id", "node-name", "cluster"]
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_value() {
    let error = read(&[
        "node",
        "--cluster-id=A",
        "--endpoint=csi.sock",
        "--admin-listen=9808",
        "--log-format=xml",
        "--shutdown-grace=soon",
        "--node-name=Worker_1",
    ])
    .unwrap_err();
    assert_eq!(
        flags(&error),
        [
            "endpoint",
            "admin-listen",
            "cluster-id",
            "shutdown-grace",
            "node-name",
            "cluster",
            "log-format"
        ]
    );
    let text = error.to_string();
    let line = "--shutdown-grace (RDS_CSI_SHUTDOWN_GRACE) is \"soon\": it takes a duration";
    assert!(text.contains(line), "{text}");
}

#[rstest]
#[case("--driver-name=Rds")]
#[case("--endpoint=tcp://0.0.0.0:1")]
#[case("--endpoint=/csi/")]
#[case("--admin-listen=localhost:9808")]
#[case("--nqn-prefix=nqn.2000-02.com.mikrotik")]
#[case("--shutdown-grace=0s")]
#[case("--shutdown-grace=2h")]
#[case("--log-format=xml")]
#[case("--log-level=a=b=c")]
#[case("--cluster=k8s")]
#[case("--rds-address=10.0.0.1:0")]
#[case("--rds-user=admin+ct")]
#[case("--rds-key-file=/nowhere/key")]
#[case("--rds-host-key=ssh-dss AAAA")]
#[case("--rds-host-key-file=/nowhere/known_hosts")]
#[case("--rds-connect-timeout=-5s")]
#[case("--rds-command-timeout=1 fortnight")]
#[case("--volume-path=/pool/../etc")]
#[case("--nvme-address=rds.example")]
#[case("--nvme-port=0")]
#[case("--nvme-port=+4420")]
#[case("--overcommit-ratio=0.9")]
#[case("--overcommit-ratio=10.01")]
#[case("--overcommit-ratio=1.005")]
#[case("--overcommit-ratio=1e1")]
fn a_bad_value_names_its_flag(#[case] arg: &str) {
    let files = files();
    let (flag, value) = arg.split_once('=').unwrap();
    let mut args = vec!["controller"];
    let key = format!("--rds-key-file={}", files.key);
    let keys = format!("--rds-host-key-file={}", files.host_keys);
    for given in [
        "--cluster=none",
        "--cluster-id=c1",
        "--rds-address=10.0.0.1",
        &key,
        &keys,
    ] {
        if given.split_once('=').unwrap().0 != flag {
            args.push(given);
        }
    }
    args.push(arg);
    let error = read(&args).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let problem = &error.problems[0];
    assert_eq!(format!("--{}", problem.flag), flag);
    assert_eq!(problem.value.as_deref(), Some(value));
}

/// Every key of such a file would be pinned to the device.
#[rstest]
#[case::of_one_name(&["10.0.0.1", "10.0.0.1"], true)]
#[case::without_names(&["", ""], true)]
#[case::with_a_name_in_common(&["rds,10.0.0.1", "10.0.0.1"], true)]
#[case::hashed(&["|1|a=|b=", "|1|c=|d="], true)]
#[case::of_two_hosts(&["10.0.0.1", "github.com"], false)]
#[case::of_many_hashed(&["|1|a=|b="; 9], false)]
fn a_file_of_host_keys_is_the_devices_alone(#[case] names: &[&str], #[case] taken: bool) {
    let files = files();
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("{name} {HOST_KEY}").trim().to_owned())
        .collect();
    fs::write(&files.host_keys, lines.join("\n")).unwrap();
    let read = controller(&files, &[]);
    assert_eq!(read.is_ok(), taken, "{read:?}");
    if let Err(error) = read {
        assert_eq!(flags(&error), ["rds-host-key-file"]);
    }
}

#[rstest]
#[case("1", 100)]
#[case("1.0", 100)]
#[case("1.1", 110)]
#[case("2.25", 225)]
#[case("10.0", 1000)]
fn a_ratio_is_read_as_hundredths(#[case] text: &str, #[case] percent: u32) {
    let config = controller(&files(), &["--overcommit-ratio", text]).unwrap();
    assert_eq!(config.overcommit_percent, percent);
}

#[rstest]
#[case("unix:///run/csi.sock")]
#[case("unix:/run/csi.sock")]
#[case("/run/csi.sock")]
fn an_endpoint_is_a_path_in_any_spelling(#[case] text: &str) {
    let config = node(&["--endpoint", text]).unwrap();
    assert_eq!(config.endpoint, PathBuf::from("/run/csi.sock"));
}

#[test]
fn a_device_with_a_name_needs_an_address_for_the_nodes() {
    let files = files();
    let error = controller(&files, &["--rds-address=rds.example"]).unwrap_err();
    assert_eq!(flags(&error), ["nvme-address"]);
    let config = controller(
        &files,
        &["--rds-address=rds.example", "--nvme-address=10.1.0.1"],
    );
    assert_eq!(config.unwrap().settings().rds_address, None);
}

#[test]
fn a_configuration_shows_no_key() {
    let config = controller(&files(), &["--rds-host-key", HOST_KEY]).unwrap();
    assert_eq!(config.rds.host_keys.len(), 2);
    let shown = format!("{config:?}");
    assert!(shown.contains("id_ed25519") && !shown.contains("a secret"));
}

#[test]
fn the_admin_port_can_be_off() {
    assert_eq!(node(&["--admin-listen=off"]).unwrap().admin, None);
}
