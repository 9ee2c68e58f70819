//! A running webhook with its certificate files, and a client for it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rds_csi_core::attachment::Modes;
use rds_csi_webhook::config::{CertificateConfig, ClassSource, ServeConfig};
use rds_csi_webhook::metrics::Metrics;
use rds_csi_webhook::serve::{ServeError, Webhook};
use rds_csi_webhook::server::Limits;
use rds_csi_webhook::tls::files::CertificateFiles;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Protocol};

pub(crate) const NAME: &str = "webhook.example";

/// Longer than anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The class that reviews name.
const CLASS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: rds-nvme}
provisioner: rds.csi.srvlab.io
";

pub(crate) struct Running {
    pub(crate) reviews: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinSet<Result<(), ServeError>>,
    directory: TempDir,
    trusted: Vec<CertificateDer<'static>>,
}

/// Short limits, so that tests that wait for them are short.
pub(crate) fn limits() -> Limits {
    Limits {
        head: Duration::from_millis(300),
        handshake: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        ..Limits::default()
    }
}

fn write_pair(directory: &Path) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    replace(&directory.join("tls.crt"), &pair.cert.pem());
    replace(
        &directory.join("tls.key"),
        &pair.signing_key.serialize_pem(),
    );
    pair.cert.der().clone()
}

/// Replaces a file by renaming, as a Secret volume does with its directory.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with a changed configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut ServeConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = write_pair(directory.path());
        let classes = directory.path().join("classes.yaml");
        std::fs::write(&classes, CLASS).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = ServeConfig {
            driver: "rds.csi.srvlab.io".parse().unwrap(),
            listen: loopback,
            admin_listen: loopback,
            certificate: CertificateConfig::Files(CertificateFiles {
                certificate: directory.path().join("tls.crt"),
                key: directory.path().join("tls.key"),
            }),
            kubeconfig: None,
            modes: Modes::default(),
            tls_reload_interval: Duration::from_millis(20),
            classes: ClassSource::Files(vec![classes]),
            limits: limits(),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(10),
        };
        change(&mut config);
        let webhook = Webhook::prepare(config).await.unwrap();
        let stop = CancellationToken::new();
        let mut running = Self {
            reviews: webhook.review_address().unwrap(),
            admin: webhook.admin_address().unwrap(),
            metrics: webhook.metrics(),
            stop: stop.clone(),
            serving: JoinSet::new(),
            directory,
            trusted: vec![certificate],
        };
        running.serving.spawn(webhook.run(stop));
        running
    }

    /// Replaces both files with a new pair, trusted by later clients.
    pub(crate) fn rotate(&mut self) -> CertificateDer<'static> {
        let certificate = write_pair(self.directory.path());
        self.trusted.push(certificate.clone());
        certificate
    }

    /// Replaces only the certificate's file.
    pub(crate) fn break_certificate(&self, text: &str) {
        replace(&self.directory.path().join("tls.crt"), text);
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        self.trusted.last().unwrap()
    }

    /// A TLS connection that offers one protocol.
    pub(crate) async fn connect(&self, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(alpn, NAME, &self.trusted).await
    }

    /// A TLS connection to a name that trusts these certificates and nothing else.
    pub(crate) async fn connect_as(
        &self,
        alpn: &str,
        name: &'static str,
        trusted: &[CertificateDer<'static>],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add(certificate.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.reviews).await?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(name).unwrap(), stream)
            .await
    }

    pub(crate) async fn client(&self, protocol: Protocol) -> Client {
        let stream = self.connect(protocol.alpn()).await.unwrap();
        Client::new(stream, protocol).await
    }

    /// The status and text of an admin page.
    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::get(path)
            .header("host", NAME)
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Asks for the end and waits for it.
    pub(crate) async fn finish(mut self) -> Result<(), ServeError> {
        self.stop.cancel();
        within(self.serving.join_next()).await.unwrap().unwrap()
    }
}

/// A review of a claim of the webhook's class.
pub(crate) fn claim(mode: &str, volume_mode: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0b6e4b2e",
            "kind": {"group": "", "version": "v1", "kind": "PersistentVolumeClaim"},
            "name": "data", "namespace": "app", "operation": "CREATE",
            "object": {
                "metadata": {"name": "data", "namespace": "app"},
                "spec": {
                    "storageClassName": "rds-nvme", "accessModes": [mode],
                    "volumeMode": volume_mode,
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            },
        },
    })
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("this takes too long")
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let result = tokio::time::timeout(DEADLINE, wait).await;
    assert!(result.is_ok(), "never: {what}");
}
