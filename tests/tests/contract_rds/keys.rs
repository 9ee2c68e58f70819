//! Which keys of the user and of the device are taken: Ed25519 is what all other tests
//! use, so this is about RSA, the forms of key files, and what is said of other keys.

use std::path::Path;
use std::time::Duration;

use rds_csi_core::kind::{Chain, Failure, Kind};
use rds_csi_routeros::client::RdsClient;
use rds_csi_routeros::{Rds, RdsConfig, RdsError};
use rds_sim::{Options, Sim};
use rstest::rstest;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Makes a key pair and returns the public half. By the program that people use: its
/// files are the ones that the driver is given.
#[expect(clippy::disallowed_methods, reason = "what a person runs")]
fn keygen(path: &Path, options: &[&str]) -> String {
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-C", "test", "-f"])
        .arg(path)
        .args(options)
        .status();
    assert!(made.unwrap().success(), "{options:?}");
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

/// A device that knows the public key, and what a client of it is told.
async fn device(directory: &TempDir, public: &str) -> (Sim, RdsConfig) {
    let options = Options {
        authorized_keys: vec![public.to_owned()],
        state_dir: Some(directory.path().join("state")),
        ..Options::default()
    };
    let sim = Sim::start(options).await.unwrap();
    let host_key = sim.host_key().unwrap().parse().unwrap();
    let mut config = RdsConfig::new(
        sim.address().into(),
        sim.user().to_owned(),
        directory.path().join("key"),
        vec![host_key],
    );
    config.command_timeout = Duration::from_secs(5);
    (sim, config)
}

async fn ask(config: RdsConfig) -> Result<(), RdsError> {
    let rds = RdsClient::start(config, &TaskTracker::new(), CancellationToken::new());
    rds.inventory().await.map(drop)
}

#[rstest]
#[case::openssh(&[])]
#[case::pkcs1(&["-m", "PEM"])]
#[case::pkcs8(&["-m", "PKCS8"])]
#[tokio::test]
async fn a_user_with_an_rsa_key_is_let_in(#[case] form: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let options = [&["-t", "rsa", "-b", "2048", "-N", ""], form].concat();
    let public = keygen(&directory.path().join("key"), &options);
    let (sim, config) = device(&directory, &public).await;
    ask(config).await.unwrap();
    assert_eq!(sim.counters().logins, 1);
}

#[tokio::test]
async fn a_device_with_an_rsa_key_is_talked_to_if_that_key_is_pinned_and_not_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let rsa = ["-t", "rsa", "-b", "2048", "-N", ""];
    keygen(&state.join("host_key"), &rsa);
    let public = keygen(&directory.path().join("key"), &["-t", "ed25519", "-N", ""]);
    let (sim, config) = device(&directory, &public).await;
    assert!(sim.host_key().unwrap().starts_with("ssh-rsa "));
    ask(config.clone()).await.unwrap();

    let another = keygen(&directory.path().join("another"), &rsa);
    let pinned = RdsConfig {
        host_keys: vec![another.parse().unwrap()],
        ..config
    };
    let error = ask(pinned).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    let text = Chain(&error).to_string();
    assert!(text.contains("WRONG HOST KEY"), "{text}");
    assert_eq!(sim.counters().logins, 1);
}

/// Nothing is final about a key file: a Secret may be repaired while the controller runs.
#[rstest]
#[case::encrypted(&["-t", "ed25519", "-N", "a passphrase"], "not an unencrypted private key")]
#[case::ecdsa(&["-t", "ecdsa", "-N", ""], "RouterOS takes Ed25519 and RSA")]
#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_named_and_not_shown(
    #[case] options: &[&str],
    #[case] words: &str,
) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let public = keygen(&path, options);
    let (sim, config) = device(&directory, &public).await;
    let error = ask(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    let text = Chain(&error).to_string();
    assert!(
        text.contains(words) && text.contains(path.to_str().unwrap()),
        "{text}"
    );
    let secret = std::fs::read_to_string(&path).unwrap();
    assert!(!secret.lines().any(|line| text.contains(line)), "{text}");

    // What lies in its place is no key either.
    for content in ["", "garbage", &"\0".repeat(1 << 20)] {
        std::fs::write(&path, content).unwrap();
        let text = Chain(&ask(config.clone()).await.unwrap_err()).to_string();
        assert!(text.contains("not an unencrypted private key"), "{text}");
    }
    assert_eq!(sim.counters().logins, 0);
}
