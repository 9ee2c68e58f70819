//! Where the webhook's certificate comes from, in a cluster: its own from the first minute
//! on, one that the user provides, and from either to the other by an upgrade.
//!
//! Mode certManager needs a cluster with cert-manager. What the chart makes of it is
//! rendered and compared in the chart tier; here it is not run.

use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::component::Component;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::{NAMESPACE, WEBHOOK_SECRET};
use serde_json::{Value, json};

use crate::ground::{await_refusal, await_webhooks, install, open};

const SERVICE: &str = "rds-csi-webhook.rds-csi.svc";
const PROVIDED_SECRET: &str = "provided-tls";

/// What API servers trust: the same for every kind.
pub(crate) async fn bundle(cluster: &Cluster) -> String {
    let words = ["validatingwebhookconfiguration", "rds-csi-webhook"];
    let configuration = cluster.get(&words).await.unwrap();
    let entries = configuration["webhooks"].as_array().unwrap().iter();
    let bundles: Vec<&Value> = entries
        .map(|entry| &entry["clientConfig"]["caBundle"])
        .collect();
    assert_eq!(bundles.len(), 7);
    assert!(bundles.iter().all(|bundle| **bundle == *bundles[0]));
    bundles[0].as_str().unwrap_or_default().to_owned()
}

/// Makes a CA and the user's Secret of a certificate by it: the CA in PEM.
async fn provide(product: &Namespace) -> String {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([SERVICE.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": PROVIDED_SECRET},
        "stringData": {"tls.crt": leaf.pem(), "tls.key": leaf_key.serialize_pem()},
    });
    product.apply(&secret).await.unwrap();
    pem
}

#[tokio::test]
async fn an_installation_has_its_certificate_without_a_hand_and_keeps_it_when_pods_go() {
    let (cluster, namespace) = open("admission-self").await;
    let product = Namespace::named(&cluster, NAMESPACE);
    let trusted = bundle(&cluster).await;
    assert_ne!(trusted, "");
    let secret = product.get("secret", WEBHOOK_SECRET).await.unwrap();

    for pod in cluster.pods_of(Component::Webhook).await.unwrap() {
        product.remove("pod", &pod).await.unwrap();
    }
    await_webhooks(&cluster).await;
    await_refusal(&namespace).await;
    assert_eq!(bundle(&cluster).await, trusted);
    let kept = product.get("secret", WEBHOOK_SECRET).await.unwrap();
    assert_eq!(kept["data"], secret["data"]);
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_provided_certificate_is_used_and_an_upgrade_leads_there_and_back() {
    let (cluster, namespace) = open("admission-provided").await;
    let product = Namespace::named(&cluster, NAMESPACE);
    let authority = provide(&product).await;
    let values = json!({"webhook": {"certificates": {
        "mode": "provided",
        "provided": {"secretName": PROVIDED_SECRET, "caBundle": authority},
    }}});
    install(&cluster, &values).await;
    await_refusal(&namespace).await;
    // helm says what is trusted, and nobody who ran before has written over it.
    let provided = bundle(&cluster).await;
    let expected = serde_json::to_value(ByteString(authority.into_bytes()));
    assert_eq!(provided, expected.unwrap().as_str().unwrap());
    // It went with the mode that it was for.
    assert_eq!(product.find("secret", WEBHOOK_SECRET).await.unwrap(), None);

    install(&cluster, &json!({})).await;
    await_refusal(&namespace).await;
    let own = bundle(&cluster).await;
    assert_ne!(own, provided);
    product.remove("secret", PROVIDED_SECRET).await.unwrap();
    await_refusal(&namespace).await;
    namespace.delete().await.unwrap();
}
