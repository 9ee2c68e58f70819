//! `rds-csi-webhook serve`: binds the ports, runs the parts, ends them in order.
//!
//! Order of an end: not ready any more, then still answering while endpoints are being
//! updated, then no new connections, then the requests under way, then out. A part that
//! ends by itself takes the process down: half a webhook is worse than a restart.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rds_csi_cluster::{ApiServer, Watched};
use rds_csi_core::kind::Chain;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attachments::AttachmentRules;
use crate::certificates::keeper::Keeper;
use crate::config::{CertificateConfig, ClassSource, ServeConfig};
use crate::manifest;
use crate::metrics::Metrics;
use crate::review::Reviewer;
use crate::server::{BoundedAcceptor, Limits, Readiness, admin_router, review_router};
use crate::storage_classes::{StorageClassStore, watch};
use crate::tls::Certificate;
use crate::tls::files::FileError;

/// Why the webhook cannot serve, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The files hold no pair that can be used.
    #[error("loading the certificate")]
    Certificate(#[from] FileError),
    /// No protocol version is left to speak.
    #[error("configuring TLS")]
    Tls(#[source] rustls::Error),
    /// An address cannot be listened on.
    #[error("listening on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files with storage classes cannot be read.
    #[error("reading the storage classes: {0}")]
    ClassFiles(String),
    /// No way to a cluster is configured, or it is unreadable.
    #[error("finding the cluster")]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A part ended although nobody asked it to.
    #[error("{0} ended by itself")]
    Ended(&'static str),
    /// A server failed.
    #[error("serving {part}")]
    Server {
        /// Which port.
        part: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A second signal came before the orderly end.
    #[error("ended by a second signal before all requests were answered")]
    Forced,
}

/// A webhook whose ports are bound. A certificate from files is loaded; one of its own it
/// gets while it runs.
pub struct Webhook {
    config: ServeConfig,
    reviews: TcpListener,
    admin: TcpListener,
    certificate: Certificate,
    classes: StorageClassStore,
    client: Option<kube::Client>,
    watched: Option<Arc<Watched>>,
    metrics: Metrics,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A kube client has no Debug of its own.
        f.debug_struct("Webhook")
            .field("config", &self.config)
            .field("reviews", &self.reviews)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Loads what is needed and binds both ports; nothing is answered yet.
    pub async fn prepare(config: ServeConfig) -> Result<Self, ServeError> {
        let (certificate, metrics) = (Certificate::default(), Metrics::default());
        if let CertificateConfig::Files(files) = &config.certificate {
            files.load(&certificate).await?;
        }
        let classes = match &config.classes {
            ClassSource::Cluster => StorageClassStore::default(),
            ClassSource::Files(paths) => {
                let classes = manifest::storage_classes(paths).map_err(ServeError::ClassFiles)?;
                metrics.storage_classes(&classes);
                StorageClassStore::of(classes)
            }
        };
        let client = if needs_cluster(&config) {
            let client = crate::cluster::client(config.kubeconfig.as_deref()).await;
            Some(client.map_err(ServeError::Cluster)?)
        } else {
            None
        };
        let watched = match (&config.classes, &client) {
            (ClassSource::Cluster, Some(client)) => {
                let server = ApiServer::over(client.clone(), &config.driver);
                Some(Arc::new(Watched::over(Arc::new(server))))
            }
            _ => None,
        };
        Ok(Self {
            reviews: listen(config.listen)?,
            admin: listen(config.admin_listen)?,
            certificate,
            classes,
            client,
            watched,
            metrics,
            config,
        })
    }

    /// Where reviews are posted, with the port that was chosen for port 0.
    pub fn review_address(&self) -> io::Result<SocketAddr> {
        self.reviews.local_addr()
    }

    /// Where health, readiness and metrics are.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// What the running webhook counts.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Serves until `stop` is cancelled and the requests under way are answered, or the
    /// grace is over.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let (reviews, admin) = (Handle::new(), Handle::new());
        let mut parts: JoinSet<Result<(), ServeError>> = JoinSet::new();
        parts.spawn(serve_admin(
            self.admin.try_clone().map_err(server("the admin port"))?,
            Readiness {
                certificate: self.certificate.clone(),
                classes: self.classes.clone(),
                stopping: stop.clone(),
            },
            self.metrics.clone(),
            admin.clone(),
        ));
        self.follow_cluster(&mut parts);
        let (delay, grace) = (self.config.shutdown_delay, self.config.shutdown_grace);
        let mut answering = JoinSet::new();
        answering.spawn(self.serve_reviews(reviews.clone(), stop.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = parts.join_next() => return Err(premature(ended, "a part")),
            Some(ended) = answering.join_next() => return Err(premature(ended, "the review port")),
        }
        tracing::info!(?delay, ?grace, "not ready any more");
        tokio::time::sleep(delay).await;
        reviews.graceful_shutdown(Some(grace));
        let result = answering.join_next().await;
        admin.shutdown();
        parts.shutdown().await;
        match result {
            Some(Ok(result)) => result,
            _ => Err(ServeError::Ended("the review port")),
        }
    }

    /// Starts what keeps classes and certificate as they are in the cluster or in files.
    fn follow_cluster(&self, parts: &mut JoinSet<Result<(), ServeError>>) {
        let (certificate, metrics) = (self.certificate.clone(), self.metrics.clone());
        let interval = self.config.tls_reload_interval;
        match (&self.config.certificate, &self.client) {
            (CertificateConfig::Own(settings), Some(client)) => {
                let keeper = Keeper::new(client.clone(), settings.clone(), certificate, metrics);
                parts.spawn(async move { match keeper.keep(interval).await {} });
            }
            (CertificateConfig::Files(files), _) => {
                let files = files.clone();
                parts.spawn(async move {
                    match files.follow(&certificate, interval, &metrics).await {}
                });
            }
            (CertificateConfig::Own(_), None) => {}
        }
        if let (ClassSource::Cluster, Some(client)) = (&self.config.classes, &self.client) {
            let (client, classes) = (client.clone(), self.classes.clone());
            let metrics = self.metrics.clone();
            parts.spawn(async move {
                watch::follow(client, &classes, &metrics).await;
                Err(ServeError::Ended("the watch on storage classes"))
            });
        }
        if let Some(watched) = self.watched.clone() {
            parts.spawn(async move {
                watched.follow().await;
                Err(ServeError::Ended("the watch on attachments"))
            });
        }
    }

    async fn serve_reviews(
        self,
        handle: Handle<SocketAddr>,
        stopping: CancellationToken,
    ) -> Result<(), ServeError> {
        const PART: &str = "the review port";
        let limits = self.config.limits;
        let driver = self.config.driver;
        let mut reviewer = Reviewer::new(driver.clone(), self.classes, self.metrics.clone());
        if let Some(watched) = self.watched {
            let live = watched.live();
            let (modes, limit) = (self.config.modes, limits.judgement());
            let rules = AttachmentRules::new(watched, live, driver, modes, limit);
            reviewer = reviewer.with_attachments(rules);
        }
        let reviewer = Arc::new(reviewer);
        let tls = self.certificate.server_config().map_err(ServeError::Tls)?;
        let tls = RustlsConfig::from_config(tls);
        let acceptor = RustlsAcceptor::new(tls)
            .handshake_timeout(limits.handshake)
            .acceptor(BoundedAcceptor::new(
                limits.connections,
                limits.idle,
                self.metrics.refused_connections.clone(),
            ));
        let mut server = axum_server::from_tcp(self.reviews)
            .map_err(server(PART))?
            .acceptor(acceptor)
            .handle(handle);
        limits.apply(&mut server);
        let router = review_router(reviewer, &limits, &self.metrics, stopping);
        server
            .serve(router.into_make_service())
            .await
            .map_err(self::server(PART))
    }
}

fn needs_cluster(config: &ServeConfig) -> bool {
    config.classes == ClassSource::Cluster
        || matches!(config.certificate, CertificateConfig::Own(_))
}

async fn serve_admin(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    handle: Handle<SocketAddr>,
) -> Result<(), ServeError> {
    const PART: &str = "the admin port";
    let limits = Limits {
        connections: 32,
        ..Limits::default()
    };
    let refused = metrics.refused_connections.clone();
    let mut server = axum_server::from_tcp(listener)
        .map_err(self::server(PART))?
        .acceptor(BoundedAcceptor::new(
            limits.connections,
            limits.idle,
            refused,
        ))
        .handle(handle);
    limits.apply(&mut server);
    server
        .serve(admin_router(readiness, metrics).into_make_service())
        .await
        .map_err(self::server(PART))
}

fn server(part: &'static str) -> impl Fn(io::Error) -> ServeError {
    move |source| ServeError::Server { part, source }
}

/// What a part that ended on its own died of.
fn premature(
    ended: Result<Result<(), ServeError>, tokio::task::JoinError>,
    part: &'static str,
) -> ServeError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => ServeError::Ended(part),
        Err(error) => {
            tracing::error!(error = %Chain(&error), part, "panicked");
            ServeError::Ended(part)
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Bind { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}
