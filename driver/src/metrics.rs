//! What the driver counts.
//!
//! No label has an unbounded set of values: volumes, nodes and texts of errors are for
//! the log. The registry appends `_total` to the name of each counter, so names here
//! are without. What somebody else knows already is read at the scrape and not kept.

mod sources;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rds_csi_core::filesystem::FsType;

pub(crate) use sources::{ClusterRequests, DeviceLink, InFlight};

const PREFIX: &str = "rds_csi";

/// 5 ms to two minutes: reads of the kernel, round trips to the device, the deadline of
/// the kubelet.
const BUCKETS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcCode {
    rpc: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rpc {
    rpc: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Filesystem {
    fs: &'static str,
}

/// Every metric of the process; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    rpcs: Family<RpcCode, Counter>,
    durations: Family<Rpc, Histogram, fn() -> Histogram>,
    nvme_connects: Family<Outcome, Counter>,
    formats: Family<Filesystem, Counter>,
    registrations: Family<Outcome, Counter>,
}

impl Metrics {
    /// Metrics of a role, with what is read at each scrape.
    #[must_use]
    pub fn new(role: &'static str, sources: Vec<Box<dyn Collector>>) -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            rpcs: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            nvme_connects: Family::default(),
            formats: Family::default(),
            registrations: Family::default(),
        };
        let mut registry = metrics.register(role);
        for source in sources {
            registry.register_collector(source);
        }
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn register(&self, role: &'static str) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = env!("CARGO_PKG_VERSION");
        registry.register(
            "build",
            "The version and role of this process",
            Info::new(vec![("version", version), ("role", role)]),
        );
        registry.register(
            "rpc",
            "RPCs answered, by method and gRPC code; CANCELLED is a client that left",
            self.rpcs.clone(),
        );
        registry.register(
            "rpc_duration_seconds",
            "Time from an RPC to its answer",
            self.durations.clone(),
        );
        if role == "node" {
            registry.register(
                "nvme_connects",
                "Connects of volumes by NVMe over TCP, by result (ok or error)",
                self.nvme_connects.clone(),
            );
            registry.register(
                "formats",
                "Filesystems made on empty volumes, by filesystem",
                self.formats.clone(),
            );
            registry.register(
                "registrations",
                "Verdicts of kubelet on the registration of this plugin, by result (ok or refused)",
                self.registrations.clone(),
            );
        }
        registry
    }

    /// Counts an answered RPC. Both names must come from a fixed set.
    pub(crate) fn rpc(&self, rpc: &'static str, code: &'static str, took: Duration) {
        self.rpcs.get_or_create(&RpcCode { rpc, code }).inc();
        self.durations
            .get_or_create(&Rpc { rpc })
            .observe(took.as_secs_f64());
    }

    /// Counts a connect of a volume.
    pub fn nvme_connect(&self, succeeded: bool) {
        let result = if succeeded { "ok" } else { "error" };
        self.nvme_connects.get_or_create(&Outcome { result }).inc();
    }

    /// Counts a filesystem that was made.
    pub fn formatted(&self, filesystem: FsType) {
        let fs = filesystem.as_str();
        self.formats.get_or_create(&Filesystem { fs }).inc();
    }

    /// Counts a verdict of kubelet on the registration of the plugin.
    pub(crate) fn registration(&self, registered: bool) {
        let result = if registered { "ok" } else { "refused" };
        self.registrations.get_or_create(&Outcome { result }).inc();
    }

    /// Everything, in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a source cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
