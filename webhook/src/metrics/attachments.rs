//! What the webhook counts of attachments and migrations.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rds_csi_core::attachment::{Mode, Rule};

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
    mode: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Attachments {
    relaxed: Family<RuleLabels, Counter>,
}

impl Attachments {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attachment_rules_relaxed",
            "Attachments and disks of migrations that a rule would have refused that is not enforced, by rule and mode (warn or audit)",
            self.relaxed.clone(),
        );
    }
}

impl Metrics {
    /// Counts what a rule would have refused that is not enforced.
    pub fn rule_relaxed(&self, rule: Rule, mode: Mode) {
        let labels = RuleLabels {
            rule: rule.as_str(),
            mode: mode.as_str(),
        };
        self.attachments.relaxed.get_or_create(&labels).inc();
    }
}
