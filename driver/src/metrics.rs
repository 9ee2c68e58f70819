//! What the driver counts.
//!
//! No label has an unbounded set of values: volumes, nodes and texts of errors are for
//! the log. The registry appends `_total` to the name of each counter, so names here
//! are without. What somebody else knows already is read at the scrape and not kept.

mod access;
mod attachments;
mod sources;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::session::State;

use access::Access;
use attachments::Attachments;
pub(crate) use sources::{ClusterRequests, DeviceLink, InFlight};

const PREFIX: &str = "rds_csi";

/// 5 ms to two minutes: reads of the kernel, round trips to the device, the deadline of
/// the kubelet.
const BUCKETS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0];

/// One second to an hour: a link that flaps, a device that boots, a person who comes.
const OUTAGES: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRule {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Relaxed {
    rule: &'static str,
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Posted {
    reason: &'static str,
    result: &'static str,
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
    sessions: Family<InState, Gauge>,
    unused_sessions: Gauge,
    losses: Counter,
    outages: Histogram,
    reconnects: Family<Outcome, Counter>,
    recoveries: Family<Outcome, Counter>,
    attachments: Attachments,
    access: Access,
    events: Family<Posted, Counter>,
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
            sessions: Family::default(),
            unused_sessions: Gauge::default(),
            losses: Counter::default(),
            outages: Histogram::new(OUTAGES),
            reconnects: Family::default(),
            recoveries: Family::default(),
            attachments: Attachments::default(),
            access: Access::default(),
            events: Family::default(),
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
            self.register_sessions(&mut registry);
        } else {
            self.attachments.register(&mut registry);
            self.access.register(&mut registry);
        }
        registry.register(
            "events_posted",
            "Events on claims, by reason and result (ok or error)",
            self.events.clone(),
        );
        registry
    }

    fn register_sessions(&self, registry: &mut Registry) {
        registry.register(
            "nvme_sessions",
            "Staged volumes, by the state of their NVMe session",
            self.sessions.clone(),
        );
        registry.register(
            "nvme_sessions_unused",
            "NVMe sessions that this node opened and that no volume on it uses",
            self.unused_sessions.clone(),
        );
        registry.register(
            "nvme_session_losses",
            "How often a staged volume lost its NVMe session",
            self.losses.clone(),
        );
        registry.register(
            "nvme_session_outage_seconds",
            "Time from the loss of a staged volume's NVMe session to its return",
            self.outages.clone(),
        );
        registry.register(
            "nvme_session_reconnects",
            "Attempts to connect a staged volume that the kernel had given up, by result (ok, no_answer, not_ours or error)",
            self.reconnects.clone(),
        );
        registry.register(
            "stale_recoveries",
            "Volumes that came back as another device and were handed to their consumers anew, by result (ok or error)",
            self.recoveries.clone(),
        );
    }

    /// Shows how many staged volumes there are in each state.
    pub(crate) fn sessions(&self, states: impl Iterator<Item = State>) {
        let mut counts = State::ALL.map(|state| (state, 0));
        for found in states {
            for (state, count) in &mut counts {
                *count += i64::from(*state == found);
            }
        }
        for (state, count) in counts {
            let state = state.as_str();
            self.sessions.get_or_create(&InState { state }).set(count);
        }
    }

    /// Shows how many sessions of this node nobody uses.
    pub(crate) fn unused_sessions(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unused_sessions.set(count);
    }

    /// Counts a lost session.
    pub(crate) fn session_lost(&self) {
        self.losses.inc();
    }

    /// Counts a session that is back, and for how long it was not.
    pub(crate) fn session_restored(&self, after: Duration) {
        self.outages.observe(after.as_secs_f64());
    }

    /// Counts an attempt to connect a volume anew. The result must come from a fixed set.
    pub(crate) fn session_reconnect(&self, result: &'static str) {
        self.reconnects.get_or_create(&Outcome { result }).inc();
    }

    /// Counts a volume that came back as another device.
    pub(crate) fn stale_recovery(&self, succeeded: bool) {
        let result = if succeeded { "ok" } else { "error" };
        self.recoveries.get_or_create(&Outcome { result }).inc();
    }

    /// Counts an event. The reason must come from a fixed set.
    pub(crate) fn event(&self, reason: &'static str, posted: bool) {
        let result = if posted { "ok" } else { "error" };
        self.events.get_or_create(&Posted { reason, result }).inc();
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
