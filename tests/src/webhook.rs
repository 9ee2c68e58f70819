//! `rds-csi-webhook serve` as a running program, asked over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::child::ChildProcess;

const NAME: &str = "rds-csi-webhook.rds-csi.svc";

/// The webhook on the test's own machine, on loopback, with a certificate made for it.
#[derive(Debug)]
pub struct WebhookProcess {
    child: ChildProcess,
    _directory: TempDir,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl WebhookProcess {
    /// Starts it with these storage classes and waits until it listens.
    ///
    /// # Errors
    /// It did not start, or ended.
    pub async fn start(storage_classes: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for the webhook")?;
        let path = |name: &str| directory.path().join(name);
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])
            .context("making a certificate")?;
        std::fs::write(path("tls.crt"), made.cert.pem())?;
        std::fs::write(path("tls.key"), made.signing_key.serialize_pem())?;
        std::fs::write(path("classes.yaml"), storage_classes)?;
        let [certificate, key, classes] =
            ["tls.crt", "tls.key", "classes.yaml"].map(|name| path(name).display().to_string());
        let words = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--shutdown-delay",
            "0s",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
            "--storage-classes",
            &classes,
        ];
        let child =
            ChildProcess::start("rds-csi-webhook", &words.map(str::to_owned), &path("log"))?;
        let address = child
            .ready("the webhook listens", async || listening(&child.output()))
            .await?;
        Ok(Self {
            child,
            _directory: directory,
            address,
            certificate: made.cert.der().clone(),
        })
    }

    /// Where it answers reviews.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.child.output()
    }

    /// Sends an AdmissionReview over a new TLS connection and gives its `response`.
    ///
    /// # Errors
    /// No connection, a certificate of somebody else, or no answer of status 200.
    pub async fn review(&self, review: &Value) -> anyhow::Result<Value> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(self.address)
            .await
            .context("connecting to the webhook")?;
        let name = ServerName::try_from(NAME)?;
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .context("the TLS handshake")?;
        let body = review.to_string();
        let head = format!(
            "POST /validate HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .context("reading the answer")?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("an answer without a body")?;
        ensure!(
            head.starts_with("HTTP/1.1 200"),
            "the webhook answered {head}: {body}"
        );
        let answer: Value = serde_json::from_str(body).context("reading the review")?;
        Ok(answer["response"].clone())
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It did not end by itself, or not well.
    pub async fn stop(self) -> anyhow::Result<()> {
        let status = self.child.terminate().await?;
        ensure!(
            status.success(),
            "the webhook ended with {status}: {}",
            self.output()
        );
        Ok(())
    }
}

/// The address in its log line `listening reviews=… admin=…`, once it is there.
fn listening(log: &str) -> anyhow::Result<Option<SocketAddr>> {
    let address = log
        .lines()
        .find_map(|line| line.split_once("listening reviews=")?.1.split(' ').next());
    address
        .map(str::parse)
        .transpose()
        .context("reading the webhook's address")
}
