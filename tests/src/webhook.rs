//! `rds-csi-webhook serve` as a running program, and reviews over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::child::ChildProcess;
use crate::metrics;

/// The name that API servers know it by, which its certificate is for.
pub const NAME: &str = "rds-csi-webhook.rds-csi.svc";
const CERTIFICATE: &str = "tls.crt";

/// The webhook on the test's own machine, on loopback, with a certificate made for it.
#[derive(Debug)]
pub struct WebhookProcess {
    child: ChildProcess,
    directory: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl WebhookProcess {
    /// Starts it with these storage classes and waits until it listens.
    ///
    /// # Errors
    /// It did not start, or ended.
    pub async fn start(storage_classes: &str) -> anyhow::Result<Self> {
        Self::with("--storage-classes", storage_classes).await
    }

    /// Starts it with the storage classes of a cluster and waits until it listens.
    ///
    /// # Errors
    /// It did not start, or ended.
    pub async fn in_cluster(kubeconfig: &str) -> anyhow::Result<Self> {
        Self::with("--kubeconfig", kubeconfig).await
    }

    /// Starts it with a flag that takes a file with this text.
    async fn with(flag: &str, text: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for the webhook")?;
        let path = |name: &str| directory.path().join(name);
        let names = [NAME, "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
        std::fs::write(path(CERTIFICATE), made.cert.pem())?;
        std::fs::write(path("tls.key"), made.signing_key.serialize_pem())?;
        std::fs::write(path("source.yaml"), text)?;
        let [certificate, key, source] =
            [CERTIFICATE, "tls.key", "source.yaml"].map(|name| path(name).display().to_string());
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
            flag,
            &source,
        ];
        let child =
            ChildProcess::start("rds-csi-webhook", &words.map(str::to_owned), &path("log"))?;
        let (address, admin) = child
            .ready("the webhook listens", async || listening(&child.output()))
            .await?;
        Ok(Self {
            child,
            directory,
            address,
            admin,
            certificate: made.cert.der().clone(),
        })
    }

    /// Where it answers reviews.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate in PEM, for it and for `127.0.0.1`, which nobody else signed.
    ///
    /// # Errors
    /// Its file could not be read.
    pub fn certificate(&self) -> anyhow::Result<String> {
        let path = self.directory.path().join(CERTIFICATE);
        std::fs::read_to_string(path).context("reading the webhook's certificate")
    }

    /// The page of its metrics.
    ///
    /// # Errors
    /// No connection, or what came is no text.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        metrics::page(self.admin, "/metrics").await
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
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
        let answer = self.connect().await?.review(&review.to_string()).await?;
        Ok(answer["response"].clone())
    }

    /// Opens a TLS connection for one review after another.
    ///
    /// # Errors
    /// No connection, or a certificate of somebody else.
    pub async fn connect(&self) -> anyhow::Result<Reviews> {
        Reviews::open(self.address, self.certificate.clone()).await
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

/// A connection to the webhook.
#[derive(Debug)]
pub struct Reviews {
    stream: BufReader<TlsStream<TcpStream>>,
}

impl Reviews {
    /// Opens one to a webhook with this certificate.
    ///
    /// # Errors
    /// No connection, or a certificate of somebody else.
    pub async fn open(
        address: SocketAddr,
        certificate: CertificateDer<'static>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(address)
            .await
            .context("connecting to the webhook")?;
        let name = ServerName::try_from(NAME)?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .context("the TLS handshake")?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends an AdmissionReview and gives the one that comes back.
    ///
    /// # Errors
    /// The connection ended, or the answer is not of status 200.
    pub async fn review(&mut self, body: &str) -> anyhow::Result<Value> {
        let request = format!(
            "POST /validate HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status).await?;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.stream
            .read_exact(&mut answer)
            .await
            .context("reading the answer")?;
        ensure!(
            status.starts_with("HTTP/1.1 200"),
            "the webhook answered {status}: {}",
            String::from_utf8_lossy(&answer)
        );
        serde_json::from_slice(&answer).context("reading the review")
    }
}

/// The addresses in its log line `listening reviews=… admin=…`, once it is there.
fn listening(log: &str) -> anyhow::Result<Option<(SocketAddr, SocketAddr)>> {
    let Some(line) = log.lines().find(|line| line.contains("listening reviews=")) else {
        return Ok(None);
    };
    let address = |name: &str| {
        let words = line.split(' ');
        let mut found = words.filter_map(|word| word.strip_prefix(name));
        let found = found
            .next()
            .with_context(|| format!("no {name} in {line}"))?;
        found.parse().context("reading the webhook's addresses")
    };
    Ok(Some((address("reviews=")?, address("admin=")?)))
}
