//! Storage classes from an API server: a stateful stand-in that lists and watches.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use rds_csi_webhook::config::ClassSource;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::Protocol;
use crate::harness::{Running, claim, eventually};

/// An API server that knows storage classes only.
#[derive(Clone)]
struct ApiServer {
    classes: Arc<Mutex<Vec<Value>>>,
    events: broadcast::Sender<String>,
    cut: Arc<Mutex<CancellationToken>>,
}

fn class(name: &str, version: usize) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name, "resourceVersion": version.to_string()},
        "provisioner": "rds.csi.srvlab.io",
    })
}

impl ApiServer {
    fn new() -> Self {
        Self {
            classes: Arc::default(),
            events: broadcast::channel(16).0,
            cut: Arc::default(),
        }
    }

    fn add(&self, name: &str) {
        let mut classes = self.classes.lock().unwrap();
        let class = class(name, classes.len() + 1);
        classes.push(class.clone());
        // Nobody may be watching yet.
        let _ = self.events.send(added(&class));
    }

    /// Ends every watch, as an API server that restarts does.
    fn cut_watches(&self) {
        let mut cut = self.cut.lock().unwrap();
        cut.cancel();
        *cut = CancellationToken::new();
    }

    async fn serve(self, listener: TcpListener) {
        let routes = Router::new()
            .route("/apis/storage.k8s.io/v1/storageclasses", get(answer))
            .with_state(self);
        axum::serve(listener, routes).await.unwrap();
    }
}

/// A list, or a watch that begins with what came after its `resourceVersion`.
async fn answer(State(server): State<ApiServer>, uri: Uri) -> Response {
    let parameter = |name: &str| {
        let pairs = uri.query()?.split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
    };
    let classes = server.classes.lock().unwrap();
    if parameter("watch") != Some(("watch", "true")) {
        return Json(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClassList",
            "metadata": {"resourceVersion": classes.len().to_string()}, "items": *classes,
        }))
        .into_response();
    }
    let seen: usize = parameter("resourceVersion").unwrap().1.parse().unwrap();
    let missed: Vec<_> = classes[seen..].iter().map(added).collect();
    let events = futures::stream::unfold(server.events.subscribe(), async |mut receiver| {
        let event = receiver.recv().await.ok()?;
        Some((event, receiver))
    });
    let cut = server.cut.lock().unwrap().clone();
    let stream = futures::stream::iter(missed)
        .chain(events)
        .map(Ok::<_, std::io::Error>)
        .take_until(cut.cancelled_owned());
    Body::from_stream(stream).into_response()
}

fn added(class: &Value) -> String {
    format!("{}\n", json!({"type": "ADDED", "object": class}))
}

fn kubeconfig(address: SocketAddr) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    })
    .to_string()
}

#[tokio::test]
async fn classes_are_followed_from_an_api_server_that_comes_late_and_goes_away() {
    // A port that nobody listens on yet.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, kubeconfig(address)).unwrap();
    let running = Running::with(|config| {
        config.classes = ClassSource::Cluster {
            kubeconfig: Some(path),
        };
    })
    .await;
    let shared = claim("ReadWriteMany", "Filesystem");
    let ask = async || {
        let mut client = running.client(Protocol::Http1).await;
        client.review(&shared).await.unwrap()
    };

    let answer = ask().await;
    assert_eq!(answer["allowed"], true);
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.contains("not read yet"), "{warning}");
    let not_ready = (503, "the storage classes are not read yet".to_owned());
    assert_eq!(running.admin("/readyz").await, not_ready);
    eventually("the failure is counted", async || {
        running.metrics.watch_errors.get() > 0
    })
    .await;

    let api = ApiServer::new();
    api.add("other");
    let mut serving = JoinSet::new();
    serving.spawn(api.clone().serve(TcpListener::bind(address).await.unwrap()));
    eventually("it is ready", async || {
        running.admin("/readyz").await.0 == 200
    })
    .await;
    assert_eq!(ask().await["allowed"], true, "the class is not known");

    eventually("the class is watched", async || {
        api.events.receiver_count() > 0
    })
    .await;
    api.cut_watches();
    api.add("rds-nvme");
    eventually("the claim is refused", async || {
        ask().await["allowed"] == false
    })
    .await;
    running.finish().await.unwrap();
}
