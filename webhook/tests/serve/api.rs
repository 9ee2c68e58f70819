//! An API server in memory: storage classes that can be watched, Secrets, and validating
//! webhook configurations, with versions and the refusals that belong to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

/// What it holds and how it behaves.
#[derive(Default)]
struct Store {
    classes: Vec<Value>,
    /// Secrets and configurations by path.
    objects: BTreeMap<String, Value>,
    version: u64,
    is_down: bool,
    /// What it answers to a GET of this path in place of the object.
    lies: BTreeMap<String, String>,
    /// Method and path of each request for a Secret or configuration.
    requests: Vec<String>,
}

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct ApiServer {
    store: Arc<Mutex<Store>>,
    events: broadcast::Sender<String>,
    cut: Arc<Mutex<CancellationToken>>,
}

impl ApiServer {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::default(),
            events: broadcast::channel(16).0,
            cut: Arc::default(),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    pub(crate) fn add_class(&self, name: &str) {
        let mut store = self.store();
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name, "resourceVersion": (store.classes.len() + 1).to_string()},
            "provisioner": "rds.csi.srvlab.io",
        });
        store.classes.push(class.clone());
        // Nobody may be watching yet.
        let _ = self.events.send(added(&class));
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Ends every watch, as an API server that restarts does.
    pub(crate) fn cut_watches(&self) {
        let mut cut = self.cut.lock().unwrap();
        cut.cancel();
        *cut = CancellationToken::new();
    }

    /// Whether every request for a Secret or configuration fails.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.store().is_down = is_down;
    }

    /// Answers a GET with a text that is not the object.
    pub(crate) fn lie(&self, path: &str, text: Option<String>) {
        let mut store = self.store();
        match text {
            Some(text) => store.lies.insert(path.to_owned(), text),
            None => store.lies.remove(path),
        };
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.store().objects.get(path).cloned()
    }

    /// Puts an object in place as a person with all rights does.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut store = self.store();
        store.version += 1;
        object["metadata"]["resourceVersion"] = json!(store.version.to_string());
        store.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.store().objects.remove(path);
    }

    /// Method and path of each request so far that was about a Secret or configuration.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.store().requests.clone()
    }

    pub(crate) async fn serve(self, listener: TcpListener) {
        let routes = Router::new().fallback(answer).with_state(self);
        axum::serve(listener, routes).await.unwrap();
    }
}

async fn answer(State(server): State<ApiServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path == CLASSES {
        return classes(&server, head.uri.query().unwrap_or_default());
    }
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let content = head.headers.get("content-type");
    let content = content.map_or("", |value| value.to_str().unwrap());
    let mut store = server.store();
    store.requests.push(format!("{} {path}", head.method));
    if store.is_down {
        return status(StatusCode::INTERNAL_SERVER_ERROR, "etcdserver: no leader");
    }
    match head.method {
        Method::GET => {
            if let Some(lie) = store.lies.get(&path) {
                return ([("content-type", "application/json")], lie.clone()).into_response();
            }
            match store.objects.get(&path) {
                Some(object) => Json(object.clone()).into_response(),
                None => status(StatusCode::NOT_FOUND, "not found"),
            }
        }
        Method::PATCH => store.patch(&path, content, &body),
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "not offered here"),
    }
}

impl Store {
    fn keep(&mut self, path: &str, mut object: Value) -> Response {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        Json(object).into_response()
    }

    fn patch(&mut self, path: &str, content: &str, patch: &Value) -> Response {
        let Some(mut object) = self.objects.get(path).cloned() else {
            return status(StatusCode::NOT_FOUND, "not found");
        };
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return status(StatusCode::CONFLICT, "the object has been modified");
        }
        match content {
            "application/merge-patch+json" => merge(&mut object, patch),
            "application/strategic-merge-patch+json" => merge_webhooks(&mut object, patch),
            other => panic!("a patch of type {other:?}"),
        }
        self.keep(path, object)
    }
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

/// The strategic merge of a configuration: its webhooks are merged by name.
fn merge_webhooks(object: &mut Value, patch: &Value) {
    let webhooks = object["webhooks"].as_array_mut().unwrap();
    for entry in patch["webhooks"].as_array().unwrap() {
        let mut known = webhooks.iter_mut();
        match known.find(|webhook| webhook["name"] == entry["name"]) {
            Some(webhook) => merge(webhook, entry),
            None => webhooks.push(entry.clone()),
        }
    }
}

fn status(code: StatusCode, message: &str) -> Response {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "InternalError",
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status)).into_response()
}

/// A list, or a watch that begins with what came after its `resourceVersion`.
fn classes(server: &ApiServer, query: &str) -> Response {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let store = server.store();
    if parameter("watch") != Some("true") {
        return Json(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClassList",
            "metadata": {"resourceVersion": store.classes.len().to_string()},
            "items": store.classes,
        }))
        .into_response();
    }
    let seen: usize = parameter("resourceVersion").unwrap().parse().unwrap();
    let missed: Vec<_> = store.classes[seen..].iter().map(added).collect();
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

/// A kubeconfig file that leads to an address.
pub(crate) fn kubeconfig(directory: &Path, address: SocketAddr) -> PathBuf {
    let path = directory.join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    path
}
