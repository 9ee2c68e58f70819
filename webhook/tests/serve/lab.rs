//! A webhook that looks after its own certificate, with the API server that it does it in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::ByteString;
use rds_csi_webhook::certificates::authority::ServiceNames;
use rds_csi_webhook::certificates::secret::Data;
use rds_csi_webhook::certificates::{Lifetimes, Settings};
use rds_csi_webhook::config::CertificateConfig;
use rds_csi_webhook::server::Limits;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::{ApiServer, kubeconfig};
use crate::client::{Client, Protocol};
use crate::harness::{Running, claim, eventually};

pub(crate) const SERVICE: &str = "hook.rds-csi.svc";
pub(crate) const SECRET: &str = "/api/v1/namespaces/rds-csi/secrets/hook-tls";
pub(crate) const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hook";

/// An API server on loopback with a configuration that trusts nobody yet and an empty Secret.
pub(crate) struct Lab {
    pub(crate) api: ApiServer,
    directory: TempDir,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (api, address) = (ApiServer::new(), listener.local_addr().unwrap());
        api.put(CONFIGURATION, configuration());
        api.put(SECRET, empty());
        let mut serving = JoinSet::new();
        serving.spawn(api.clone().serve(listener));
        Self {
            api,
            directory: tempfile::tempdir().unwrap(),
            address,
            _serving: serving,
        }
    }

    /// A replica that looks after its own certificate.
    pub(crate) async fn replica(&self, lifetimes: Lifetimes) -> Running {
        Running::with(|config| {
            config.certificate = CertificateConfig::Own(Settings {
                namespace: "rds-csi".to_owned(),
                secret: "hook-tls".to_owned(),
                configuration: "hook".to_owned(),
                names: names(),
                lifetimes,
            });
            config.kubeconfig = Some(self.kubeconfig());
            config.tls_reload_interval = Duration::from_millis(30);
            config.limits = Limits::default();
        })
        .await
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        kubeconfig(self.directory.path(), self.address)
    }

    /// What an API server trusts now: the anchors of every entry.
    pub(crate) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        let configuration = self.api.object(CONFIGURATION).unwrap();
        let entries = configuration["webhooks"].as_array().unwrap().iter();
        let mut bundles = entries.map(|entry| bytes(&entry["clientConfig"]["caBundle"]));
        let first = bundles.next().unwrap();
        assert!(bundles.all(|other| other == first), "entries differ");
        CertificateDer::pem_slice_iter(&first)
            .map(Result::unwrap)
            .collect()
    }

    pub(crate) fn secret(&self) -> Data {
        let secret = self.api.object(SECRET).unwrap_or_default();
        let data = secret["data"].as_object().cloned().unwrap_or_default();
        data.iter()
            .map(|(key, value)| (key.clone(), bytes(value)))
            .collect()
    }

    /// Whether a replica answers an API server that trusts what the configuration says.
    pub(crate) async fn is_believed(&self, replica: &Running) -> bool {
        let trusted = self.trusted();
        let Ok(stream) = replica.connect_as("http/1.1", SERVICE, &trusted).await else {
            return false;
        };
        let mut client = Client::new(stream, Protocol::Http1).await;
        let answer = client.review(&claim("ReadWriteOnce", "Block")).await;
        answer.is_ok_and(|answer| answer["allowed"] == true)
    }

    pub(crate) async fn until_believed(&self, replica: &Running) {
        eventually("the replica is believed", async || {
            !self.trusted().is_empty() && self.is_believed(replica).await
        })
        .await;
    }
}

pub(crate) fn names() -> ServiceNames {
    ServiceNames::new("hook", "rds-csi").unwrap()
}

pub(crate) fn bytes(base64: &Value) -> Vec<u8> {
    let bytes: Option<ByteString> = serde_json::from_value(base64.clone()).unwrap();
    bytes.unwrap_or_default().0
}

/// The Secret as helm makes it.
pub(crate) fn empty() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "hook-tls", "labels": {"app.kubernetes.io/managed-by": "Helm"}},
    })
}

fn configuration() -> Value {
    let entry = |name: &str| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "hook", "namespace": "rds-csi"}},
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hook"},
        "webhooks": [entry("claims.rds.csi.srvlab.io"), entry("classes.rds.csi.srvlab.io")],
    })
}
