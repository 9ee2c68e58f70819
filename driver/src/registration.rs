//! The node plugin makes itself known to kubelet: plugin registration, version v1.
//!
//! kubelet watches a directory. When a socket appears in it, and again for each socket
//! that it finds when it starts, it asks there who the plugin is, calls NodeGetInfo on
//! the CSI socket that the answer names, writes the driver into the node's CSINode and
//! says here what became of it. When the socket vanishes it forgets the driver. So the
//! socket is there as long as CSI is served and no longer: it appears after the CSI
//! socket has answered, and goes first at an orderly end. One that a killed process left
//! is replaced, and kubelet asks anew.
//!
//! A refusal does not end the process. kubelet asks again by itself, after pauses that
//! grow to two minutes, and most refusals are an API server that is away for a while.
//! Ending would only cut off calls under way and exchange those pauses for the longer
//! ones before a container is started again. It is an error in the log, a count in the
//! metrics, and the reason at `/readyz`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::pluginregistration::registration_server::{
    Registration as RegistrationService, RegistrationServer,
};
use csi_proto::pluginregistration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use rds_csi_core::kind::{Chain, Failure, Kind};
use rds_csi_core::names::DriverName;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::admin::Readiness;
use crate::config::RegistrationConfig;
use crate::metrics::Metrics;
use crate::server::liveness::Liveness;
use crate::server::{Socket, SocketError};

/// What kubelet calls a CSI driver among its kinds of plugins.
const PLUGIN_TYPE: &str = "CSIPlugin";
/// The version of CSI that is spoken, as kubelet wants it: it takes any 1.x for the same.
const CSI_VERSION: &str = "1.0.0";
/// The name of the condition at `/readyz`.
const CONDITION: &str = "registration";
/// How long to wait before the CSI socket is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why kubelet cannot be told of the plugin.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Nobody would ever look there.
    #[error(
        "{directory:?} is no directory; mount kubelet's plugins_registry there, or say --registration-dir=off"
    )]
    Directory {
        /// Where the socket was to be.
        directory: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// There is no socket.
    #[error("opening the registration socket")]
    Socket(#[from] SocketError),
    /// The gRPC server failed.
    #[error("serving the registration socket")]
    Grpc(#[source] tonic::transport::Error),
    /// The gRPC server ended although nobody asked it to.
    #[error("the registration socket ended by itself")]
    Ended,
}

impl Failure for RegistrationError {
    fn kind(&self) -> Kind {
        match self {
            Self::Directory { .. } | Self::Grpc(_) => Kind::Unreachable,
            Self::Socket(error) => error.kind(),
            Self::Ended => Kind::Bug,
        }
    }
}

/// A plugin that kubelet does not know of yet.
#[derive(Debug)]
pub(crate) struct Registration {
    socket: PathBuf,
    plugin: Plugin,
}

impl Registration {
    /// Of the named driver. Until kubelet has confirmed it, `readiness` does not hold.
    pub(crate) fn new(
        driver_name: &DriverName,
        config: &RegistrationConfig,
        readiness: &Readiness,
        metrics: &Metrics,
    ) -> Self {
        let plugin = Plugin {
            info: PluginInfo {
                r#type: PLUGIN_TYPE.to_owned(),
                name: driver_name.to_string(),
                endpoint: config.kubelet_endpoint.display().to_string(),
                supported_versions: vec![CSI_VERSION.to_owned()],
            },
            readiness: readiness.clone(),
            metrics: metrics.clone(),
        };
        plugin.not_yet("the CSI socket has not answered yet");
        Self {
            socket: config.socket.clone(),
            plugin,
        }
    }

    /// Waits until the CSI socket answers, then lets kubelet ask, until `stop`.
    ///
    /// # Errors
    /// When the socket cannot be bound or served. A refusal by kubelet is none.
    pub(crate) async fn serve(
        self,
        csi: &Liveness,
        stop: CancellationToken,
    ) -> Result<(), RegistrationError> {
        while let Err(error) = csi.ask().await {
            tracing::warn!("not registering yet: {}", Chain(&error));
            tokio::time::sleep(PAUSE).await;
        }
        if stop.is_cancelled() {
            return Ok(());
        }
        let Self { socket, plugin } = self;
        directory_of(&socket)?;
        let bound = Socket::bind(&socket)?;
        tracing::info!(?socket, "waiting for kubelet to ask");
        plugin.not_yet(&format!("kubelet has not asked on {socket:?}"));
        let metrics = plugin.metrics.clone();
        let routes = Routes::new(RegistrationServer::new(plugin));
        let served = bound.serve(routes, metrics, stop.clone()).await;
        served.map_err(RegistrationError::Grpc)?;
        stop.is_cancelled()
            .then_some(())
            .ok_or(RegistrationError::Ended)
    }
}

/// kubelet's directory is never made here: it would be one that nobody watches.
fn directory_of(socket: &Path) -> Result<(), RegistrationError> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(directory).and_then(|found| {
        let wrong = io::Error::from(io::ErrorKind::NotADirectory);
        found.is_dir().then_some(()).ok_or(wrong)
    });
    found.map_err(|source| RegistrationError::Directory {
        directory: directory.to_owned(),
        source,
    })
}

/// What kubelet is told, and where its verdict is kept.
#[derive(Debug)]
struct Plugin {
    info: PluginInfo,
    readiness: Readiness,
    metrics: Metrics,
}

impl Plugin {
    fn not_yet(&self, reason: &str) {
        let reason = format!("not registered with kubelet: {reason}");
        self.readiness.set(CONDITION, Err(reason));
    }
}

#[tonic::async_trait]
impl RegistrationService for Plugin {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        // Whoever asks does not know the plugin any more: kubelet was started again.
        self.not_yet("kubelet has asked and not decided yet");
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let RegistrationStatus {
            plugin_registered,
            error,
        } = request.into_inner();
        self.metrics.registration(plugin_registered);
        if plugin_registered {
            tracing::info!(driver = self.info.name, "registered with kubelet");
            self.readiness.set(CONDITION, Ok(()));
        } else {
            tracing::error!(
                driver = self.info.name,
                reason = error,
                "kubelet refused the plugin; it will ask again"
            );
            self.not_yet(&format!("kubelet refused it: {error:?}"));
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
