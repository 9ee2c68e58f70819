//! A Kubernetes API server in memory, behind real HTTP: what the driver asks of one.
//!
//! Objects have versions and a log of changes, lists have pages of one version, a watch
//! begins where its version says, and a patch or a deletion over an old version is refused,
//! as Kubernetes' API concepts describe them. It checks no schema and no permission: what
//! was asked is written down, for tests to compare.

mod http;
pub mod objects;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_csi_cluster::ApiServer;
use rds_csi_core::names::DriverName;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use store::Store;

/// What happens to requests instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this HTTP status; nothing is done.
    Status(u16),
    /// Done, and then answered with this HTTP status.
    Lost(u16),
    /// Answered, but so much later.
    Slow(Duration),
    /// Never answered; nothing is done.
    Hang,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// As RBAC calls it: `list persistentvolumes`.
    pub call: String,
    /// Who says to ask.
    pub user_agent: String,
}

/// An API server; ends when it is dropped.
#[derive(Debug)]
pub struct FakeApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    _server: JoinSet<io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The newest version.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    store: Store,
    requests: Vec<Request>,
    /// By call: what happens to its requests, and to how many.
    faults: Vec<(String, Fault, u32)>,
    /// The versions of KubeVirt that the cluster serves, the preferred one first, each with
    /// its kinds as paths name them.
    kubevirt: Vec<(String, Vec<String>)>,
    /// Ends the watches of now.
    watches: CancellationToken,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: &str, user_agent: &str) -> Option<Fault> {
        let mut state = self.state();
        state.requests.push(Request {
            call: call.to_owned(),
            user_agent: user_agent.to_owned(),
        });
        let meant = |name: &str| name == "*" || name == call;
        let fault = state
            .faults
            .iter_mut()
            .find(|(name, _, times)| meant(name) && *times > 0);
        let (_, fault, times) = fault?;
        *times -= 1;
        Some(fault.clone())
    }
}

impl FakeApiServer {
    /// An empty cluster on a port of this machine.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start() -> io::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?)
    }

    /// An empty cluster on a port that is bound.
    ///
    /// # Errors
    /// The port has no address.
    pub fn on(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        let mut server = JoinSet::new();
        let routes = http::router(shared.clone());
        server.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self {
            shared,
            address,
            _server: server,
        })
    }

    /// A kubeconfig that leads to an API server at an address.
    #[must_use]
    pub fn kubeconfig(address: SocketAddr) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        })
        .to_string()
    }

    /// A client of an API server at an address, as a controller has one.
    ///
    /// # Errors
    /// The kubeconfig could not be written for it, or not be read.
    pub async fn client(address: SocketAddr) -> anyhow::Result<Arc<ApiServer>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("kubeconfig");
        std::fs::write(&path, Self::kubeconfig(address))?;
        let server = ApiServer::new(Some(&path), &DriverName::default()).await?;
        Ok(Arc::new(server))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an object or changes the one of its kind, namespace and name, as a JSON merge
    /// patch does. It gets a version, and a UID and a time where it has none.
    pub fn put(&self, object: &Value) {
        let version = self.shared.state().store.put(object);
        self.shared.changed.send_replace(version);
    }

    /// Removes an object, if it is there.
    pub fn delete(&self, resource: &str, name: &str) {
        let version = self.shared.state().store.delete(resource, name);
        self.shared.changed.send_replace(version);
    }

    /// Lets the cluster know kinds of KubeVirt in version v1, named as in paths.
    pub fn know_kubevirt(&self, kinds: &[&str]) {
        self.serve_kubevirt(&[("v1", kinds)]);
    }

    /// Lets the cluster serve these versions of KubeVirt, the preferred one first, each with
    /// kinds named as in paths. One without a kind is not served. The objects are the same in
    /// each.
    pub fn serve_kubevirt(&self, versions: &[(&str, &[&str])]) {
        let served = versions.iter().filter(|(_, kinds)| !kinds.is_empty());
        let owned = |&(version, kinds): &(&str, &[&str])| {
            let kinds = kinds.iter().map(|&kind| kind.to_owned());
            (version.to_owned(), kinds.collect())
        };
        self.shared.state().kubevirt = served.map(owned).collect();
    }

    /// An object as it is now.
    #[must_use]
    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        self.shared.state().store.get(resource, name).cloned()
    }

    /// Every object of a resource as it is now.
    #[must_use]
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let page = self
            .shared
            .state()
            .store
            .list(resource, |_| true, usize::MAX, None);
        page.map(|(objects, ..)| objects).unwrap_or_default()
    }

    /// Lets the next requests of a call (`list pods`, or `*`) meet a fault.
    pub fn fail(&self, call: &str, fault: Fault, times: u32) {
        let mut state = self.shared.state();
        state.faults.push((call.to_owned(), fault, times));
    }

    /// Answers everything again.
    pub fn heal(&self) {
        self.shared.state().faults.clear();
    }

    /// Ends every watch, as a restart does.
    pub fn cut_watches(&self) {
        let mut state = self.shared.state();
        std::mem::take(&mut state.watches).cancel();
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }
}
