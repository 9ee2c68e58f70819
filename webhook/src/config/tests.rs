//! What the command line and the environment may say, and how a bad word is refused.

use clap::Parser;
use rstest::rstest;

use super::*;
use crate::args::{Cli, Command};

fn serve(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
    let base = ["rds-csi-webhook", "serve", "--tls-cert=c", "--tls-key=k"];
    let cli = Cli::try_parse_from(base.iter().chain(flags)).unwrap();
    let Command::Serve(args) = cli.command else {
        panic!("serve was asked for")
    };
    LogConfig::try_from(&*args)?;
    ServeConfig::try_from(&*args)
}

#[test]
fn the_defaults_are_a_configuration() {
    let config = serve(&[]).unwrap();
    assert_eq!(config.listen, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.classes, ClassSource::Cluster { kubeconfig: None });
    assert_eq!(config.tls_reload_interval, Duration::from_secs(30));
}

#[rstest]
#[case("--driver-name", "No Name", "DNS subdomain")]
#[case("--listen", "8443", "an IP address and a port")]
#[case("--admin-listen", "localhost:1", "an IP address and a port")]
#[case("--tls-reload-interval", "0s", "from 10ms to 3600s")]
#[case("--request-timeout", "soon", "from 100ms to 30s")]
#[case("--request-timeout", "-1s", "from 100ms to 30s")]
#[case("--shutdown-delay", "2m", "from 0ns to 60s")]
#[case("--shutdown-grace", "1h", "from 0ns to 300s")]
#[case("--max-concurrent-requests", "0", "1 to 10000")]
#[case("--max-connections", "many", "1 to 10000")]
#[case("--log-level", "rds=loud", "error, warn, info")]
fn a_bad_flag_is_named_with_what_it_takes(
    #[case] flag: &str,
    #[case] value: &str,
    #[case] allowed: &str,
) {
    let error = serve(&[&format!("{flag}={value}")])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(flag), "{error}");
    assert!(
        error.contains(&format!("{value:?}")) && error.contains(allowed),
        "{error}"
    );
}

#[test]
fn classes_come_from_one_place() {
    let config = serve(&["--storage-classes=a.yaml:b"]).unwrap();
    assert_eq!(
        config.classes,
        ClassSource::Files(vec!["a.yaml".into(), "b".into()])
    );
    let error = serve(&["--storage-classes=a", "--kubeconfig=k"]).unwrap_err();
    assert!(error.to_string().contains("not both"), "{error}");
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}
