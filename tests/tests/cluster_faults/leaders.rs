//! The controllers' pods: which of them works, and what they have counted.

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::component::Component;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::metrics;
use rds_csi_tests::wait::until;

use crate::ground::LONG;

const CONTROLLER: Component = Component::Controller;

/// A kind of work that one of the controllers does, by the Lease of who does it. Dots of the
/// driver's name cannot be in one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Of external-provisioner.
    Provisions,
    /// Of external-attacher.
    Attaches,
    /// Of external-resizer.
    Grows,
    /// Of the driver: what it looks after by itself.
    LooksAfter,
}

impl Work {
    fn lease(self) -> &'static str {
        match self {
            Self::Provisions => "rds-csi-srvlab-io",
            Self::Attaches => "external-attacher-leader-rds-csi-srvlab-io",
            Self::Grows => "external-resizer-rds-csi-srvlab-io",
            Self::LooksAfter => "driver-leader-rds-csi-srvlab-io",
        }
    }
}

/// The pod that provisions.
pub(crate) async fn leader(cluster: &Cluster) -> anyhow::Result<String> {
    leads(cluster, Work::Provisions).await
}

/// The pod that does a kind of work.
pub(crate) async fn leads(cluster: &Cluster, work: Work) -> anyhow::Result<String> {
    until(&format!("a controller leads: {work:?}"), LONG, async || {
        let pods = cluster.pods_of(CONTROLLER).await?;
        let lease = cluster
            .find(&["--namespace", NAMESPACE, "lease", work.lease()])
            .await?;
        let lease = lease.unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok(pods.into_iter().find(|pod| holder.contains(pod.as_str())))
    })
    .await
}

pub(crate) async fn other(cluster: &Cluster, leader: &str) -> anyhow::Result<String> {
    let pods = cluster.pods_of(CONTROLLER).await?;
    let other = pods.into_iter().find(|pod| pod != leader);
    other.context("there is only one controller")
}

/// The node that a pod of the product is on.
pub(crate) async fn node_of(cluster: &Cluster, pod: &str) -> anyhow::Result<String> {
    let found = cluster.get(&["--namespace", NAMESPACE, "pod", pod]).await?;
    let node = found["spec"]["nodeName"].as_str();
    Ok(node
        .with_context(|| format!("{pod} has no node"))?
        .to_owned())
}

/// How many volumes a controller was asked to make since it started.
pub(crate) async fn creations(cluster: &Cluster, pod: &str) -> anyhow::Result<u64> {
    let page = cluster.metrics(CONTROLLER, pod).await?;
    let calls = "rds_csi_rpc_duration_seconds_count";
    metrics::sum(&page, calls, &["CreateVolume"])
}

/// How many changes all controllers have under way on the device.
pub(crate) async fn in_flight(cluster: &Cluster) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pod in cluster.pods_of(CONTROLLER).await? {
        sum += in_flight_of(cluster, &pod).await?;
    }
    Ok(sum)
}

/// Whether a controller can be asked and has a change under way on the device.
pub(crate) async fn works(cluster: &Cluster, pod: &str) -> bool {
    in_flight_of(cluster, pod)
        .await
        .is_ok_and(|count| count > 0)
}

async fn in_flight_of(cluster: &Cluster, pod: &str) -> anyhow::Result<u64> {
    let page = cluster.metrics(CONTROLLER, pod).await?;
    let metric = "rds_csi_operations_in_flight";
    let shown = page.contains(&format!("\n{metric} "));
    ensure!(shown, "{pod} does not count them");
    metrics::sum(&page, metric, &[])
}
