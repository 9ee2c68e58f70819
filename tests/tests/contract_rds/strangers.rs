//! Whatever answers on the device's port says too much, before or after it has proved
//! who it is: no caller waits for its end.

use std::time::Duration;

use rds_csi_core::kind::{Chain, Failure, Kind};
use rds_csi_routeros::client::RdsClient;
use rds_csi_routeros::{Rds, RdsConfig};
use rds_sim::Fault;
use rds_sim::fault::Harm;
use rstest::rstest;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fronts::{Volume, reconnected, ssh, ssh_with, variants};

/// Says the same again and again to whoever connects.
async fn talk(listener: TcpListener, words: Vec<u8>) {
    let mut talks = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let words = words.clone();
        talks.spawn(async move { while stream.write_all(&words).await.is_ok() {} });
    }
}

#[rstest]
#[case::lines_before_the_version(b"welcome\r\n".repeat(500))]
#[case::one_line(vec![b'x'; 4096])]
#[case::a_version_and_noise([&b"SSH-2.0-ROSSSH\r\n"[..], &[0; 4096]].concat())]
#[case::lengths_beyond_reason([&b"SSH-2.0-ROSSSH\r\n"[..], &[0xff; 4096]].concat())]
#[tokio::test]
async fn a_port_that_talks_without_end_is_given_up(#[case] words: Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = ssh(variants(&[])).await;
    let config = RdsConfig {
        address: listener.local_addr().unwrap().into(),
        connect_timeout: Duration::from_millis(500),
        ..front.config.clone()
    };
    let mut talking = JoinSet::new();
    talking.spawn(talk(listener, words));
    let rds = RdsClient::start(config, &TaskTracker::new(), CancellationToken::new());
    let asked = Instant::now();
    let error = rds.inventory().await.unwrap_err();
    assert!(
        matches!(error.kind(), Kind::Timeout | Kind::Unreachable),
        "{error:?}"
    );
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(Chain(&error).to_string().len() < 2000);
}

#[tokio::test]
async fn a_first_answer_without_end_is_cut_off_and_asked_for_again() {
    let front = ssh_with(variants(&[]), |config| config.output_limit = 64 << 10).await;
    front.rds.inventory().await.unwrap();
    let endless = Fault::on("/system resource", Harm::Endless);
    front.sim.inject(endless).unwrap();
    front.sim.inject(Fault::CutConnections).unwrap();
    while front.rds.link().connected {
        sleep(Duration::from_millis(5)).await;
    }
    let error = front.rds.inventory().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    let text = Chain(&error).to_string();
    assert!(text.contains("printed without end"), "{text}");
    reconnected(front.rds.as_ref(), &Volume::new("pvc-1")).await;
}
