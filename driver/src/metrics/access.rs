//! What the controller counts of whom the device lets in, and shows of what it was seen to do.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rds_csi_core::device_access::{DeviceAccess, Rule};

use super::{Metrics, Outcome};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceRule {
    rule: &'static str,
}

/// A gauge that is absent until there is something to show.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    changes: Family<Outcome, Counter>,
    rule: Family<DeviceRule, Gauge>,
    ends_sessions: Family<NoLabels, Gauge>,
    keeps_sessions: Family<NoLabels, Gauge>,
}

impl Access {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attachment_access_changes",
            "Changes of the hosts that the device lets in to a volume: made (set), not made as fencing is only recorded (recorded), or not made after a detachment (failed)",
            self.changes.clone(),
        );
        registry.register(
            "device_access_rule",
            "How the device was seen to compare the name of the allowed host (ignored, exact, list or other): 1 for that one; absent until it was tried",
            self.rule.clone(),
        );
        registry.register(
            "device_export_ends_sessions",
            "Whether the device was seen to end sessions with their export (1), which fencing rests on, or not (0); absent until it was tried",
            self.ends_sessions.clone(),
        );
        registry.register(
            "device_access_keeps_sessions",
            "Whether sessions were seen to outlive a change of the allowed host (1) or not (0); absent until it was tried",
            self.keeps_sessions.clone(),
        );
    }
}

impl Metrics {
    /// Counts a change of who is let in. The result must come from a fixed set.
    pub(crate) fn access(&self, result: &'static str) {
        let changes = &self.access.changes;
        changes.get_or_create(&Outcome { result }).inc();
    }

    /// Shows what the device was seen to do.
    pub(crate) fn device_access(&self, access: DeviceAccess) {
        let shown = &self.access;
        for rule in Rule::ALL {
            let label = DeviceRule {
                rule: rule.as_str(),
            };
            let gauge = shown.rule.get_or_create(&label);
            gauge.set(i64::from(rule == access.rule));
        }
        let ends = shown.ends_sessions.get_or_create(&[]);
        ends.set(i64::from(access.ends_sessions));
        let keeps = shown.keeps_sessions.get_or_create(&[]);
        keeps.set(i64::from(access.keeps_sessions));
    }
}
