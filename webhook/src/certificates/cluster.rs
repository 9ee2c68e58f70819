//! The Secret and the configuration as the API server has them.
//!
//! Every write names the version that was seen and fails as [`ClusterError::Conflict`] if
//! there is another by now. Absent is what the API server says is not found, and nothing
//! else. A Secret travels as text and is decoded here: kube would log an answer that it
//! cannot decode, contents and all.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::core::params::GetParams;
use kube::{Api, Client, Resource};
use serde_json::{Value, json};

use super::Settings;
use super::authority::ServiceNames;
use super::secret::{Data, changes};
use super::trust::Bundles;

mod error;

pub use error::ClusterError;

/// For one request; retries of the client included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Marks a Secret as the webhook's. One that holds something and lacks it is not touched. No
/// label: helm finds its releases by labels, so a policy of the chart keeps those as they are.
pub const MARK: (&str, &str) = ("rds.csi.srvlab.io/kept-by", "rds-csi-webhook");

/// The Secret as it was seen.
pub struct SeenSecret {
    /// What it holds.
    pub data: Data,
    version: String,
}

impl fmt::Debug for SeenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenSecret")
            .field("keys", &self.data.keys())
            .field("version", &self.version)
            .finish()
    }
}

/// The configuration as it was seen.
#[derive(Debug)]
pub struct SeenConfiguration {
    /// Of its webhooks, in their order.
    pub bundles: Bundles,
    webhooks: Vec<String>,
    version: Option<String>,
}

/// One Secret and one configuration of a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    secret: String,
    configuration: String,
    names: ServiceNames,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A kube client has no Debug of its own.
        f.debug_struct("Cluster")
            .field("namespace", &self.namespace)
            .field("secret", &self.secret)
            .field("configuration", &self.configuration)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The Secret and the configuration that the settings name.
    #[must_use]
    pub fn new(client: Client, settings: &Settings) -> Self {
        Self {
            client,
            namespace: settings.namespace.clone(),
            secret: settings.secret.clone(),
            configuration: settings.configuration.clone(),
            names: settings.names.clone(),
        }
    }

    /// Reads the Secret.
    pub async fn secret(&self) -> Result<SeenSecret, ClusterError> {
        const DOING: &str = "reading the webhook's Secret";
        let request = self.secrets().get(&self.secret, &GetParams::default());
        let text = self
            .send(DOING, request)
            .await
            .map_err(|error| match error {
                ClusterError::Refused { code: 404, .. } => {
                    ClusterError::Absent(self.secret.clone())
                }
                error => error,
            })?;
        // Without its error, which may quote the text.
        let secret: Secret =
            serde_json::from_str(&text).map_err(|_| ClusterError::Malformed { doing: DOING })?;
        let data = secret.data.unwrap_or_default().into_iter();
        let data: Data = data.map(|(key, value)| (key, value.0)).collect();
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let ours = annotations.get(MARK.0).is_some_and(|by| by == MARK.1);
        if !ours && !data.is_empty() {
            return Err(ClusterError::Foreign(self.secret.clone()));
        }
        let version = secret.metadata.resource_version;
        let version = version.ok_or(ClusterError::Malformed { doing: DOING })?;
        Ok(SeenSecret { data, version })
    }

    /// Makes the Secret hold `data`, if it is still as it was seen.
    pub async fn write_secret(&self, seen: &SeenSecret, data: &Data) -> Result<(), ClusterError> {
        const DOING: &str = "writing the webhook's Secret";
        let annotations = BTreeMap::from([MARK]);
        let encode = |value: Vec<u8>| json!(ByteString(value));
        let values: BTreeMap<String, Value> = changes(&seen.data, data)
            .into_iter()
            .map(|(key, value)| (key, value.map_or(Value::Null, encode)))
            .collect();
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": seen.version, "annotations": annotations},
            "data": values,
        }));
        let request = self
            .secrets()
            .patch(&self.secret, &PatchParams::default(), &patch);
        self.send(DOING, request).await.map(drop)
    }

    /// Reads the configuration; `None` where there is none, or one without webhooks, such
    /// as an uninstallation leaves for a moment. One that calls anybody else is an error:
    /// a bundle of ours would cut its webhooks off.
    pub async fn configuration(&self) -> Result<Option<SeenConfiguration>, ClusterError> {
        const DOING: &str = "reading the webhook's configuration";
        let configurations = self.configurations();
        let request = configurations.get_opt(&self.configuration);
        let Some(found) = bounded(DOING, request).await? else {
            return Ok(None);
        };
        let webhooks = found.webhooks.unwrap_or_default();
        if webhooks.is_empty() {
            return Ok(None);
        }
        if !webhooks.iter().all(|webhook| self.is_ours(webhook)) {
            return Err(ClusterError::ForeignConfiguration(
                self.configuration.clone(),
            ));
        }
        let names = webhooks
            .iter()
            .map(|webhook| webhook.name.clone())
            .collect();
        let bundles = webhooks.into_iter().map(|webhook| {
            let bundle = webhook.client_config.ca_bundle;
            bundle.map(|bytes| bytes.0).unwrap_or_default()
        });
        Ok(Some(SeenConfiguration {
            bundles: Bundles::read(bundles),
            webhooks: names,
            version: found.metadata.resource_version,
        }))
    }

    /// Writes `bundle` into every webhook of the configuration, if it is still as it was
    /// seen.
    pub async fn publish(
        &self,
        seen: &SeenConfiguration,
        bundle: &[u8],
    ) -> Result<(), ClusterError> {
        const DOING: &str = "writing the bundle into the webhook's configuration";
        let bundle = json!(ByteString(bundle.to_vec()));
        let entry = |name: &String| json!({"name": name, "clientConfig": {"caBundle": bundle}});
        // Strategic: entries are merged by their name.
        let patch = Patch::Strategic(json!({
            "metadata": {"resourceVersion": seen.version},
            "webhooks": seen.webhooks.iter().map(entry).collect::<Vec<_>>(),
        }));
        let (configurations, params) = (self.configurations(), PatchParams::default());
        let request = configurations.patch(&self.configuration, &params, &patch);
        bounded(DOING, request).await.map(drop)
    }

    fn is_ours(&self, webhook: &ValidatingWebhook) -> bool {
        let service = webhook.client_config.service.as_ref();
        let names = service.and_then(|found| ServiceNames::new(&found.name, &found.namespace));
        names.as_ref() == Some(&self.names)
    }

    fn secrets(&self) -> Request {
        Request::new(Secret::url_path(&(), Some(&self.namespace)))
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    async fn send(
        &self,
        doing: &'static str,
        request: Result<axum::http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<String, ClusterError> {
        let request = request.map_err(|error| failed(doing, kube::Error::BuildRequest(error)))?;
        bounded(doing, self.client.request_text(request)).await
    }
}

async fn bounded<T>(
    doing: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| failed(doing, error)),
        Err(_) => Err(ClusterError::TimedOut { doing }),
    }
}

fn failed(doing: &'static str, error: kube::Error) -> ClusterError {
    const LONGEST: usize = 512;
    match error {
        kube::Error::Api(status) if status.code == 409 => ClusterError::Conflict { doing },
        kube::Error::Api(status) => ClusterError::Refused {
            doing,
            code: status.code,
            message: status.message.chars().take(LONGEST).collect(),
        },
        error => ClusterError::Unreachable {
            doing,
            source: Box::new(error),
        },
    }
}
