//! The files of a running cluster, as the supervisor writes and everybody else reads
//! them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The directory of a cluster's state.
#[derive(Debug, Clone)]
pub struct State(PathBuf);

impl State {
    /// The variable that names it.
    pub const VARIABLE: &'static str = "RDS_CSI_CLUSTER";
    /// Where it is if the variable is not set. Guests read their certificates there, and
    /// see this machine's files, but those below `/run` and `/dev`.
    const DEFAULT: &'static str = "/var/lib/rds-csi-cluster";

    /// The state in a directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The state that `hack/cluster` uses.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self(std::env::var_os(Self::VARIABLE).map_or_else(|| Self::DEFAULT.into(), PathBuf::from))
    }

    /// One of its files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The log of a part of the control plane.
    #[must_use]
    pub fn log(&self, part: &str) -> PathBuf {
        self.0.join("log").join(format!("{part}.log"))
    }

    /// The kubeconfig of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("pki").join("admin.kubeconfig")
    }

    /// The socket on which the supervisor takes orders.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("orders")
    }

    fn description(&self) -> PathBuf {
        self.path("cluster.json")
    }

    /// What the cluster is made of.
    ///
    /// # Errors
    /// There is no cluster that is up.
    pub fn read(&self) -> anyhow::Result<Description> {
        let path = self.description();
        let text = fs::read(&path).with_context(|| {
            format!(
                "reading {}: no cluster is up; start one: hack/cluster up",
                path.display()
            )
        })?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    pub(super) fn write(&self, description: &Description) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(description).context("describing the cluster")?;
        let (path, part) = (self.description(), self.path("cluster.json.part"));
        fs::write(&part, text).with_context(|| format!("writing {}", part.display()))?;
        fs::rename(&part, &path).with_context(|| format!("writing {}", path.display()))
    }
}

/// What a cluster is made of: all that is needed to work with it from another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// The folder of kubectl, helm and the others.
    pub tools: PathBuf,
    /// Its nodes.
    pub nodes: Vec<NodeDescription>,
    /// Its appliance.
    pub appliance: ApplianceDescription,
}

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeDescription {
    /// The name of the Node.
    pub name: String,
    /// Where its guest's agent listens.
    pub agent: SocketAddr,
    /// Its address on the cluster's network.
    pub address: Ipv4Addr,
    /// The directory of its logs, in the cluster's mount namespace.
    pub share: PathBuf,
}

/// The appliance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApplianceDescription {
    /// Where its guest's agent listens.
    pub agent: SocketAddr,
    /// Where its SSH server listens, on the cluster's network.
    pub ssh: SocketAddr,
    /// Where nodes connect, on the storage network.
    pub nvme: Ipv4Addr,
    /// The private key of the user `rds-csi`.
    pub key: PathBuf,
    /// The key by which it proves itself, in OpenSSH form.
    pub host_key: String,
    /// The directory of its logs, in the cluster's mount namespace.
    pub share: PathBuf,
}
