//! The way to the API server whose storage classes are watched.

use std::error::Error;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A client from a kubeconfig file, or from where a pod or a person would look.
pub(crate) async fn client(
    kubeconfig: Option<&Path>,
) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    Ok(Client::try_from(config)?)
}
