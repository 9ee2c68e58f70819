//! The port over a real API server.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use rds_csi_core::attachment::grant::VolumeAttachment;
use rds_csi_core::kind::Chain;
use rds_csi_core::names::DriverName;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::calls::{Calls, Refusal};
use super::client::client;
use super::wire::{AttachmentSpec, Object, VolumeSpec};
use super::{Cluster, ClusterError, ClusterLink, PersistentVolume, first_use};

/// How many objects one answer may hold: a bound of memory, here and there.
const PAGE: u32 = 500;
/// How often an idle controller looks whether the API server answers.
const PROBE: Duration = Duration::from_secs(15);
/// The owner of what is patched.
const MANAGER: &str = "rds-csi-driver";

const GET_VOLUME: &str = "get persistentvolumes";
const PATCH_VOLUME: &str = "patch persistentvolumes";
const LIST_ATTACHMENTS: &str = "list volumeattachments";

/// An API server.
pub struct ApiServer {
    pub(super) driver: DriverName,
    pub(super) client: Client,
    pub(super) calls: Calls,
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
        let server = Self {
            driver: driver.clone(),
            client: client(kubeconfig, "controller", driver).await?,
            calls: Calls::default(),
        };
        first_use::expect(&server.calls);
        Ok(server)
    }

    /// Follows the cluster: whether it answers, and which volumes are used for the first
    /// time. Goes on for ever, whatever the API server does.
    pub async fn follow(&self) {
        tokio::join!(self.probe(), first_use::follow(self));
    }

    /// Asks from time to time, so that readiness tells of now.
    async fn probe(&self) {
        let mut ticks = interval(PROBE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = true;
        loop {
            ticks.tick().await;
            let outcome = self.page(1, None).await;
            if answered && let Err(refusal) = &outcome {
                tracing::warn!("{}", Chain(&refusal.error));
            }
            answered = outcome.is_ok();
        }
    }

    async fn page(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<kube::core::ObjectList<Object<AttachmentSpec>>, Refusal> {
        let api: Api<Object<AttachmentSpec>> = Api::all(self.client.clone());
        let parameters = ListParams {
            continue_token: after.map(str::to_owned),
            ..ListParams::default().limit(limit)
        };
        let list = api.list(&parameters);
        self.calls.run(LIST_ATTACHMENTS, list).await
    }
}

#[async_trait]
impl Cluster for ApiServer {
    async fn persistent_volume(
        &self,
        name: &str,
    ) -> Result<Option<PersistentVolume>, ClusterError> {
        let api: Api<Object<VolumeSpec>> = Api::all(self.client.clone());
        match self.calls.run(GET_VOLUME, api.get(name)).await {
            Ok(object) => Ok(Some(object.into())),
            Err(refusal) if refusal.code == Some(404) => Ok(None),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// The pages of one list are of one version of the store, the newest at the first.
    async fn volume_attachments(&self) -> Result<Vec<VolumeAttachment>, ClusterError> {
        let mut attachments = Vec::new();
        let mut after = None;
        loop {
            let page = self.page(PAGE, after.as_deref()).await;
            let page = page.map_err(|refusal| refusal.error)?;
            let ours = page
                .items
                .into_iter()
                .filter(|object| object.spec.attacher == self.driver.as_str());
            attachments.extend(ours.map(VolumeAttachment::from));
            after = page.metadata.continue_.filter(|token| !token.is_empty());
            if after.is_none() {
                return Ok(attachments);
            }
        }
    }

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
                name: volume.name.clone(),
            }),
            Err(refusal) => Err(refusal.error),
        }
    }

    fn link(&self) -> ClusterLink {
        self.calls.link()
    }
}
