//! What every test here begins with, the claims that are refused, and the words that say
//! by whom.

use std::time::Duration;

use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::component::Component;
use rds_csi_tests::cluster::mend::DEFAULT_CLASS;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

/// The driver of the release.
pub(crate) const DRIVER: &str = "rds.csi.srvlab.io";
/// The first words of a refusal by the ValidatingAdmissionPolicy.
pub(crate) const BY_POLICY: &str = "ValidatingAdmissionPolicy 'rds-csi-claims'";
/// A refusal by the webhook as kubectl shows it: each field with its reason, and not who
/// gives it. A policy names no field.
pub(crate) const BY_WEBHOOK: &str = "is invalid: spec.";
/// The same as the API server says it.
pub(crate) const DENIED_BY_WEBHOOK: &str =
    "admission webhook \"persistentvolumeclaims.webhook.rds.csi.srvlab.io\" denied the request";
/// What is said of a filesystem for several nodes, by whomever.
pub(crate) const DESTROYED: &str = "two nodes that mount one ext4 or xfs destroy it";
/// What is said of a copy of another claim.
pub(crate) const NO_CLONES: &str = "a clone of another claim is not offered";
/// The metric of reviews, and its labels where new claims were reviewed.
pub(crate) const REVIEWS: &str = "rds_csi_webhook_reviews_total";
pub(crate) const NEW_CLAIMS: [&str; 2] = ["kind=\"PersistentVolumeClaim\"", "operation=\"Create\""];

/// A whole cluster with the plain product in it, for this test alone, and a namespace.
pub(crate) async fn open(name: &str) -> (Cluster, Namespace) {
    within(Cluster::whole().await.unwrap(), name).await
}

/// The same beside others that share it.
pub(crate) async fn share(name: &str) -> (Cluster, Namespace) {
    within(Cluster::shared().await.unwrap(), name).await
}

async fn within(cluster: Cluster, name: &str) -> (Cluster, Namespace) {
    await_webhooks(&cluster).await;
    let namespace = Namespace::new(&cluster, name).await.unwrap();
    await_refusal(&namespace).await;
    (cluster, namespace)
}

/// Installs the chart with other values; every webhook is of them when this returns.
pub(crate) async fn install(cluster: &Cluster, values: &Value) {
    cluster.install(values).await.unwrap();
    await_webhooks(cluster).await;
}

/// Waits until every webhook is there, ready, and none too many.
pub(crate) async fn await_webhooks(cluster: &Cluster) {
    let product = Namespace::named(cluster, NAMESPACE);
    let words = [
        "rollout",
        "status",
        "deployment/rds-csi-webhook",
        "--timeout=170s",
    ];
    product.kubectl(&words).await.unwrap();
    until("no webhook of before is left", DEADLINE, async || {
        let deployment = product.get("deployment", "rds-csi-webhook").await?;
        let wanted = deployment["spec"]["replicas"].as_u64();
        let selector = ["--selector", Component::Webhook.selector()];
        let words = [&["--namespace", NAMESPACE, "pods"], &selector[..]].concat();
        let there = cluster.get(&words).await?["items"].as_array().map(Vec::len);
        Ok((wanted == there.map(|there| there as u64)).then_some(()))
    })
    .await
    .unwrap();
}

/// Scales the webhook and waits until it is so.
pub(crate) async fn scale_webhook(cluster: &Cluster, replicas: usize) {
    let product = Namespace::named(cluster, NAMESPACE);
    let count = format!("--replicas={replicas}");
    let words = ["scale", "deployment/rds-csi-webhook", &count];
    product.kubectl(&words).await.unwrap();
    await_webhooks(cluster).await;
}

/// What all webhooks together have counted in a metric, in the series that have all of
/// these labels.
pub(crate) async fn counted(cluster: &Cluster, metric: &str, labels: &[&str]) -> u64 {
    let counted = cluster.counted(Component::Webhook, metric, labels);
    counted.await.unwrap()
}

/// How many new claims the webhooks were asked about. Volumes change by themselves, and
/// claims that exist, long after the test that made them.
pub(crate) async fn new_claims(cluster: &Cluster) -> u64 {
    counted(cluster, REVIEWS, &NEW_CLAIMS).await
}

/// Makes the filesystem class the default one, or an ordinary one.
pub(crate) async fn make_default(cluster: &Cluster, is_default: bool) {
    let annotation = format!("{DEFAULT_CLASS}={is_default}");
    let words = [
        "annotate",
        "storageclass",
        "rds-csi",
        &annotation,
        "--overwrite",
    ];
    cluster.kubectl(&words).await.unwrap();
}

/// A claim that the policy refuses, and the webhook where there is no policy.
pub(crate) fn shared_filesystem(name: &str) -> Value {
    Claim::filesystem(name).access("ReadWriteMany").manifest()
}

/// A claim that only the webhook refuses: no policy looks at sources.
pub(crate) fn clone_of_another(name: &str) -> Value {
    let mut claim = Claim::filesystem(name).manifest();
    claim["spec"]["dataSource"] = json!({"kind": "PersistentVolumeClaim", "name": "another"});
    claim
}

/// The same claim without a class.
pub(crate) fn without_class(mut claim: Value) -> Value {
    let spec = claim["spec"].as_object_mut().unwrap();
    spec.remove("storageClassName");
    claim
}

/// Asks for an object without making it.
pub(crate) async fn dry_run(namespace: &Namespace, object: &Value) -> anyhow::Result<String> {
    let words = ["create", "--dry-run=server"];
    namespace.kubectl_with(&words, object).await
}

/// Waits until an object is refused with all of these words, as the API server learns of what the
/// refusal goes by a moment later: what it says.
pub(crate) async fn refused_with(namespace: &Namespace, object: &Value, words: &[&str]) -> String {
    let what = format!("it is refused with {words:?}");
    let refused = until(&what, LONG, async || {
        let refused = dry_run(namespace, object).await.err();
        let said = refused.map(|error| format!("{error:#}"));
        Ok(said.filter(|said| words.iter().all(|words| said.contains(words))))
    });
    refused.await.unwrap()
}

/// Applies what must be refused: what kubectl says. Nothing of it exists afterwards.
pub(crate) async fn refusal(namespace: &Namespace, object: &Value) -> String {
    let refused = namespace.apply(object).await;
    let kind = object["kind"].as_str().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap();
    assert!(refused.is_err(), "{kind} {name} was admitted");
    assert_eq!(namespace.find(kind, name).await.unwrap(), None);
    format!("{:#}", refused.unwrap_err())
}

/// Waits until the webhook answers the API server. With failure policy Ignore a webhook
/// that cannot be reached admits, so this asks by a request that changes nothing.
pub(crate) async fn await_refusal(namespace: &Namespace) {
    let claim = clone_of_another("awaited");
    let mut said = String::new();
    let refused = until("the webhook refuses", DEADLINE, async || {
        let Err(error) = dry_run(namespace, &claim).await else {
            return Ok(None);
        };
        said = format!("{error:#}");
        Ok(said.contains(BY_WEBHOOK).then_some(()))
    });
    if let Err(error) = refused.await {
        panic!(
            "{error:#}; last answer: {said}\n{}",
            namespace.report().await
        );
    }
}

/// How long something that nobody waits for may take.
pub(crate) const LONG: Duration = Duration::from_secs(300);
