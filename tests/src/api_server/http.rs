//! HTTP as the API server speaks it: paths to resources, queries to verbs.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::store::{Refused, Store};
use super::{Fault, Shared};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

/// Where KubeVirt's kinds are, each version behind it.
const KUBEVIRT: &str = "/apis/kubevirt.io/";

type Parameters = HashMap<String, String>;

/// The query; nothing in it that matters here is escaped.
fn parameters(uri: &Uri) -> Parameters {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What a path leads to.
#[derive(Clone)]
struct Target {
    resource: String,
    /// Of objects that have one.
    namespace: Option<String>,
    name: Option<String>,
}

impl Target {
    /// With the version if it is of KubeVirt, which not every cluster serves.
    fn of(path: &str) -> Option<(Option<&str>, Self)> {
        let always = [
            "/api/v1/",
            "/apis/storage.k8s.io/v1/",
            "/apis/events.k8s.io/v1/",
            "/apis/coordination.k8s.io/v1/",
        ]
        .into_iter()
        .find_map(|group| path.strip_prefix(group));
        let (version, rest) = match always {
            Some(rest) => (None, rest),
            None => {
                let (version, rest) = path.strip_prefix(KUBEVIRT)?.split_once('/')?;
                (Some(version), rest)
            }
        };
        let (namespace, resource, name) = match *rest.split('/').collect::<Vec<_>>() {
            [resource] => (None, resource, None),
            [resource, name] => (None, resource, Some(name)),
            ["namespaces", namespace, resource] => (Some(namespace), resource, None),
            ["namespaces", namespace, resource, name] => (Some(namespace), resource, Some(name)),
            _ => return None,
        };
        let target = Self {
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        Some((version, target))
    }

    fn key(&self) -> Option<String> {
        match (&self.namespace, self.name.clone()?) {
            (Some(namespace), name) => Some(format!("{namespace}/{name}")),
            (None, name) => Some(name),
        }
    }
}

/// What the API server says of the kinds that it knows; other groups are not asked about.
fn discovery(shared: &Shared, path: &str) -> Option<Response> {
    let versions = shared.state().kubevirt.clone();
    if path == KUBEVIRT.trim_end_matches('/') {
        let all = versions.iter().map(
            |(version, _)| json!({"groupVersion": format!("kubevirt.io/{version}"), "version": version}),
        );
        let all: Vec<Value> = all.collect();
        let Some(preferred) = all.first() else {
            return Some(status(404, "no such group"));
        };
        let group = json!({"kind": "APIGroup", "name": "kubevirt.io",
            "versions": all, "preferredVersion": preferred});
        return Some(Json(group).into_response());
    }
    let asked = path.strip_prefix(KUBEVIRT)?;
    let (_, kinds) = versions.iter().find(|(version, _)| version == asked)?;
    let kinds: Vec<_> = kinds.iter().map(|name| json!({"name": name})).collect();
    Some(Json(json!({"kind": "APIResourceList", "resources": kinds})).into_response())
}

/// What a path leads to, if the cluster serves it.
fn served(shared: &Shared, path: &str) -> Option<Target> {
    let (version, target) = Target::of(path)?;
    let versions = &shared.state().kubevirt;
    let is_served = version.is_none_or(|asked| {
        let is_it = |(version, kinds): &(String, Vec<String>)| {
            version == asked && kinds.contains(&target.resource)
        };
        versions.iter().any(is_it)
    });
    is_served.then_some(target)
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(response) = discovery(&shared, uri.path()) {
        return response;
    }
    let Some(target) = served(&shared, uri.path()) else {
        return status(404, "no such path");
    };
    let (resource, key) = (target.resource.clone(), target.key());
    let parameters = parameters(&uri);
    let watches = parameters.get("watch").is_some_and(|value| value == "true");
    let verb = match (method.as_str(), &key) {
        ("GET", Some(_)) => "get",
        ("GET", None) if watches => "watch",
        ("GET", None) => "list",
        ("PATCH", Some(_)) => "patch",
        ("DELETE", Some(_)) => "delete",
        ("POST", None) => "create",
        _ => return status(405, "not offered here"),
    };
    let agent = headers
        .get("user-agent")
        .and_then(|agent| agent.to_str().ok());
    let fault = shared.note(&format!("{verb} {resource}"), agent.unwrap_or_default());
    match &fault {
        Some(Fault::Status(code)) => return status(*code, "on purpose"),
        Some(Fault::Hang) => pending().await,
        Some(Fault::Slow(time)) => tokio::time::sleep(*time).await,
        Some(Fault::Lost(_)) | None => {}
    }
    let response = match (verb, key) {
        ("get", Some(key)) => get(&shared, &resource, &key),
        ("patch", Some(key)) => patch(&shared, &resource, &key, &body),
        ("delete", Some(key)) => delete(&shared, &resource, &key, &body),
        ("create", _) => create(&shared, &target, &body),
        ("watch", _) => watch(shared, resource, &parameters),
        _ => list(&shared, &target, &parameters),
    };
    match fault {
        Some(Fault::Lost(code)) => status(code, "on purpose, after the fact"),
        _ => response,
    }
}

fn status(code: u16, message: &str) -> Response {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message});
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(body)).into_response()
}

fn get(shared: &Shared, resource: &str, key: &str) -> Response {
    match shared.state().store.get(resource, key) {
        Some(object) => Json(object.clone()).into_response(),
        None => status(404, "no such object"),
    }
}

fn create(shared: &Shared, target: &Target, body: &[u8]) -> Response {
    let Ok(mut object) = serde_json::from_slice::<Value>(body) else {
        return status(400, "no JSON");
    };
    if let Some(namespace) = &target.namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let name = object["metadata"]["name"].as_str().map(str::to_owned);
    let key = Target {
        name,
        ..target.clone()
    }
    .key()
    .unwrap_or_default();
    let mut state = shared.state();
    if state.store.get(&target.resource, &key).is_some() {
        return status(409, "there is such an object");
    }
    let version = state.store.put(&object);
    drop(state);
    shared.changed.send_replace(version);
    (StatusCode::CREATED, Json(object)).into_response()
}

fn patch(shared: &Shared, resource: &str, key: &str, body: &[u8]) -> Response {
    let Ok(patch) = serde_json::from_slice::<Value>(body) else {
        return status(400, "no JSON");
    };
    change(shared, |store| store.patch(resource, key, &patch))
}

fn delete(shared: &Shared, resource: &str, key: &str, body: &[u8]) -> Response {
    let Ok(options) = serde_json::from_slice::<Value>(body) else {
        return status(400, "no JSON");
    };
    change(shared, |store| {
        store.remove(resource, key, &options["preconditions"])
    })
}

fn change(shared: &Shared, change: impl FnOnce(&mut Store) -> Result<Value, Refused>) -> Response {
    let mut state = shared.state();
    let changed = change(&mut state.store);
    let version = state.store.version();
    drop(state);
    shared.changed.send_replace(version);
    match changed {
        Ok(object) => Json(object).into_response(),
        Err(Refused::NotFound) => status(404, "no such object"),
        Err(Refused::Conflict) => status(409, "the object has been modified"),
    }
}

fn list(shared: &Shared, target: &Target, parameters: &Parameters) -> Response {
    let number = |key: &str| parameters.get(key).and_then(|text| text.parse().ok());
    let limit = number("limit").unwrap_or(usize::MAX);
    let Some(field) = field(parameters) else {
        return status(400, "no such field to select by");
    };
    let is = |object: &Value, pointer: &str, wanted: &str| {
        object.pointer(pointer).and_then(Value::as_str) == Some(wanted)
    };
    let selected = |object: &Value| {
        let namespace = target.namespace.as_deref();
        namespace.is_none_or(|namespace| is(object, "/metadata/namespace", namespace))
            && field.is_none_or(|(pointer, wanted)| is(object, pointer, wanted))
    };
    let page = shared
        .state()
        .store
        .list(&target.resource, selected, limit, number("continue"));
    let Some((items, version, next)) = page else {
        return status(410, "the continue token is not known");
    };
    let next = next.map(|token| token.to_string()).unwrap_or_default();
    Json(json!({
        "kind": "List", "apiVersion": "v1", "items": items,
        "metadata": {"resourceVersion": version.to_string(), "continue": next},
    }))
    .into_response()
}

/// By which field of objects a list is asked for, as a JSON pointer, and its value; `None` if by
/// one that nothing here asks by.
fn field(parameters: &Parameters) -> Option<Option<(&'static str, &str)>> {
    let Some(selector) = parameters.get("fieldSelector") else {
        return Some(None);
    };
    let (field, wanted) = selector.split_once("%3D")?;
    match field {
        "metadata.name" => Some(Some(("/metadata/name", wanted))),
        "spec.nodeName" => Some(Some(("/spec/nodeName", wanted))),
        _ => None,
    }
}

/// The changes since a version, for as long as the client stays and nobody cuts it.
fn watch(shared: Arc<Shared>, resource: String, parameters: &Parameters) -> Response {
    let since = parameters
        .get("resourceVersion")
        .and_then(|text| text.parse().ok());
    let cut = shared.state().watches.clone();
    let news = shared.changed.subscribe();
    let follow = (since.unwrap_or(0), news);
    let changes = futures::stream::unfold(follow, move |(since, mut news)| {
        let (shared, resource) = (shared.clone(), resource.clone());
        async move {
            loop {
                news.mark_unchanged();
                let changes = shared.state().store.changes(&resource, since);
                if let Some((last, ..)) = changes.last() {
                    let last = *last;
                    let lines: String = changes.iter().map(line).collect();
                    return Some((lines, (last, news)));
                }
                news.changed().await.ok()?;
            }
        }
    });
    let lines = changes.map(Ok::<_, std::io::Error>);
    Body::from_stream(lines.take_until(cut.cancelled_owned())).into_response()
}

fn line((_, _, how, object): &super::store::Change) -> String {
    format!("{}\n", json!({"type": how, "object": object}))
}
