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
    /// One series, which is there from the start: a first increase is seen as one.
    admitted: Counter,
    relaxed: Family<RuleLabels, Counter>,
}

impl Attachments {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attachments_admitted",
            "VolumeAttachments that were let pass to be made, judged or with a warning that they were not; without dry runs",
            self.admitted.clone(),
        );
        registry.register(
            "attachment_rules_relaxed",
            "Attachments and disks of migrations that a rule would have refused that is not enforced, by rule and mode (warn or audit)",
            self.relaxed.clone(),
        );
    }
}

impl Metrics {
    /// Counts an attachment that may be made.
    pub fn attachment_admitted(&self) {
        self.attachments.admitted.inc();
    }

    /// Counts what a rule would have refused that is not enforced.
    pub fn rule_relaxed(&self, rule: Rule, mode: Mode) {
        let labels = RuleLabels {
            rule: rule.as_str(),
            mode: mode.as_str(),
        };
        self.attachments.relaxed.get_or_create(&labels).inc();
    }
}
