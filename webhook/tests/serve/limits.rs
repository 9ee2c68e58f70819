//! Slow, silent and too many clients.

use std::time::Duration;

use rds_csi_webhook::server::{KEPT_BY_API_SERVERS, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::Protocol;
use crate::harness::{Running, claim, eventually, within};

const HEAD: &str = "POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

async fn still_answers(running: &Running) {
    let mut client = running.client(Protocol::Http2).await;
    client
        .review(&claim("ReadWriteOnce", "Block"))
        .await
        .unwrap();
}

/// Everything until the other side closes, in whatever way.
async fn drain(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    // A reset in place of an orderly end is an end too.
    let _ = within(stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_client_without_a_handshake_is_cut_off() {
    let running = Running::start().await;
    let mut stream = TcpStream::connect(running.reviews).await.unwrap();
    assert_eq!(drain(&mut stream).await, "");
    let mut stream = TcpStream::connect(running.reviews).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    drain(&mut stream).await;
    still_answers(&running).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_after_the_handshake_is_cut_off() {
    let running = Running::start().await;
    for alpn in ["http/1.1", "h2"] {
        let mut stream = running.connect(alpn).await.unwrap();
        drain(&mut stream).await;
    }
    still_answers(&running).await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let running = Running::start().await;
    let mut stream = running.connect("http/1.1").await.unwrap();
    let started = Instant::now();
    let drip = async {
        stream.write_all(HEAD.as_bytes()).await?;
        loop {
            stream.write_all(b"x-a: b\r\n").await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        std::io::Result::Ok(())
    };
    within(drip).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    still_answers(&running).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_and_does_not_hold_a_slot() {
    let running = Running::with(|config| {
        config.limits.request = Duration::from_millis(200);
        config.limits.concurrent = 1;
    })
    .await;
    let mut stream = running.connect("http/1.1").await.unwrap();
    let head = format!("{HEAD}content-length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = drain(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    still_answers(&running).await;
}

#[tokio::test]
async fn more_reviews_than_slots_are_shed_and_the_one_under_way_is_answered() {
    let running = Running::with(|config| {
        config.limits.concurrent = 1;
        config.limits.request = Duration::from_secs(10);
        config.limits.idle = Duration::from_secs(30);
    })
    .await;
    let body = claim("ReadWriteMany", "Block").to_string();
    let (first, second) = body.split_at(10);
    let mut slow = running.connect("http/1.1").await.unwrap();
    let head = format!(
        "{HEAD}connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(first.as_bytes()).await.unwrap();
    slow.flush().await.unwrap();
    eventually("a second review is shed", async || {
        let mut other = running.connect("http/1.1").await.unwrap();
        let request = format!(
            "{HEAD}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        other.write_all(request.as_bytes()).await.unwrap();
        let answer = drain(&mut other).await;
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n")
    })
    .await;
    assert!(running.metrics.shed.get() >= 1);
    slow.write_all(second.as_bytes()).await.unwrap();
    let answer = drain(&mut slow).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"allowed\":true"),
        "{answer}"
    );
    still_answers(&running).await;
    running.finish().await.unwrap();
}

/// An API server opens a connection for each review under way, and asks for none a second time.
#[tokio::test]
async fn a_connection_beyond_those_allowed_waits_for_a_place_and_still_more_are_closed() {
    let running = Running::with(|config| {
        config.limits.connections = 1;
        config.limits.head = Duration::from_secs(10);
        config.limits.idle = Duration::from_secs(30);
    })
    .await;
    let mut first = running.client(Protocol::Http1).await;
    let body = claim("ReadWriteOnce", "Block");
    let second = async { running.client(Protocol::Http1).await.review(&body).await };
    let mut second = std::pin::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "it was not its turn");
    assert_eq!(running.metrics.refused_connections.get(), 0);
    let mut waiting = Vec::new();
    eventually("one more is closed", async || {
        waiting.push(TcpStream::connect(running.reviews).await.unwrap());
        running.metrics.refused_connections.get() > 0
    })
    .await;
    first.review(&body).await.unwrap();
    drop(first);
    within(second).await.unwrap();
}

/// A review that is sent while its connection is closed is lost.
#[test]
fn connections_are_kept_for_longer_than_api_servers_keep_them() {
    let limits = Limits::default();
    assert!(limits.head > KEPT_BY_API_SERVERS);
    assert!(limits.idle > KEPT_BY_API_SERVERS);
}

#[tokio::test]
async fn an_idle_http2_connection_that_answers_pings_is_kept() {
    let running = Running::start().await;
    let mut client = running.client(Protocol::Http2).await;
    let answered = client.review(&claim("ReadWriteOnce", "Block")).await;
    answered.unwrap();
    // Twice the idle limit.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    let answered = client.review(&claim("ReadWriteOnce", "Block")).await;
    answered.unwrap();
    running.finish().await.unwrap();
}
