//! A model of kubelet's plugin manager.
//!
//! It does in one pass of [`Kubelet::look`] what the original does each second, in the
//! same order (Kubernetes 1.36, `pkg/kubelet/pluginmanager` and the registration handler
//! of `pkg/volume/csi`): forget what is gone or was replaced, then register what is not
//! known. Names that begin with a dot and files that are no sockets are passed over.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::pluginregistration::registration_client::RegistrationClient;
use csi_proto::pluginregistration::{InfoRequest, PluginInfo, RegistrationStatus};
use csi_proto::v1::NodeGetInfoRequest;
use csi_proto::v1::node_client::NodeClient;

use crate::running::{channel, channel_to};

/// How long GetInfo may take.
const GET_INFO: Duration = Duration::from_secs(1);

/// A driver that can be called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registered {
    pub(crate) info: PluginInfo,
    pub(crate) node_id: String,
    inode: u64,
}

/// A kubelet since its start.
pub(crate) struct Kubelet {
    directory: PathBuf,
    drivers: BTreeMap<PathBuf, Registered>,
    /// What the API server says when a CSINode is written.
    pub(crate) api_server: Result<(), &'static str>,
}

impl Kubelet {
    /// Has just started and knows nothing.
    pub(crate) fn started(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        Self {
            directory: directory.to_owned(),
            drivers: BTreeMap::new(),
            api_server: Ok(()),
        }
    }

    /// Which drivers it could call.
    pub(crate) fn drivers(&self) -> Vec<Registered> {
        self.drivers.values().cloned().collect()
    }

    /// One pass. The first error of it, if there was one.
    pub(crate) async fn look(&mut self) -> Result<(), String> {
        let found = self.sockets();
        self.drivers
            .retain(|path, known| found.get(path) == Some(&known.inode));
        let mut outcome = Ok(());
        for (path, inode) in found {
            if !self.drivers.contains_key(&path) {
                outcome = outcome.and(self.register(path, inode).await);
            }
        }
        outcome
    }

    fn sockets(&self) -> BTreeMap<PathBuf, u64> {
        let entries = fs::read_dir(&self.directory).unwrap();
        entries
            .map(Result::unwrap)
            .filter(|entry| !entry.file_name().to_str().unwrap().starts_with('.'))
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
            .filter(|(_, found)| found.file_type().is_socket())
            .map(|(path, found)| (path, found.ino()))
            .collect()
    }

    async fn register(&mut self, path: PathBuf, inode: u64) -> Result<(), String> {
        // What cannot be reached is tried again at the next pass, as ever.
        let connected = std::os::unix::net::UnixStream::connect(&path);
        connected.map_err(|error| format!("dial failed: {error}"))?;
        // The library's name for the host is the path, its slashes escaped.
        let authority = path.to_str().unwrap().replace('/', "%2F");
        let mut client = RegistrationClient::new(channel_to(&authority, &path).await);
        let asked = tokio::time::timeout(GET_INFO, client.get_info(InfoRequest {})).await;
        let info = asked.map_err(|_| "GetInfo took too long".to_owned())?;
        let info = info.map_err(|status| status.to_string())?.into_inner();
        let outcome = self.verdict(&info).await;
        let told = RegistrationStatus {
            plugin_registered: outcome.is_ok(),
            error: outcome.clone().err().unwrap_or_default(),
        };
        let answer = client.notify_registration_status(told).await;
        answer.map_err(|status| status.to_string())?;
        let node_id = outcome?;
        let registered = Registered {
            info,
            node_id,
            inode,
        };
        self.drivers.insert(path, registered);
        Ok(())
    }

    /// The node id, where the driver is good and its CSINode is written.
    async fn verdict(&self, info: &PluginInfo) -> Result<String, String> {
        if info.r#type != "CSIPlugin" {
            return Err(format!("no handler registered for {}", info.r#type));
        }
        if !info.supported_versions.iter().any(|v| v.starts_with("1.")) {
            return Err("None of the versions specified are supported".to_owned());
        }
        if self
            .drivers
            .values()
            .any(|known| known.info.name == info.name)
        {
            return Err("Another driver with the same name is already registered".to_owned());
        }
        let mut node = NodeClient::new(channel(Path::new(&info.endpoint)).await);
        let answer = node.node_get_info(NodeGetInfoRequest {}).await;
        let answer = answer.map_err(|status| status.to_string())?;
        self.api_server.map_err(str::to_owned)?;
        Ok(answer.into_inner().node_id)
    }
}
