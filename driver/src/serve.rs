//! A role from its configuration to its end: binds, serves, drains.
//!
//! Order of an end: not ready any more, not registered any more and no new calls, then
//! the operations under way, whoever waits for them, then the admin port, then out. A part that ends by itself
//! takes the process down. The ports to the device and the host come from outside and
//! must outlive this: an operation that drains still needs them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use rds_csi_cluster::{Cluster, ClusterError, NodeCluster};
use rds_csi_core::kind::{Failure, Kind};
use rds_csi_host::block::BlockDevices;
use rds_csi_host::mounter::Mounter;
use rds_csi_host::nvme::NvmeHost;
use rds_csi_host::registry::Registry;
use rds_csi_routeros::Rds;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::admin::{self, BindError, Readiness};
use crate::config::{ControllerConfig, NodeConfig};
use crate::controller::{Beside, Controller};
use crate::csi;
use crate::detach::Tasks;
use crate::metrics::{ClusterRequests, DeviceLink, InFlight, Metrics};
use crate::node::{Engine, Node, NotReady};
use crate::registration::{Registration, RegistrationError};
use crate::server::liveness::Liveness;
use crate::server::{Socket, SocketError};

/// Why a role cannot serve, or ended in disorder.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The asynchronous runtime cannot be made.
    #[error("starting the runtime")]
    Runtime(#[source] io::Error),
    /// The machine lacks what a node needs.
    #[error("preparing the node")]
    NotReady(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody says which boot of the machine this is.
    #[error("reading the boot id of this machine")]
    Boot(#[source] io::Error),
    /// There is no way to the cluster.
    #[error("preparing the way to the cluster")]
    Cluster(#[from] ClusterError),
    /// Signals cannot be listened to.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
    /// There is no CSI socket.
    #[error("opening the CSI socket")]
    Socket(#[from] SocketError),
    /// There is no admin port.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// The gRPC server failed.
    #[error("serving CSI")]
    Grpc(#[source] tonic::transport::Error),
    /// The node plugin cannot make itself known to kubelet.
    #[error("registering with kubelet")]
    Registration(#[source] RegistrationError),
    /// A part ended although nobody asked it to.
    #[error("{0} ended by itself")]
    Ended(&'static str),
    /// Operations were still under way when the grace was over; each is safe to ask
    /// again.
    #[error("{in_flight} operations were cut off after the grace of {grace:?}")]
    CutOff {
        /// How many.
        in_flight: usize,
        /// How long was waited.
        grace: Duration,
    },
    /// A second signal came before the orderly end.
    #[error("ended by a second signal")]
    Forced,
}

impl Failure for ServeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Runtime(_)
            | Self::NotReady(_)
            | Self::Boot(_)
            | Self::Signals(_)
            | Self::Admin(_)
            | Self::Grpc(_) => Kind::Unreachable,
            Self::Socket(error) => error.kind(),
            Self::Registration(error) => error.kind(),
            Self::Cluster(error) => error.kind(),
            Self::Ended(_) => Kind::Bug,
            Self::CutOff { .. } | Self::Forced => Kind::Timeout,
        }
    }
}

impl From<NotReady> for ServeError {
    fn from(missing: NotReady) -> Self {
        Self::NotReady(Box::new(missing))
    }
}

/// A role whose ports are bound and which does not answer yet.
#[derive(Debug)]
pub struct Driver {
    socket: Socket,
    admin: Option<TcpListener>,
    routes: Routes,
    metrics: Metrics,
    readiness: Readiness,
    liveness: Liveness,
    registration: Option<Registration>,
    node: Option<Arc<Node>>,
    engine: Option<Engine>,
    beside: Option<Beside>,
    tasks: Tasks,
    grace: Duration,
    stop: CancellationToken,
}

impl Driver {
    /// Binds a controller of `rds` that asks `cluster` who may have a volume, or nobody
    /// where there is none. It ends when `stop` is cancelled.
    ///
    /// # Errors
    /// When the socket or the admin address cannot be bound.
    pub async fn controller(
        config: &ControllerConfig,
        rds: Arc<dyn Rds>,
        cluster: Option<Arc<dyn Cluster>>,
        stop: CancellationToken,
    ) -> Result<Self, ServeError> {
        let tasks = Tasks::new(stop.clone());
        let mut sources: Vec<Box<dyn Collector>> = vec![
            Box::new(InFlight(tasks.clone())),
            Box::new(DeviceLink(rds.clone())),
        ];
        let readiness = Readiness::default();
        readiness.observe("device", device_condition(rds.clone()));
        if let Some(cluster) = cluster.clone() {
            sources.push(Box::new(ClusterRequests(cluster.clone())));
            readiness.observe("cluster", move || {
                cluster.link().trouble.map_or(Ok(()), Err)
            });
        }
        let metrics = Metrics::new("controller", sources);
        let (controller, beside) = Controller::new(config.settings(), rds, cluster, &metrics);
        let routes = csi::controller_routes(&config.driver_name, controller, tasks.clone());
        Ok(Self {
            socket: Socket::bind(&config.endpoint)?,
            admin: admin::bind(config.admin).await?,
            routes,
            metrics,
            readiness,
            liveness: Liveness::new(&config.endpoint, &stop),
            registration: None,
            node: None,
            engine: None,
            beside,
            tasks,
            grace: config.shutdown_grace,
            stop,
        })
    }

    /// Binds a node over the ports to its host, in the boot of the machine that `boot`
    /// names, which asks `cluster` whether a volume is still its own, or nobody where
    /// there is none. It ends when `stop` is cancelled.
    ///
    /// # Errors
    /// When the socket or the admin address cannot be bound.
    pub async fn node<H>(
        config: &NodeConfig,
        host: Arc<H>,
        boot: &str,
        cluster: Option<Arc<dyn NodeCluster>>,
        stop: CancellationToken,
    ) -> Result<Self, ServeError>
    where
        H: NvmeHost + Mounter + BlockDevices + 'static,
    {
        let tasks = Tasks::new(stop.clone());
        let registry = Registry::new(&config.state_dir);
        let metrics = Metrics::new("node", vec![Box::new(InFlight(tasks.clone()))]);
        let settings = config.settings(boot);
        let node = Arc::new(Node::new(settings, host, registry, metrics.clone()));
        let engine = Engine::new(node.clone(), cluster);
        let routes = csi::node_routes(&config.driver_name, node.clone(), tasks.clone());
        let readiness = Readiness::default();
        let registration = config.registration.as_ref().map(|registration| {
            Registration::new(&config.driver_name, registration, &readiness, &metrics)
        });
        Ok(Self {
            socket: Socket::bind(&config.endpoint)?,
            admin: admin::bind(config.admin).await?,
            routes,
            metrics,
            readiness,
            liveness: Liveness::new(&config.endpoint, &stop),
            registration,
            node: Some(node),
            engine: Some(engine),
            beside: None,
            tasks,
            grace: config.shutdown_grace,
            stop,
        })
    }

    /// Where the admin port listens, if it does.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`, then until the last operation has ended, but no longer than
    /// the grace.
    ///
    /// # Errors
    /// When a part failed or ended by itself, or the grace was over.
    pub async fn run(self) -> Result<(), ServeError> {
        let Self {
            socket,
            admin,
            routes,
            metrics,
            readiness,
            liveness,
            registration,
            node,
            engine,
            beside,
            tasks,
            grace,
            stop,
        } = self;
        readiness.set("serving", Ok(()));
        let pages = admin::router(metrics.clone(), readiness.clone(), liveness.clone());
        let csi = async {
            let served = socket.serve(routes, metrics, stop.clone()).await;
            served.map_err(ServeError::Grpc)?;
            stop.is_cancelled()
                .then_some(())
                .ok_or(ServeError::Ended("the CSI socket"))
        };
        let registered = async {
            match registration {
                Some(registration) => {
                    let served = registration.serve(&liveness, stop.clone()).await;
                    served.map_err(ServeError::Registration)
                }
                None => Ok(()),
            }
        };
        // Large, and kept on the heap so that its callers are not.
        let calls = Box::pin(async {
            tokio::try_join!(csi, registered, watch(engine, &stop))?;
            tasks.finished().await;
            Ok(())
        });
        let grace_over = async {
            stop.cancelled().await;
            readiness.set("serving", Err("shutting down".to_owned()));
            tokio::time::sleep(grace).await;
        };
        let outcome = tokio::select! {
            outcome = calls => outcome,
            ended = machine_ends(node.as_deref(), &stop) => match ended {},
            () = grace_over => Err(ServeError::CutOff { in_flight: tasks.in_flight(), grace }),
            () = do_beside(beside) => Err(ServeError::Ended("what is done beside calls")),
            () = admin::serve(admin, pages, admin::Limits::default()) => Err(ServeError::Ended("the admin port")),
        };
        // Seen only now, perhaps.
        if let Some(node) = node.filter(|_| stop.is_cancelled()) {
            node.lower_loss_times().await;
        }
        outcome
    }
}

async fn watch(engine: Option<Engine>, stop: &CancellationToken) -> Result<(), ServeError> {
    if let Some(engine) = engine {
        engine.run(stop.clone()).await;
    }
    Ok(())
}

async fn do_beside(beside: Option<Beside>) {
    match beside {
        Some(beside) => Box::pin(beside.run()).await,
        None => std::future::pending().await,
    }
}

/// Looks, once the plugin is to end, whether the whole machine is: an operation that
/// drains may hang until then.
async fn machine_ends(node: Option<&Node>, stop: &CancellationToken) -> Infallible {
    stop.cancelled().await;
    if let Some(node) = node {
        node.follow_shutdown().await;
    }
    std::future::pending().await
}

/// Runs a controller of `rds` from its socket to its end. See [`Driver`].
///
/// # Errors
/// See [`Driver::controller`] and [`Driver::run`].
pub async fn serve_controller(
    config: &ControllerConfig,
    rds: Arc<dyn Rds>,
    cluster: Option<Arc<dyn Cluster>>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    Driver::controller(config, rds, cluster, stop)
        .await?
        .run()
        .await
}

/// Runs a node from its socket to its end. See [`Driver`].
///
/// # Errors
/// See [`Driver::node`] and [`Driver::run`].
pub async fn serve_node<H>(
    config: &NodeConfig,
    host: Arc<H>,
    boot: &str,
    cluster: Option<Arc<dyn NodeCluster>>,
    stop: CancellationToken,
) -> Result<(), ServeError>
where
    H: NvmeHost + Mounter + BlockDevices + 'static,
{
    let driver = Driver::node(config, host, boot, cluster, stop).await?;
    driver.run().await
}

/// Whether the device answered last time.
fn device_condition(rds: Arc<dyn Rds>) -> impl Fn() -> Result<(), String> + Send + Sync {
    move || {
        let link = rds.link();
        if link.connected {
            Ok(())
        } else {
            Err(link
                .last_error
                .unwrap_or_else(|| "not connected yet".to_owned()))
        }
    }
}
