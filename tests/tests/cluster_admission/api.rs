//! The API server asked without kubectl, for many requests at once.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rds_csi_tests::cluster::layout::State;
use rds_csi_tests::cluster::namespace::Namespace;
use serde_json::Value;

/// Claims of a namespace that are asked for and never made.
#[derive(Clone)]
pub(crate) struct DryRun {
    claims: Api<PersistentVolumeClaim>,
}

impl DryRun {
    /// As the administrator.
    pub(crate) async fn new(namespace: &Namespace) -> Self {
        let file = Kubeconfig::read_from(State::of_this_machine().kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        Self {
            claims: Api::namespaced(client, namespace.name()),
        }
    }

    /// Asks for one: what the API server said where it refused.
    pub(crate) async fn create(&self, claim: &Value) -> Result<(), String> {
        let claim = serde_json::from_value(claim.clone()).unwrap();
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let made = self.claims.create(&parameters, &claim).await;
        made.map(drop).map_err(|error| error.to_string())
    }
}
