//! An API server with so many storage classes, for the webhook to list and to watch.

use std::net::SocketAddr;

use anyhow::Result;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The class of that number, with what classes usually carry.
pub(crate) fn class(number: usize) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": format!("class-{number}"), "resourceVersion": "1",
            "uid": format!("5e1f4d7b-3c0a-4b52-9a76-{number:012}"),
            "creationTimestamp": "2026-11-22T11:10:02Z",
            "labels": {"app.kubernetes.io/managed-by": "Helm", "team": format!("team-{number}")},
        },
        "provisioner": "rds.csi.srvlab.io",
        "parameters": {"csi.storage.k8s.io/fstype": "xfs", "nvmeAddress": "10.0.1.2"},
        "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
    })
}

/// An API server on loopback; its tasks end with the set.
pub(crate) async fn start(classes: usize, tasks: &mut JoinSet<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/apis/storage.k8s.io/v1/storageclasses", get(answer))
        .with_state(classes);
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            eprintln!("the API server ended: {error}");
        }
    });
    Ok(address)
}

/// A page of the list, or a watch in which nothing happens.
async fn answer(State(classes): State<usize>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let number = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name)?.1.parse::<usize>().ok()
    };
    if query.contains("watch=true") {
        return Body::from_stream(tokio_stream::pending::<std::io::Result<String>>())
            .into_response();
    }
    let begin = number("continue").unwrap_or(0);
    let end = classes.min(begin + number("limit").unwrap_or(classes));
    let rest = (end < classes).then(|| end.to_string());
    Json(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClassList",
        "metadata": {"resourceVersion": "1", "continue": rest},
        "items": (begin..end).map(class).collect::<Vec<_>>(),
    }))
    .into_response()
}
