//! Reviews and everything that is none, over both protocols.

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use rstest::rstest;
use tokio::io::AsyncWriteExt;

use crate::client::{Protocol, post};
use crate::harness::{Running, claim};

#[rstest]
#[case(Protocol::Http1)]
#[case(Protocol::Http2)]
#[tokio::test]
async fn claims_are_judged_over_tls(#[case] protocol: Protocol) {
    let running = Running::start().await;
    let mut client = running.client(protocol).await;
    for (mode, volume_mode, allowed) in [
        ("ReadWriteMany", "Filesystem", false),
        ("ReadWriteMany", "Block", true),
        ("ReadWriteOnce", "Filesystem", true),
    ] {
        let answer = client.review(&claim(mode, volume_mode)).await.unwrap();
        assert_eq!(answer["allowed"], allowed, "{answer}");
        assert_eq!(answer["uid"], "0b6e4b2e");
    }
    running.finish().await.unwrap();
}

#[rstest]
#[case(Protocol::Http1)]
#[case(Protocol::Http2)]
#[tokio::test]
async fn what_is_no_review_is_refused_in_json_and_the_next_review_is_answered(
    #[case] protocol: Protocol,
) {
    let running = Running::start().await;
    let good = claim("ReadWriteOnce", "Filesystem").to_string();
    let with = |change: &dyn Fn(&mut Request<Full<Bytes>>)| {
        let mut request = post(good.clone());
        change(&mut request);
        request
    };
    let media = |value: &'static str| {
        with(&move |request| {
            request
                .headers_mut()
                .insert("content-type", value.parse().unwrap());
        })
    };
    let cases = [
        (post(""), 400),
        (post("garbage"), 400),
        (post(vec![0xff; 1000]), 400),
        (post(good[..good.len() / 2].to_owned()), 400),
        (post("[".repeat(1 << 20)), 400),
        (post(vec![b' '; (3 << 20) + 1]), 413),
        (media("text/plain"), 415),
        (media("application/yaml"), 415),
        (with(&|r| *r.method_mut() = hyper::Method::GET), 405),
        (with(&|r| *r.method_mut() = hyper::Method::PUT), 405),
        (
            with(&|r| *r.uri_mut() = "https://webhook.example/other".parse().unwrap()),
            404,
        ),
    ];
    for (request, expected) in cases {
        let what = format!("{request:?}");
        let mut client = running.client(protocol).await;
        let (status, body) = client.send(request).await.unwrap();
        assert_eq!(
            status.as_u16(),
            expected,
            "{}",
            &what[..what.len().min(200)]
        );
        assert_eq!(
            (&body["kind"], &body["code"]),
            (&"Status".into(), &expected.into())
        );
        assert!(!body["message"].as_str().unwrap().is_empty());
    }
    let mut client = running.client(protocol).await;
    client
        .review(&claim("ReadWriteOnce", "Block"))
        .await
        .unwrap();
    let page = running.admin("/metrics").await.1;
    assert!(
        page.contains("rejected_requests_total{status=\"415\"} 2"),
        "{page}"
    );
    running.finish().await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_harms_nobody() {
    let running = Running::start().await;
    for bytes in [
        &b"POST /validate HTTP/1.1\r\n"[..],
        b"POST /validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut stream = running.connect("http/1.1").await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    let mut client = running.client(Protocol::Http2).await;
    client
        .review(&claim("ReadWriteOnce", "Block"))
        .await
        .unwrap();
    running.finish().await.unwrap();
}

#[tokio::test]
async fn health_readiness_and_metrics_are_served_in_the_clear() {
    let running = Running::start().await;
    assert_eq!(running.admin("/healthz").await, (200, "ok".to_owned()));
    assert_eq!(running.admin("/readyz").await, (200, "ok".to_owned()));
    let mut client = running.client(Protocol::Http1).await;
    client
        .review(&claim("ReadWriteMany", "Filesystem"))
        .await
        .unwrap();
    let (status, page) = running.admin("/metrics").await;
    assert_eq!(status, 200);
    let series =
        "reviews_total{kind=\"PersistentVolumeClaim\",operation=\"Create\",verdict=\"Denied\"} 1";
    assert!(page.contains(series) && page.ends_with("# EOF\n"), "{page}");
    running.finish().await.unwrap();
}
