//! The program as people and pipelines run it.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn fixture(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/manifests")
        .join(name)
        .display()
        .to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is started as a user would start it"
)]
fn program(path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args);
    command
}

fn webhook(args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_rds-csi-webhook"), args);
    command.env_clear();
    command
}

fn run(args: &[&str], stdin: &str) -> Output {
    let mut child = webhook(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its flags does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn good_manifests_exit_with_0() {
    let output = run(&["check", "-f", &fixture("good")], "");
    let page = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{page}");
    assert_eq!(
        page,
        "3 objects checked, 0 refused, 0 warnings, 1 of other kinds skipped\n"
    );
}

#[test]
fn a_refused_manifest_exits_with_1_and_says_where() {
    let bad = fixture("bad/claim.yaml");
    let output = run(&["check", "-f", &fixture("good"), "-f", &bad], "");
    let page = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{page}");
    let line = format!("{bad}:2 (PersistentVolumeClaim app/shared): spec.accessModes[0]: ");
    assert!(page.starts_with(&line), "{page}");
}

#[test]
fn standard_input_is_checked_against_classes_from_elsewhere() {
    let claim = std::fs::read_to_string(fixture("bad/claim.yaml")).unwrap();
    let classes = fixture("good/class.yaml");
    let args = [
        "check",
        "-f",
        "-",
        "--storage-classes",
        &classes,
        "--output",
        "json",
    ];
    let output = run(&args, &claim);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["checked"], &report["refused"]),
        (&1.into(), &1.into())
    );
    assert_eq!(report["findings"][0]["name"], "shared");
}

#[test]
fn warnings_fail_only_when_strict() {
    let claim = std::fs::read_to_string(fixture("bad/claim.yaml")).unwrap();
    assert_eq!(run(&["check", "-f", "-"], &claim).status.code(), Some(0));
    let output = run(&["check", "-f", "-", "--strict"], &claim);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("warning: "));
}

#[test]
fn input_that_cannot_be_read_and_bad_flags_exit_with_2() {
    let broken = run(&["check", "-f", "-"], "a: [\n");
    assert_eq!(broken.status.code(), Some(2));
    assert!(text(&broken.stdout).contains("-:1 (line "));
    let missing = run(&["check", "-f", "/nonexistent/x.yaml"], "");
    assert_eq!(missing.status.code(), Some(2));
    for args in [
        &["check"][..],
        &["check", "-f", "-", "--output", "xml"],
        &["check", "-f", "-", "--driver-name", "No Name"],
    ] {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_bad_flag_of_serve_exits_with_64_and_names_it() {
    let files = ["serve", "--tls-cert", "c", "--tls-key", "k"];
    let output = run(&[&files[..], &["--request-timeout", "soon"]].concat(), "");
    assert_eq!(output.status.code(), Some(64));
    let line = text(&output.stderr);
    assert!(
        line.starts_with("rds-csi-webhook: --request-timeout: \"soon\" is not allowed"),
        "{line}"
    );
    assert_eq!(run(&["serve"], "").status.code(), Some(64));
    assert_eq!(run(&[], "").status.code(), Some(64));
}

#[test]
fn a_certificate_that_is_not_there_is_an_error_with_its_name() {
    let args = [
        "serve",
        "--tls-cert",
        "/nonexistent/tls.crt",
        "--tls-key",
        "k",
        "--storage-classes",
        "/nonexistent/classes",
        "--log-format",
        "json",
    ];
    let output = run(&args, "");
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let error = last["error"].as_str().unwrap();
    assert!(
        error.contains("loading the certificate: reading /nonexistent/tls.crt"),
        "{log}"
    );
}

#[test]
fn help_and_version_are_printed() {
    for (args, expected) in [
        (&["--version"][..], "rds-csi-webhook 0."),
        (&["--help"], "check"),
        (&["serve", "--help"], "RDS_CSI_WEBHOOK_TLS_CERT"),
        (&["check", "--help"], "Exit codes"),
    ] {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains(expected), "{args:?}");
    }
}

/// A webhook that listens, started with these flags besides what it needs.
fn serving(directory: &std::path::Path, flags: &[&str]) -> (Child, impl Iterator<Item = String>) {
    let pair = rcgen::generate_simple_self_signed(["webhook.example".to_owned()]).unwrap();
    let file = |name: &str| directory.join(name).display().to_string();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let classes = fixture("good/class.yaml");
    let mut child = webhook(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
    ])
    .args(["--tls-cert", &certificate, "--tls-key", &key])
    .args(["--storage-classes", &classes, "--log-format=json"])
    .args(flags)
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    log.find(|line| line.contains("\"listening\"")).unwrap();
    (child, log)
}

fn terminate(child: &Child) {
    let sent = program("kill", &["-TERM", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_signal_ends_the_webhook_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, _log) = serving(directory.path(), &["--shutdown-delay=0s"]);
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, mut log) = serving(directory.path(), &["--shutdown-delay=1m"]);
    terminate(&child);
    log.find(|line| line.contains("not ready any more"))
        .unwrap();
    terminate(&child);
    let last = log.last().unwrap();
    assert!(last.contains("a second signal"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
