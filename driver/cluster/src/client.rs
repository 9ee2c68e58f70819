//! The client of the API server.
//!
//! It retries nothing by itself: every call has a deadline of its own, and whoever asked
//! asks again with a backoff. Nothing here connects: the API server may be down.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rds_csi_core::names::DriverName;

use super::ClusterError;

/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client from a kubeconfig, or from `$KUBECONFIG`, or from the pod's service account.
pub(super) async fn client(
    kubeconfig: Option<&Path>,
    role: &str,
    driver: &DriverName,
) -> Result<Client, ClusterError> {
    // Another library may have installed it already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let found = config(kubeconfig).await.and_then(|mut config| {
        config.connect_timeout = Some(CONNECT);
        config.default_retry = false;
        config.headers.push((USER_AGENT, user_agent(role, driver)));
        Ok(Client::try_from(config)?)
    });
    found.map_err(|error| ClusterError::Config(error.to_string()))
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, Box<dyn Error + Send + Sync>> {
    let Some(path) = kubeconfig else {
        return Ok(Config::infer().await?);
    };
    let file = Kubeconfig::read_from(path)?;
    Ok(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}

/// Who asks, for the audit log.
fn user_agent(role: &str, driver: &DriverName) -> HeaderValue {
    let version = env!("CARGO_PKG_VERSION");
    let agent = format!("rds-csi-driver/{version} ({role} of {driver})");
    // A driver name is a DNS name, so this is a header value.
    HeaderValue::from_str(&agent).unwrap_or(HeaderValue::from_static("rds-csi-driver"))
}
