//! What the command line and the environment may say, and how a bad word is refused.

use clap::Parser;
use rstest::rstest;

use super::*;
use crate::args::{Cli, Command};

fn serve(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
    let base = ["--tls-cert=c", "--tls-key=k"];
    bare(&[&base, flags].concat())
}

fn own(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
    let base = [
        "--certificates=self",
        "--namespace=rds-csi",
        "--service-name=hook",
        "--secret-name=hook-tls",
        "--configuration-name=hook",
    ];
    bare(&[&base, flags].concat())
}

fn bare(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
    let cli = Cli::try_parse_from([&["rds-csi-webhook", "serve"], flags].concat()).unwrap();
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
    assert_eq!(
        (config.classes, config.kubeconfig),
        (ClassSource::Cluster, None)
    );
    assert_eq!(config.tls_reload_interval, Duration::from_secs(10));
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
fn the_webhook_makes_its_own_certificate_where_it_is_told_the_names() {
    let config = own(&[]).unwrap();
    let CertificateConfig::Own(settings) = config.certificate else {
        panic!("self was asked for")
    };
    assert_eq!(settings.secret, "hook-tls");
    let hours = Duration::from_hours;
    let lifetimes = (settings.lifetimes.ca, settings.lifetimes.leaf);
    assert_eq!(lifetimes, (hours(8760), hours(2160)));
    assert_eq!(settings.lifetimes.lead, Duration::from_secs(60));
    let config = own(&["--storage-classes=a", "--kubeconfig=k"]).unwrap();
    assert_eq!(config.kubeconfig, Some("k".into()));
    assert_eq!(config.classes, ClassSource::Files(vec!["a".into()]));
}

#[rstest]
#[case("--namespace", "", "lower-case letters")]
#[case("--namespace", "a.b", "lower-case letters")]
#[case("--service-name", "-a", "lower-case letters")]
#[case("--secret-name", "A", "lower-case letters")]
#[case("--secret-name", "a..b", "lower-case letters")]
#[case("--configuration-name", "a/b", "lower-case letters")]
#[case("--leaf-lifetime", "44s", "from 45s to")]
#[case("--ca-lifetime", "2160h", "from 23328000s to")]
#[case("--ca-lead-time", "25h", "from 10ms to 86400s")]
fn a_bad_name_or_life_is_named_with_what_is_allowed(
    #[case] flag: &str,
    #[case] value: &str,
    #[case] allowed: &str,
) {
    let names = [
        "namespace",
        "service-name",
        "secret-name",
        "configuration-name",
    ];
    let others = names
        .map(|name| format!("--{name}=fine"))
        .into_iter()
        .filter(|other| !other.starts_with(flag));
    let mut flags: Vec<String> = others.collect();
    flags.extend(["--certificates=self".to_owned(), format!("{flag}={value}")]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let error = bare(&flags).unwrap_err().to_string();
    assert!(
        error.starts_with(flag) && error.contains(allowed),
        "{error}"
    );
}

/// One that is due has the time of the longest pause left, and some more.
#[rstest]
#[case("10s", "45s", true)]
#[case("1m", "45s", false)]
#[case("1m", "4m30s", true)]
#[case("10ms", "3s", true)]
#[case("10ms", "2s", false)]
fn a_certificate_lasts_long_enough_to_be_looked_after(
    #[case] interval: &str,
    #[case] life: &str,
    #[case] is_taken: bool,
) {
    let flags = [
        format!("--tls-reload-interval={interval}"),
        format!("--leaf-lifetime={life}"),
        "--ca-lead-time=10ms".to_owned(),
    ];
    let flags = flags.each_ref().map(String::as_str);
    assert_eq!(own(&flags).is_ok(), is_taken);
}

#[test]
fn files_are_needed_where_the_webhook_makes_no_certificate() {
    for given in ["--tls-cert=c", "--tls-key=k"] {
        let error = bare(&[given]).unwrap_err().to_string();
        assert!(error.contains("--certificates self"), "{error}");
    }
    let error = bare(&["--certificates=self"]).unwrap_err().to_string();
    assert!(error.starts_with("--namespace"), "{error}");
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
