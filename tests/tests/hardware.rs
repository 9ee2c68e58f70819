//! The questions to a real device, put to the simulator, which knows its own answers.
#![expect(clippy::unwrap_used, reason = "all of this is test code")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use rds_sim::{Options, Sim, Variants};

/// Asks a simulator that was started with these switches.
async fn ask(switches: &[&str]) -> (Output, Sim) {
    let mut variants = Variants::default();
    for switch in switches {
        variants.set_pair(switch).unwrap();
    }
    let sim = Sim::start(Options {
        variants,
        ..Options::default()
    })
    .await
    .unwrap();
    (run(&sim).await, sim)
}

async fn run(sim: &Sim) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let (key, known) = (
        directory.path().join("key"),
        directory.path().join("known_hosts"),
    );
    std::fs::write(&key, sim.client_key().unwrap()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let address = sim.address();
    let host_key = sim.host_key().unwrap();
    std::fs::write(
        &known,
        format!("[{}]:{} {host_key}\n", address.ip(), address.port()),
    )
    .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/hardware");
    #[expect(
        clippy::disallowed_methods,
        reason = "a script of the repository, as a person starts it"
    )]
    let mut command = tokio::process::Command::new(script);
    let asked = command
        .args([
            "--address",
            &address.to_string(),
            "--user",
            sim.user(),
            "--key",
            key.to_str().unwrap(),
        ])
        .args(["--known-hosts", known.to_str().unwrap()])
        .kill_on_drop(true);
    asked.output().await.unwrap()
}

fn answers(output: &Output) -> BTreeMap<String, String> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let pair = |line: &str| {
        let (pair, _) = line.split_once(" # ")?;
        let (name, value) = pair.trim().split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Every answer must be the switch's value; those not asked about are the defaults.
async fn finds(switches: &[&str]) {
    let (output, sim) = ask(switches).await;
    let answers = answers(&output);
    assert!(answers.len() >= 19, "{answers:?}");
    let mut expected = Variants::default();
    for switch in switches {
        expected.set_pair(switch).unwrap();
    }
    for (name, value) in expected.values() {
        if let Some(answer) = answers.get(name) {
            assert_eq!(*answer, value.to_string(), "{name}: {output:?}");
        }
    }
    let state = sim.state().to_string();
    assert!(!state.contains("rdsprobe"), "left on the device: {state}");
}

#[tokio::test]
async fn the_simulators_defaults_are_found() {
    finds(&[]).await;
}

#[tokio::test]
async fn other_behaviours_are_found() {
    finds(&[
        "error-status=one",
        "width=none",
        "line-ends=lf",
        "empty-print=nothing",
        "empty-find=no-such-item",
    ])
    .await;
    finds(&[
        "slot-limit=accept",
        "duplicate-slot=rename",
        "duplicate-nqn=reject",
        "duplicate-file=reject",
    ])
    .await;
    finds(&[
        "slot-limit=truncate",
        "add-over-file=fail",
        "file-remove-in-use=fail",
        "shrink=reject",
    ])
    .await;
    finds(&[
        "json-numbers=float",
        "booleans=yes-no",
        "server-properties=always",
        "abort-on-failure=no",
        "onerror=no",
    ])
    .await;
    finds(&[
        "json-numbers=text",
        "server-properties=exported",
        "plain-bytes=reject",
        "clock-format=legacy",
    ])
    .await;
}

#[tokio::test]
async fn what_is_in_the_way_is_left_alone() {
    let sim = Sim::start(Options::default()).await.unwrap();
    let item =
        "/disk add type=file slot=rdsprobe-b file-path=/storage-pool/mine.img file-size=16777216";
    sim.with_model(|model| model.exec(item));
    let held = || (sim.state()["device"].clone(), sim.state()["files"].clone());
    let before = held();
    let output = run(&sim).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("rdsprobe-b"),
        "{output:?}"
    );
    assert_eq!(held(), before);
}
