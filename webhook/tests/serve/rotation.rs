//! The certificate changes while requests are running.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::client::Protocol;
use crate::harness::{Running, claim, eventually, within};

#[tokio::test]
async fn a_new_pair_is_presented_and_no_request_on_an_old_connection_fails() {
    let mut running = Running::start().await;
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Http1] {
        let mut client = running.client(protocol).await;
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        clients.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                client
                    .review(&claim("ReadWriteOnce", "Block"))
                    .await
                    .unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        let new = running.rotate();
        eventually("the new pair is presented", async || {
            running.client(Protocol::Http1).await.presented == new
        })
        .await;
        assert_eq!(running.client(Protocol::Http2).await.presented, new);
        eventually("requests go on", async || {
            answered.load(Ordering::Relaxed) > before + 10
        })
        .await;
    }
    done.store(true, Ordering::Relaxed);
    while let Some(client) = within(clients.join_next()).await {
        client.unwrap();
    }
    running.finish().await.unwrap();
}

#[tokio::test]
async fn a_broken_pair_is_counted_and_the_old_one_stays_until_a_good_one_comes() {
    let mut running = Running::start().await;
    let old = running.certificate().clone();
    for broken in ["", "garbage"] {
        let failures = running.metrics.certificate_failures.get();
        running.break_certificate(broken);
        eventually("the failure is counted", async || {
            running.metrics.certificate_failures.get() > failures
        })
        .await;
        let mut client = running.client(Protocol::Http1).await;
        assert_eq!(client.presented, old);
        client
            .review(&claim("ReadWriteOnce", "Block"))
            .await
            .unwrap();
        assert_eq!(running.admin("/readyz").await.0, 200);
    }
    let new = running.rotate();
    eventually("the new pair is presented", async || {
        running.client(Protocol::Http1).await.presented == new
    })
    .await;
    running.finish().await.unwrap();
}
