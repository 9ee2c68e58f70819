//! What the controller counts of attachments, migrations and leftovers.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, OfRule, Outcome, Relaxed};

/// Some seconds to an hour: a small machine, a large one, one that does not end.
const MIGRATIONS: [f64; 8] = [5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];

#[derive(Debug, Clone)]
pub(super) struct Attachments {
    granted: Counter,
    conflicts: Family<OfRule, Counter>,
    kept: Family<OfRule, Counter>,
    relaxed: Family<Relaxed, Counter>,
    exceptions: Counter,
    fences: Family<Outcome, Counter>,
    migrations: Family<Outcome, Counter>,
    durations: Histogram,
    active: Gauge,
    stale: Gauge,
    cleared: Counter,
}

impl Default for Attachments {
    fn default() -> Self {
        Self {
            granted: Counter::default(),
            conflicts: Family::default(),
            kept: Family::default(),
            relaxed: Family::default(),
            exceptions: Counter::default(),
            fences: Family::default(),
            migrations: Family::default(),
            durations: Histogram::new(MIGRATIONS),
            active: Gauge::default(),
            stale: Gauge::default(),
            cleared: Counter::default(),
        }
    }
}

impl Attachments {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attachments_granted",
            "VolumeAttachments that were granted, each once however often it is asked for: those beyond rds_csi_webhook_attachments_admitted_total were never seen by the webhook",
            self.granted.clone(),
        );
        registry.register(
            "attachment_conflicts",
            "Refused attachments, by rule: each was admitted, so the webhook did not judge it or judged from an older state",
            self.conflicts.clone(),
        );
        registry.register(
            "attachment_detach_refused",
            "Detachments refused because the node may still write, by rule",
            self.kept.clone(),
        );
        registry.register(
            "attachment_rules_relaxed",
            "Attachments that a rule would have refused that is not enforced, by rule and mode (warn or audit)",
            self.relaxed.clone(),
        );
        registry.register(
            "attachment_exceptions",
            "Attachments to a second node by a person's exception",
            self.exceptions.clone(),
        );
        registry.register(
            "attachment_fences",
            "Attachments of volumes that a node had which was never known to let go of them: it was shut out (done), would have been (recorded), or is not yet as another node uses the volume (in_use)",
            self.fences.clone(),
        );
        registry.register(
            "migration_migrations",
            "Live migrations of volumes, by what was seen of them (started, completed, failed or long); of some the end is not seen",
            self.migrations.clone(),
        );
        registry.register(
            "migration_duration_seconds",
            "How long two nodes had a volume for a live migration",
            self.durations.clone(),
        );
        registry.register(
            "migration_active_migrations",
            "Volumes that two nodes have for a live migration, or had until it is known how that went, as the controller sees it that leads",
            self.active.clone(),
        );
        registry.register(
            "attachment_stale",
            "VolumeAttachments of nodes that exist no more, as the controller sees it that leads",
            self.stale.clone(),
        );
        registry.register(
            "attachment_stale_cleared",
            "VolumeAttachments of nodes that exist no more that were asked to leave",
            self.cleared.clone(),
        );
    }
}

impl Metrics {
    /// Counts attachments that were granted for the first time.
    pub(crate) fn attachments_granted(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.attachments.granted.inc_by(count);
    }

    /// Counts a refused attachment. The rule must come from a fixed set.
    pub(crate) fn attachment_conflict(&self, rule: &'static str) {
        let conflicts = &self.attachments.conflicts;
        conflicts.get_or_create(&OfRule { rule }).inc();
    }

    /// Counts a refused detachment. The rule must come from a fixed set.
    pub(crate) fn attachment_kept(&self, rule: &'static str) {
        self.attachments.kept.get_or_create(&OfRule { rule }).inc();
    }

    /// Counts what a rule would have refused. Both must come from fixed sets.
    pub(crate) fn attachment_rule_relaxed(&self, rule: &'static str, mode: &'static str) {
        let relaxed = &self.attachments.relaxed;
        relaxed.get_or_create(&Relaxed { rule, mode }).inc();
    }

    /// Counts an attachment by an exception.
    pub(crate) fn attachment_exception(&self) {
        self.attachments.exceptions.inc();
    }

    /// Counts what was done about a lost node. It must come from a fixed set.
    pub(crate) fn fence(&self, result: &'static str) {
        let fences = &self.attachments.fences;
        fences.get_or_create(&Outcome { result }).inc();
    }

    /// Counts what was seen of a migration. It must come from a fixed set.
    pub(crate) fn migration(&self, result: &'static str) {
        let migrations = &self.attachments.migrations;
        migrations.get_or_create(&Outcome { result }).inc();
    }

    /// How long two nodes had a volume for a migration.
    pub(crate) fn migration_took(&self, time: Duration) {
        self.attachments.durations.observe(time.as_secs_f64());
    }

    /// Shows how many migrations there are.
    pub(crate) fn active_migrations(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.attachments.active.set(count);
    }

    /// Shows how many attachments there are to nodes that exist no more.
    pub(crate) fn stale_attachments(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.attachments.stale.set(count);
    }

    /// Counts one that was asked to leave.
    pub(crate) fn stale_attachment_cleared(&self) {
        self.attachments.cleared.inc();
    }
}
