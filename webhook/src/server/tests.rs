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
