//! What every test here begins and ends with: a whole cluster with the product in it.

use std::time::Duration;

use anyhow::Context as _;
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

/// How long many claims or pods may take; guests are slow, and so is a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(420);

/// Takes a test through a whole cluster and mends that afterwards, whatever happened. The
/// test says by an error what is wrong; a panic would leave the cluster broken.
pub(crate) async fn on_whole_cluster(test: impl AsyncFnOnce(&Cluster) -> anyhow::Result<()>) {
    let cluster = Cluster::whole().await.unwrap();
    let result = Box::pin(test(&cluster)).await;
    let mended = cluster.mend().await;
    result.unwrap();
    mended.unwrap();
}

/// Applies many claims in one command.
pub(crate) async fn apply_claims(namespace: &Namespace, names: &[String]) -> anyhow::Result<()> {
    let claims: Vec<Value> = names
        .iter()
        .map(|name| Claim::filesystem(name).manifest())
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": claims});
    namespace.apply(&list).await
}

/// Names of objects that only differ by a number.
pub(crate) fn numbered(stem: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{stem}-{number}"))
        .collect()
}

/// The claims of a namespace that are bound.
///
/// An API server that is away is no error: the next look may find it.
pub(crate) async fn bound(namespace: &Namespace) -> Vec<String> {
    let words = ["get", "pvc", "--output=json", "--request-timeout=30s"];
    let text = namespace.kubectl(&words).await.unwrap_or_default();
    let list: Value = serde_json::from_str(&text).unwrap_or_default();
    let claims = list["items"].as_array().into_iter().flatten();
    claims
        .filter(|claim| claim["status"]["phase"] == "Bound")
        .filter_map(|claim| claim["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

/// Waits until these claims of a namespace are bound.
pub(crate) async fn all_bound(namespace: &Namespace, names: &[String]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let waited = until("the claims are bound", LONG, async || {
        let bound = bound(namespace).await;
        missing = names.iter().filter(|&name| !bound.contains(name)).collect();
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    match waited {
        Ok(()) => Ok(()),
        Err(error) => {
            let report = namespace.report().await;
            Err(error).with_context(|| format!("not bound: {missing:?}\n{report}"))
        }
    }
}
