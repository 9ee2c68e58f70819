//! The orderly end.

use std::time::Duration;

use rds_csi_webhook::serve::{ServeError, Webhook};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::Protocol;
use crate::harness::{Running, claim, eventually, limits, within};

/// A request of which only the head and a part of the body have been sent, and the rest.
fn halves() -> (String, String) {
    let body = claim("ReadWriteOnce", "Filesystem").to_string();
    let (first, second) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    (head, second.to_owned())
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_then_nobody_listens() {
    let mut running = Running::with(|config| {
        config.limits.request = Duration::from_secs(10);
        config.limits.idle = Duration::from_secs(30);
        config.shutdown_delay = Duration::from_millis(500);
    })
    .await;
    let (first, second) = halves();
    let mut slow = running.connect("http/1.1").await.unwrap();
    slow.write_all(first.as_bytes()).await.unwrap();
    slow.flush().await.unwrap();
    running.stop.cancel();
    eventually("it is not ready any more", async || {
        running.admin("/readyz").await == (503, "stopping".to_owned())
    })
    .await;
    // New connections are still answered until endpoints had time to follow, each once.
    let mut client = running.client(Protocol::Http2).await;
    client
        .review(&claim("ReadWriteOnce", "Block"))
        .await
        .unwrap();
    let mut last = running.connect("http/1.1").await.unwrap();
    let (first_half, second_half) = halves();
    let request = first_half + &second_half;
    last.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(last.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    eventually("new connections are refused", async || {
        TcpStream::connect(running.reviews).await.is_err()
    })
    .await;
    slow.write_all(second.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(slow.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ended = within(running.serving.join_next()).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_outlive_the_grace() {
    let running = Running::with(|config| {
        config.limits.request = Duration::from_secs(30);
        config.limits.idle = Duration::from_secs(30);
        config.shutdown_grace = Duration::from_millis(200);
    })
    .await;
    let mut slow = running.connect("http/1.1").await.unwrap();
    slow.write_all(halves().0.as_bytes()).await.unwrap();
    slow.flush().await.unwrap();
    let started = Instant::now();
    running.finish().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_taken_port_and_a_missing_certificate_are_errors_before_anything_runs() {
    let running = Running::start().await;
    let taken = running.reviews;
    let directory = tempfile::tempdir().unwrap();
    let files = rds_csi_webhook::tls::files::CertificateFiles {
        certificate: directory.path().join("tls.crt"),
        key: directory.path().join("tls.key"),
    };
    let mut config = rds_csi_webhook::config::ServeConfig {
        driver: "rds.csi.srvlab.io".parse().unwrap(),
        listen: taken,
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        certificate: rds_csi_webhook::config::CertificateConfig::Files(files.clone()),
        kubeconfig: None,
        modes: rds_csi_core::attachment::Modes::default(),
        tls_reload_interval: Duration::from_secs(1),
        classes: rds_csi_webhook::config::ClassSource::Files(vec![]),
        limits: limits(),
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::ZERO,
    };
    let error = Webhook::prepare(config.clone()).await.unwrap_err();
    assert!(matches!(error, ServeError::Certificate(_)));
    let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    let error = Webhook::prepare(config.clone()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { address, .. } if address == taken));
    config.listen = "127.0.0.1:0".parse().unwrap();
    Webhook::prepare(config).await.unwrap();
}
