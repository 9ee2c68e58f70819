//! The port over a real API server.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use rds_csi_core::attachment::grant::name_on_nodes;
use rds_csi_core::attachment::observation::{
    Claim, KubeVirt, Migration, Node, Pod, VolumeAttachment,
};
use rds_csi_core::kind::Chain;
use rds_csi_core::names::{DriverName, is_object_name};
use rds_csi_core::volume_id::VolumeId;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::calls::{Calls, present};
use super::clearing::Clearing as _;
use super::client::client;
use super::joined::Joined;
use super::lease::{Election, Leadership};
use super::notice::{GET_VOLUME, Notice, Teller};
use super::wire::{AttachmentSpec, ClaimSpec, NodeSpec, Object, PodSpec, Spec, VolumeSpec};
use super::{
    Cluster, ClusterError, ClusterLink, MachineDisk, PersistentVolume, ReadAttachment, Reader,
    first_use, kubevirt,
};

/// How many objects one answer may hold: a bound of memory, here and there.
pub(super) const PAGE: u32 = 500;
/// The same of a watch's listings and of whatever is large: a pod is tens of kilobytes on the
/// wire.
pub(super) const WATCHED_PAGE: u32 = 50;
/// How often an idle controller looks whether the API server answers.
const PROBE: Duration = Duration::from_secs(15);
/// The owner of what is patched.
const MANAGER: &str = "rds-csi-driver";

const PATCH_VOLUME: &str = "patch persistentvolumes";
pub(super) const LIST_ATTACHMENTS: &str = "list volumeattachments";
const GET_NODE: &str = "get nodes";
pub(super) const LIST_PODS: &str = "list pods";
const GET_CLAIM: &str = "get persistentvolumeclaims";

/// An API server.
pub struct ApiServer {
    pub(super) driver: DriverName,
    pub(super) client: Client,
    pub(super) calls: Calls,
    leadership: Leadership,
    /// Those of a driver, of which there is one.
    pub(super) attachments: Joined<(), Vec<ReadAttachment>>,
    /// By namespace and node.
    pods: Joined<(String, String), Vec<Pod>>,
    /// By the path of a namespace.
    migrations: Joined<String, Vec<Migration>>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("driver", &self.driver)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// The API server that a kubeconfig leads to, or where none is named `$KUBECONFIG` or
    /// the service account of this pod, as seen by this driver. Asks nothing yet.
    ///
    /// # Errors
    /// [`ClusterError::Config`] if nothing leads to one.
    pub async fn new(kubeconfig: Option<&Path>, driver: &DriverName) -> Result<Self, ClusterError> {
        let client = client(kubeconfig, "controller", driver).await?;
        let server = Self::over(client, driver);
        first_use::expect(&server.calls);
        Ok(server)
    }

    /// The API server that a client leads to, to be read from.
    #[must_use]
    pub fn over(client: Client, driver: &DriverName) -> Self {
        Self {
            driver: driver.clone(),
            client,
            calls: Calls::default(),
            leadership: Leadership::default(),
            attachments: Joined::default(),
            pods: Joined::default(),
            migrations: Joined::default(),
        }
    }

    /// Follows the cluster: whether it answers, which volumes are used for the first time,
    /// and which of several controllers this is. Goes on for ever, whatever the API server
    /// does.
    pub async fn follow(&self) {
        let election = Election::new(self.client.clone(), &self.calls, &self.driver);
        tokio::join!(
            self.probe(),
            first_use::follow(self),
            election.hold(&self.leadership)
        );
    }

    /// Asks from time to time, so that readiness tells of now.
    async fn probe(&self) {
        let mut ticks = interval(PROBE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = true;
        loop {
            ticks.tick().await;
            let one = ListParams::default().limit(1);
            let attachments: Api<Object<AttachmentSpec>> = Api::all(self.client.clone());
            let outcome = self
                .calls
                .run(LIST_ATTACHMENTS, attachments.list(&one))
                .await;
            if answered && let Err(refusal) = &outcome {
                tracing::warn!("{}", Chain(&refusal.error));
            }
            answered = outcome.is_ok();
        }
    }

    /// What happens to objects of a kind, for ever. Errors are counted, and told as such: the
    /// watch goes on by itself.
    pub(super) fn events<S: Spec>(
        &self,
        call: &'static str,
    ) -> impl Stream<Item = watcher::Result<Event<Object<S>>>>
    where
        Object<S>: kube::Resource<DynamicType = ()>,
    {
        let api: Api<Object<S>> = Api::all(self.client.clone());
        let config = watcher::Config::default().page_size(WATCHED_PAGE);
        watcher(api, config)
            .default_backoff()
            .inspect(move |event| match event {
                Err(error) => self.calls.lost(call, error),
                Ok(Event::InitDone) => self.calls.followed(call),
                Ok(_) => {}
            })
    }

    fn kubevirt_reader(&self) -> kubevirt::Reader<'_> {
        kubevirt::Reader {
            client: &self.client,
            calls: &self.calls,
            migrations: &self.migrations,
        }
    }

    /// Lists objects page by page. The pages of one list are of one version of the store,
    /// the newest at the first.
    pub(super) async fn list<S: Spec>(
        &self,
        call: &'static str,
        api: Api<Object<S>>,
        mut parameters: ListParams,
        mut each: impl FnMut(Object<S>) + Send,
    ) -> Result<(), ClusterError>
    where
        Object<S>: kube::Resource<DynamicType = ()>,
    {
        loop {
            let page = self.calls.run(call, api.list(&parameters)).await;
            let page = page.map_err(|refusal| refusal.error)?;
            page.items.into_iter().for_each(&mut each);
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(());
            }
            parameters.continue_token = next;
        }
    }
}

#[async_trait]
impl Reader for ApiServer {
    async fn persistent_volume(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolume>, ClusterError> {
        let api: Api<Object<VolumeSpec>> = Api::all(self.client.clone());
        let found = present(self.calls.run(GET_VOLUME, api.get(name)).await)?;
        Ok(found.map(PersistentVolume::from))
    }

    async fn volume_attachments(&self) -> Result<Vec<VolumeAttachment>, ClusterError> {
        let read = self.read_attachments().await?;
        Ok(read.into_iter().map(|read| read.attachment).collect())
    }

    async fn node(&self, name: &str, volume: &VolumeId) -> Result<Option<Node>, ClusterError> {
        // What cannot be a name cannot be a path either.
        if !is_object_name(name) {
            return Ok(None);
        }
        let api: Api<Object<NodeSpec>> = Api::all(self.client.clone());
        let found = present(self.calls.run(GET_NODE, api.get(name)).await)?;
        Ok(found.map(|node| node.seen_from(&name_on_nodes(volume, &self.driver))))
    }

    async fn pods(&self, namespace: &str, node: &str) -> Result<Vec<Pod>, ClusterError> {
        let reading = async {
            let mut pods = Vec::new();
            let api: Api<Object<PodSpec>> = Api::namespaced(self.client.clone(), namespace);
            let there = ListParams::default()
                .fields(&format!("spec.nodeName={node}"))
                .limit(PAGE);
            self.list(LIST_PODS, api, there, |pod| pods.push(pod.into()))
                .await?;
            Ok(pods)
        };
        let key = (namespace.to_owned(), node.to_owned());
        self.pods.read(key, reading.boxed()).await
    }

    async fn kubevirt(
        &self,
        namespace: &str,
        machines: &BTreeSet<&str>,
    ) -> Result<KubeVirt, ClusterError> {
        self.kubevirt_reader().read(namespace, machines).await
    }

    async fn volume_of(&self, claim: &Claim) -> Result<Option<String>, ClusterError> {
        let api: Api<Object<ClaimSpec>> = Api::namespaced(self.client.clone(), &claim.namespace);
        let found = present(self.calls.run(GET_CLAIM, api.get(&claim.name)).await)?;
        Ok(found.and_then(Object::volume))
    }

    async fn disks(
        &self,
        namespace: &str,
        machine: &str,
    ) -> Result<Option<Vec<MachineDisk>>, ClusterError> {
        self.kubevirt_reader().disks(namespace, machine).await
    }
}

#[async_trait]
impl Cluster for ApiServer {
    async fn annotate(
        &self,
        volume: &PersistentVolume,
        key: &str,
        value: &str,
    ) -> Result<(), ClusterError> {
        let api: Api<Object<VolumeSpec>> = Api::all(self.client.clone());
        // A patch with a version is refused where the object has another one by now.
        let patch = json!({ "metadata": {
            "resourceVersion": volume.resource_version,
            "annotations": { key: value },
        }});
        let (parameters, patch) = (PatchParams::apply(MANAGER), Patch::Merge(patch));
        let patched = api.patch(&volume.name, &parameters, &patch);
        match self.calls.run(PATCH_VOLUME, patched).await {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.code, Some(404 | 409)) => Err(ClusterError::Changed {
                name: format!("PersistentVolume {}", volume.name),
            }),
            Err(refusal) => Err(refusal.error),
        }
    }

    async fn post(&self, volume: &str, notice: &Notice) -> Result<(), ClusterError> {
        let teller = Teller {
            client: &self.client,
            calls: &self.calls,
            driver: &self.driver,
            instance: "controller",
            action: "Attach",
        };
        teller.post(volume, notice).await
    }

    fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    fn link(&self) -> ClusterLink {
        self.calls.link()
    }
}
