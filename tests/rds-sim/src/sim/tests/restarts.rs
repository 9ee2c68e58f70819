//! What survives a restart, a reboot and a power cut.

use std::time::Duration;

use super::client::Ssh;
use super::{ADD, has, sim, until};
use crate::fault::Fault;
use crate::sim::{Options, Sim};
use crate::variants::Variants;

#[tokio::test]
async fn a_restart_keeps_items_keys_and_addresses() {
    let sim = sim().await;
    Ssh::login(&sim).await.exec(ADD).await;
    let (address, host_key) = (sim.address(), sim.host_key().unwrap());
    let uuid =
        |sim: &Sim| sim.with_model(|m| m.device().item("a").unwrap().file().unwrap().uuid.clone());
    let before = uuid(&sim);
    let sim = sim.restart().await.unwrap();
    assert_eq!(
        (sim.address(), sim.host_key().unwrap()),
        (address, host_key)
    );
    assert_eq!(uuid(&sim), before);
    let (text, _) = Ssh::login(&sim)
        .await
        .exec(":put [/disk get a comment]")
        .await;
    assert_eq!(text, "mine\r\n");
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_answered_by_default() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        state_dir: Some(directory.path().join("state")),
        pool_dir: Some(directory.path().join("pool")),
        ..Options::default()
    };
    let sim = Sim::start(options.clone()).await.unwrap();
    assert_eq!(Ssh::login(&sim).await.exec(ADD).await.1, Some(0));
    let host_key = sim.host_key().unwrap();
    sim.power_cut().await;
    let again = Sim::start(options).await.unwrap();
    assert!(has(&again, "a"));
    assert_eq!(again.host_key().unwrap(), host_key);
}

#[tokio::test]
async fn a_power_cut_loses_configuration_that_is_not_saved_and_keeps_the_file() {
    let variants = Variants {
        config_loss_seconds: 40,
        ..Variants::default()
    };
    let options = Options {
        variants,
        ..Options::default()
    };
    let sim = Sim::start(options).await.unwrap();
    Ssh::login(&sim).await.exec(ADD).await;
    sim.inject(Fault::Reboot {
        down_ms: 0,
        mount_ms: 0,
        power_cut: true,
    })
    .unwrap();
    until(|| sim.with_model(|model| model.device().boots == 2)).await;
    assert!(!has(&sim, "a"));
    assert!(sim.pool_dir().join("storage-pool/csi/a.img").exists());
}

#[tokio::test]
async fn after_a_reboot_items_are_there_before_the_pool_is() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    ssh.exec(ADD).await;
    ssh.exec("/disk set a nvme-tcp-export=yes").await;
    assert_eq!(sim.with_model(|model| model.exports().len()), 1);
    sim.inject(Fault::Reboot {
        down_ms: 50,
        mount_ms: 400,
        power_cut: false,
    })
    .unwrap();
    assert_eq!(ssh.exec(":put x").await.1, None, "the connection is gone");
    until(|| sim.with_model(|model| model.device().boots == 2)).await;
    assert!(has(&sim, "a"));
    assert_eq!(sim.with_model(|model| model.exports().len()), 0);
    until(|| sim.with_model(|model| model.exports().len() == 1)).await;
}

#[tokio::test]
async fn configuration_is_saved_when_its_time_has_come() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        state_dir: Some(directory.path().join("state")),
        pool_dir: Some(directory.path().join("pool")),
        variants: Variants {
            config_loss_seconds: 1,
            ..Variants::default()
        },
        ..Options::default()
    };
    let sim = Sim::start(options.clone()).await.unwrap();
    Ssh::login(&sim).await.exec(ADD).await;
    let saved = directory.path().join("state/configuration.json");
    let holds = || std::fs::read_to_string(&saved).unwrap().contains("a.img");
    assert!(!holds());
    until(holds).await;
    sim.power_cut().await;
    assert!(has(&Sim::start(options).await.unwrap(), "a"));
}

#[tokio::test]
async fn a_late_pool_after_the_start_delays_exports_and_not_items() {
    let sim = sim().await;
    let ssh = Ssh::login(&sim).await;
    ssh.exec(ADD).await;
    ssh.exec("/disk set a nvme-tcp-export=yes").await;
    sim.with_model(|model| model.mount_pool_after(Duration::from_millis(300)));
    assert!(has(&sim, "a"));
    assert!(sim.with_model(|model| model.exports().is_empty()));
    until(|| sim.with_model(|model| model.exports().len() == 1)).await;
}
