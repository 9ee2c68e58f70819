//! The parts of the product: their pods, and what those have counted.

use std::fmt::Display;
use std::iter::Sum;
use std::str::FromStr;

use serde_json::Value;

use super::product::NAMESPACE;
use super::{Cluster, items, name};
use crate::metrics;

/// A part of the product, all of whose pods do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Provisions, attaches and grows.
    Controller,
    /// Stages and publishes, on every node.
    Node,
    /// Reviews.
    Webhook,
}

impl Component {
    /// How `--selector` finds its pods.
    #[must_use]
    pub const fn selector(self) -> &'static str {
        match self {
            Self::Controller => "app.kubernetes.io/component=controller",
            Self::Node => "app.kubernetes.io/component=node",
            Self::Webhook => "app.kubernetes.io/component=webhook",
        }
    }

    /// The port of the pages of metrics.
    const fn port(self) -> u16 {
        match self {
            Self::Controller => 9808,
            Self::Node => 29808,
            Self::Webhook => 8080,
        }
    }
}

impl Cluster {
    /// The names of the pods of a component that run and are not to end.
    ///
    /// # Errors
    /// The API did not answer.
    pub async fn pods_of(&self, component: Component) -> anyhow::Result<Vec<String>> {
        let selector = ["--selector", component.selector()];
        let words = [&["--namespace", NAMESPACE, "pods"], &selector[..]].concat();
        let pods = items(self.get(&words).await?);
        let runs = |pod: &&Value| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        };
        Ok(pods.iter().filter(runs).map(name).collect())
    }

    /// The page of metrics of a pod of a component.
    ///
    /// # Errors
    /// The API server or the pod did not answer.
    pub async fn metrics(&self, component: Component, pod: &str) -> anyhow::Result<String> {
        let port = component.port();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{port}/proxy/metrics");
        self.kubectl(&["get", "--raw", &path]).await
    }

    /// What the running pods of a component have counted together, as [`metrics::sum`] reads each
    /// of their pages.
    ///
    /// # Errors
    /// See [`Cluster::pods_of`], [`Cluster::metrics`] and [`metrics::sum`].
    pub async fn counted<T>(
        &self,
        component: Component,
        metric: &str,
        labels: &[&str],
    ) -> anyhow::Result<T>
    where
        T: FromStr<Err: Display> + Sum,
    {
        let mut counts = Vec::new();
        for pod in self.pods_of(component).await? {
            let page = self.metrics(component, &pod).await?;
            counts.push(metrics::sum::<T>(&page, metric, labels)?);
        }
        Ok(counts.into_iter().sum())
    }
}
