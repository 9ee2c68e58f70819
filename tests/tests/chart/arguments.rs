//! Every argument in a manifest is one that its program takes, values included.

use std::fs;

use clap::Parser as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use rds_csi_core::attachment::{Mode, Rule, Seat};
use rds_csi_driver::config::{Config, Role};
use rds_csi_tests::tool::{self, Ended};
use rds_csi_webhook::config::{LogConfig, ServeConfig};
use rstest::rstest;

use crate::helm::{Release, render, sets};

pub(crate) fn controller(release: &Release) -> PodSpec {
    pod(release.one::<Deployment>("-controller"))
}

pub(crate) fn webhook(release: &Release) -> PodSpec {
    pod(release.one::<Deployment>("-webhook"))
}

pub(crate) fn node(release: &Release) -> PodSpec {
    let set: DaemonSet = release.one("-node");
    set.spec.unwrap().template.spec.unwrap()
}

fn pod(deployment: Deployment) -> PodSpec {
    deployment.spec.unwrap().template.spec.unwrap()
}

/// A container's arguments behind the name of its program.
fn command_line(container: &Container) -> Vec<String> {
    let program = container.name.clone();
    let arguments = container.args.clone().unwrap();
    [program].into_iter().chain(arguments).collect()
}

/// The driver's own reading of a container's arguments.
fn configuration(container: &Container) -> Config {
    driver_reads(command_line(container)).unwrap()
}

/// The driver's own reading of a command line, or why it would not start.
fn driver_reads(line: Vec<String>) -> Result<Config, String> {
    let scratch = tempfile::NamedTempFile::new().unwrap();
    fs::write(&scratch, "a key").unwrap();
    let line: Vec<String> = line
        .into_iter()
        .map(|argument| argument.replace("/ssh/key", scratch.path().to_str().unwrap()))
        .map(|argument| argument.replace("$(NODE_NAME)", "worker-1.example.com"))
        .collect();
    let cli = rds_csi_driver::args::Cli::try_parse_from(&line).map_err(|e| e.to_string())?;
    Config::try_from(&cli).map_err(|error| error.to_string())
}

fn webhook_reads(line: Vec<String>) -> Result<ServeConfig, String> {
    let cli = rds_csi_webhook::args::Cli::try_parse_from(line).map_err(|e| e.to_string())?;
    let rds_csi_webhook::args::Command::Serve(arguments) = cli.command else {
        return Err("not serve".to_owned());
    };
    LogConfig::try_from(&*arguments).map_err(|error| error.to_string())?;
    ServeConfig::try_from(&*arguments).map_err(|error| error.to_string())
}

fn is_of(flag: &str, argument: &str) -> bool {
    argument.split('=').next() == Some(flag)
}

/// Gives a flag of a command line another value.
fn set(line: &mut [String], flag: &str, value: &str) {
    let argument = line.iter_mut().find(|argument| is_of(flag, argument));
    *argument.unwrap() = format!("{flag}={value}");
}

/// Whether all programs that have a flag start with this value of it, or why one does not.
pub(crate) fn start_with(flag: &str, value: &str) -> Result<(), String> {
    let release = render("minimal");
    let pods = [controller(&release), node(&release), webhook(&release)];
    let mut asked = 0;
    for mut line in pods.map(|pod| command_line(&pod.containers[0])) {
        if !line.iter().any(|argument| is_of(flag, argument)) {
            continue;
        }
        asked += 1;
        set(&mut line, flag, value);
        if line[0] == "webhook" {
            webhook_reads(line)?;
        } else {
            driver_reads(line)?;
        }
    }
    assert!(asked > 0, "no program has {flag}");
    Ok(())
}

/// The chart refuses durations in sentences of its own: by the ranges of the programs, each of
/// which takes the ends and nothing beyond.
#[rstest]
#[case("--rds-command-timeout", ["1s", "5m"], ["0s", "5m1s"])]
#[case("--connect-timeout", ["1s", "5m"], ["0s", "5m1s"])]
#[case("--leaf-lifetime", ["45s", "8760h"], ["44s", "8760h1s"])]
#[case("--ca-lifetime", ["6480h", "87600h"], ["6479h", "87600h1s"])]
#[case("--ca-lead-time", ["1s", "24h"], ["0s", "24h1s"])]
fn the_ranges_of_durations_are_those_of_the_programs(
    #[case] flag: &str,
    #[case] taken: [&str; 2],
    #[case] refused: [&str; 2],
) {
    let release = render("minimal");
    let pods = [controller(&release), node(&release), webhook(&release)];
    let mut lines = pods.iter().map(|pod| command_line(&pod.containers[0]));
    let has = |line: &Vec<String>| line.iter().any(|argument| is_of(flag, argument));
    let line = lines.find(has).unwrap();
    let read = |value: &str| {
        let mut line = line.clone();
        if flag == "--leaf-lifetime" {
            // The others are bounded by it.
            set(&mut line, "--ca-lead-time", "10ms");
            set(&mut line, "--ca-lifetime", "87600h");
        }
        set(&mut line, flag, value);
        if line[0] == "webhook" {
            webhook_reads(line).map(drop)
        } else {
            driver_reads(line).map(drop)
        }
    };
    for value in taken {
        assert_eq!(read(value), Ok(()), "{flag}={value}");
    }
    for value in refused {
        assert!(read(value).is_err(), "{flag}={value} is taken");
    }
}

#[test]
fn the_driver_takes_the_arguments_of_the_controller() {
    for set in sets() {
        let release = render(&set);
        let Role::Controller(config) = configuration(&controller(&release).containers[0]).role
        else {
            panic!("{set}: not a controller");
        };
        let relaxed = if set == "full" {
            Mode::Warn
        } else {
            Mode::Enforce
        };
        assert_eq!(config.modes.of(Rule::SameMachine, Seat::Driver), relaxed);
        let expected = if set == "full" { 125 } else { 100 };
        assert_eq!(config.overcommit_percent, expected);
        assert_eq!(
            config.rds.host_keys.len(),
            if set == "full" { 2 } else { 1 }
        );
    }
}

#[test]
fn the_driver_takes_the_arguments_of_the_node() {
    for set in sets() {
        let release = render(&set);
        let Role::Node(config) = configuration(&node(&release).containers[0]).role else {
            panic!("{set}: not a node");
        };
        assert_eq!(config.node_name, "worker-1.example.com");
        assert_eq!(config.max_volumes, (set == "full").then_some(128));
    }
}

/// Volumes are found by these: a node that computed others would connect to nothing.
#[test]
fn controller_and_nodes_are_told_the_same() {
    for set in sets() {
        let release = render(&set);
        let (Role::Controller(controller), Role::Node(node)) = (
            configuration(&controller(&release).containers[0]).role,
            configuration(&node(&release).containers[0]).role,
        ) else {
            panic!("{set}: other roles");
        };
        assert_eq!(controller.driver_name, node.driver_name);
        assert_eq!(controller.cluster_id, node.cluster_id);
        assert_eq!(controller.nqn_prefix, node.nqn_prefix);
    }
}

#[test]
fn the_webhook_takes_its_arguments() {
    for set in sets().iter().filter(|set| *set != "driver-only") {
        let release = render(set);
        let line = command_line(&webhook(&release).containers[0]);
        let config = webhook_reads(line).unwrap();
        let Role::Node(node) = configuration(&node(&release).containers[0]).role else {
            panic!("{set}: not a node");
        };
        assert_eq!(config.driver, node.driver_name);
    }
}

/// How a sidecar ends with the arguments of its container and one more. `--version` has it end
/// once it has read them all, before it looks for a cluster.
fn sidecar(container: &Container, more: &[&str]) -> Ended {
    let mut arguments = container.args.clone().unwrap();
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    arguments.push("--version".to_owned());
    tool::run(&container.name, &arguments).unwrap()
}

#[test]
fn the_sidecars_take_their_arguments() {
    for set in sets() {
        for container in &controller(&render(&set)).containers[1..] {
            let ended = sidecar(container, &[]);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(ended.success, "{set} {}: {said}", container.name);
        }
    }
}

/// How kubectl ends with the command of the Job that fills CDI's profiles, and more. It reads its
/// arguments before it prints its help.
fn profiles(more: &[&str]) -> Ended {
    let job = render("full").one::<Job>("");
    let pod = job.spec.unwrap().template.spec.unwrap();
    let mut command = pod.containers[0].command.clone().unwrap();
    let program = command.remove(0);
    command.extend(more.iter().map(|text| (*text).to_owned()));
    tool::run(&program, &command).unwrap()
}

#[test]
fn kubectl_takes_its_arguments() {
    let ended = profiles(&["--help"]);
    assert!(ended.success, "{}", ended.stderr);
    let ended = profiles(&["--no-such-flag", "--help"]);
    assert!(!ended.success, "{}", ended.stdout);
}

/// Or the test above would show nothing.
#[test]
fn a_sidecar_refuses_what_it_cannot_read_although_it_is_asked_for_its_version() {
    for container in &controller(&render("minimal")).containers[1..] {
        for bad in [
            "--timeout=60",
            "--kube-api-qps=many",
            "--v=loud",
            "--no-such-flag",
        ] {
            let ended = sidecar(container, &[bad]);
            assert!(!ended.success, "{} takes {bad}", container.name);
        }
    }
}

/// What a takeover takes at most: the lease, and the pause until the leader was last seen and the
/// one until it is seen to be silent. client-go waits for 1 to 2.2 retry periods each time. What is
/// left is for the work itself.
#[test]
fn another_replica_takes_over_within_20_seconds() {
    for set in sets() {
        for container in &controller(&render(&set)).containers[1..] {
            let seconds = |flag: &str| -> u32 {
                let arguments = container.args.as_deref().unwrap();
                let value = arguments.iter().find_map(|a| a.strip_prefix(flag)).unwrap();
                value.trim_end_matches('s').parse().unwrap()
            };
            let lease = seconds("--leader-election-lease-duration=");
            let renew = seconds("--leader-election-renew-deadline=");
            let retry = seconds("--leader-election-retry-period=");
            assert!(retry < renew && renew < lease, "{set}");
            if set != "full" {
                assert!(10 * lease + 2 * 22 * retry <= 150, "{set}");
            }
        }
    }
}

#[test]
fn a_pod_is_given_longer_to_end_than_its_program_takes() {
    let release = render("minimal");
    for pod in [controller(&release), node(&release), webhook(&release)] {
        let arguments = pod.containers[0].args.as_deref().unwrap();
        let seconds = |flag: &str| -> i64 {
            let value = arguments.iter().find_map(|a| a.strip_prefix(flag));
            value.map_or(0, |text| text.trim_end_matches('s').parse().unwrap())
        };
        let own = seconds("--shutdown-delay=") + seconds("--shutdown-grace=");
        assert!(own > 0 && pod.termination_grace_period_seconds.unwrap() > own);
    }
}
