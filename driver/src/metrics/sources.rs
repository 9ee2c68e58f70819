//! Numbers that others keep, read at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rds_csi_cluster::Cluster;
use rds_csi_routeros::Rds;

use crate::detach::Tasks;

/// How many operations are under way, those included whose callers have left.
#[derive(Debug)]
pub(crate) struct InFlight(pub(crate) Tasks);

impl Collector for InFlight {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new(i64::try_from(self.0.in_flight()).unwrap_or(i64::MAX));
        let encoder = encoder.encode_descriptor(
            "operations_in_flight",
            "Changing operations under way, those included whose client has left.",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(encoder)
    }
}

/// The connection to the device.
#[derive(Debug)]
pub(crate) struct DeviceLink(pub(crate) Arc<dyn Rds>);

impl Collector for DeviceLink {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let link = self.0.link();
        let connected = ConstGauge::new(i64::from(link.connected));
        connected.encode(encoder.encode_descriptor(
            "rds_connection_state",
            "Whether an SSH session to the device is open (1) or not (0).",
            None,
            connected.metric_type(),
        )?)?;
        let connects = ConstCounter::new(link.connects);
        connects.encode(encoder.encode_descriptor(
            "rds_connects",
            "SSH sessions opened to the device since start.",
            None,
            connects.metric_type(),
        )?)
    }
}

/// Requests to the Kubernetes API server.
#[derive(Debug)]
pub(crate) struct ClusterRequests(pub(crate) Arc<dyn Cluster>);

impl Collector for ClusterRequests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let link = self.0.link();
        let answers = ConstGauge::new(i64::from(link.trouble.is_none()));
        answers.encode(encoder.encode_descriptor(
            "cluster_connection_state",
            "Whether the Kubernetes API server answers and is followed (1) or not (0).",
            None,
            answers.metric_type(),
        )?)?;
        let mut requests = encoder.encode_descriptor(
            "cluster_requests",
            "Requests to the Kubernetes API server, by call and result (ok or how it failed).",
            None,
            MetricType::Counter,
        )?;
        for ((call, result), count) in link.requests {
            let labels = [("call", call), ("result", result)];
            ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
