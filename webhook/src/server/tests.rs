//! The server as a tower of services, without a socket.

use axum::body::{Body, to_bytes};
use axum::routing::get;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

async fn ask(router: Router, request: Request) -> (StatusCode, Value) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_panic_is_an_answer_and_is_counted() {
    let metrics = Metrics::default();
    let routes = Router::new().route(
        "/",
        get(async || {
            if true {
                panic!("a defect");
            }
        }),
    );
    let router = protect(routes, &Limits::default(), &metrics);
    for _ in 0..2 {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let (status, body) = ask(router.clone(), request).await;
        assert_eq!((status.as_u16(), &body["code"]), (500, &500.into()));
    }
    assert!(
        metrics
            .encode()
            .unwrap()
            .contains("rejected_requests_total{status=\"500\"} 2")
    );
}

#[tokio::test(start_paused = true)]
async fn a_review_that_takes_too_long_is_ended() {
    let routes = Router::new().route("/", get(std::future::pending::<()>));
    let router = protect(routes, &Limits::default(), &Metrics::default());
    let request = Request::get("/").body(Body::empty()).unwrap();
    let (status, _) = ask(router, request).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

/// Whoever reaches the port can send reviews of the largest size, and many at once.
#[tokio::test(start_paused = true)]
async fn a_body_that_has_no_room_beside_the_others_is_shed() {
    let limits = Limits {
        body: 80,
        bodies: 100,
        ..Limits::default()
    };
    let metrics = Metrics::default();
    let routes = Router::new().route("/", post(std::future::pending::<()>));
    let router = protect(routes, &limits, &metrics);
    let send = |body: Body| ask(router.clone(), Request::post("/").body(body).unwrap());
    let declared = |size: usize| Body::from(vec![b' '; size]);
    let endless = || Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>());

    let mut first = std::pin::pin!(send(declared(60)));
    let moment = Duration::from_millis(1);
    tokio::time::timeout(moment, &mut first).await.unwrap_err();
    for body in [declared(60), endless()] {
        let (status, _) = send(body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(metrics.shed.get(), 2);
    let (status, _) = send(declared(40)).await;
    assert_eq!(
        status,
        StatusCode::REQUEST_TIMEOUT,
        "what has room is taken"
    );
    first.await;
    let (status, _) = send(endless()).await;
    assert_eq!(
        status,
        StatusCode::REQUEST_TIMEOUT,
        "all of it is free again"
    );
}

/// The reader of JSON quotes the string that it did not expect, whatever its length.
#[tokio::test]
async fn a_refusal_does_not_repeat_a_large_review() {
    let request = |pointer: &str, value: Value| {
        let mut review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": {"group": "", "version": "v1", "kind": "PersistentVolumeClaim"},
                "operation": "CREATE",
                "object": {"metadata": {"name": "a"}, "spec": {"accessModes": []}},
            },
        });
        *review.pointer_mut(pointer).unwrap() = value;
        Request::post(REVIEW_PATH)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(review.to_string()))
            .unwrap()
    };
    let reviewer = Reviewer::new(
        Default::default(),
        crate::storage_classes::StorageClassStore::default(),
        Metrics::default(),
    );
    let router = review_router(
        Arc::new(reviewer),
        &Limits::default(),
        &Metrics::default(),
        tokio_util::sync::CancellationToken::new(),
    );
    for pointer in [
        "/apiVersion",
        "/request",
        "/request/kind",
        "/request/object/spec/accessModes",
    ] {
        let large = request(pointer, Value::from("line\n".repeat(200_000)));
        let (status, body) = ask(router.clone(), large).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{pointer}");
        let message = body["message"].as_str().unwrap();
        assert!((1..2048).contains(&message.len()), "{}", message.len());
    }
}

#[test]
fn content_types_are_compared_without_their_parameters() {
    let judged = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
        is_json(&headers)
    };
    assert!(judged("application/json") && judged("Application/JSON; charset=utf-8"));
    assert!(!judged("text/plain") && !judged("application/jsonp") && !judged(""));
    assert!(!is_json(&HeaderMap::new()));
}

#[tokio::test]
async fn an_expired_certificate_an_unread_store_and_an_end_are_obstacles() {
    let directory = tempfile::tempdir().unwrap();
    let files = crate::tls::files::CertificateFiles {
        certificate: directory.path().join("tls.crt"),
        key: directory.path().join("tls.key"),
    };
    let mut params = rcgen::CertificateParams::new(["webhook.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let readiness = Readiness {
        certificate: crate::tls::Certificate::default(),
        classes: crate::storage_classes::StorageClassStore::default(),
        stopping: tokio_util::sync::CancellationToken::new(),
    };
    let at = |time: &str| readiness.obstacle(time.parse().unwrap());
    assert_eq!(
        at("2029-12-31T23:59:59Z").unwrap(),
        "there is no certificate yet"
    );
    files.load(&readiness.certificate).await.unwrap();
    let (before, after) = ("2029-12-31T23:59:59Z", "2030-01-01T00:00:00Z");
    assert_eq!(
        at(before),
        Some("the storage classes are not read yet".to_owned())
    );
    readiness.classes.replace(Default::default());
    assert_eq!(at(before), None);
    assert_eq!(at(after), Some("the certificate has expired".to_owned()));
    readiness.stopping.cancel();
    assert_eq!(at(before), Some("stopping".to_owned()));
}
