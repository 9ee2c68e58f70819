//! What the webhook counts.
//!
//! Labels are enums, so the number of series is bounded whatever clients send. The
//! registry of prometheus-client appends `_total` to counters: names here are without.

mod attachments;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Deserialize;

use attachments::Attachments;

use crate::certificates::plan::Step;
use crate::storage_classes::StorageClasses;
use crate::tls::Certificate;

const PREFIX: &str = "rds_csi_webhook";
/// 100 µs to 1.6 s: the budget of a review is a millisecond, its limit seconds.
const BUCKETS: [f64; 8] = [0.0001, 0.0004, 0.0016, 0.0064, 0.025, 0.1, 0.4, 1.6];

/// The kinds that have rules, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReviewedKind {
    /// core/v1 PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// core/v1 PersistentVolume.
    PersistentVolume,
    /// storage.k8s.io/v1 StorageClass.
    StorageClass,
    /// storage.k8s.io VolumeAttributesClass.
    VolumeAttributesClass,
    /// snapshot.storage.k8s.io VolumeSnapshotClass.
    VolumeSnapshotClass,
    /// storage.k8s.io/v1 VolumeAttachment.
    VolumeAttachment,
    /// kubevirt.io VirtualMachineInstanceMigration.
    VirtualMachineInstanceMigration,
    /// Everything that no rule looks at.
    Other,
}

/// The operation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReviewedOperation {
    /// The object is new.
    Create,
    /// The object exists and changes.
    Update,
    /// The object goes.
    Delete,
    /// A connection to a subresource.
    Connect,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// How a review ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// Allowed without a word.
    Allowed,
    /// Allowed with a warning.
    Warned,
    /// Denied.
    Denied,
}

/// The labels of one review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReviewLabels {
    /// What was reviewed.
    pub kind: ReviewedKind,
    /// What was to happen to it.
    pub operation: ReviewedOperation,
    /// What was said.
    pub verdict: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: ReviewedKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

/// Every metric of the process; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reviews: Family<ReviewLabels, Counter>,
    duration: Family<KindLabel, Histogram, fn() -> Histogram>,
    foreign: Family<KindLabel, Counter>,
    rejected: Family<StatusLabel, Counter>,
    attachments: Attachments,
    /// Requests answered 503 because too many were under way.
    pub shed: Counter,
    /// Connections closed because too many were open.
    pub refused_connections: Counter,
    /// When the certificate in use ends, in seconds since 1970.
    pub certificate_not_after: Gauge,
    certificate_steps: Family<StepLabel, Counter>,
    /// Failed attempts to read or renew the certificate; the old one stays in use.
    pub certificate_failures: Counter,
    /// Errors of the watch on storage classes; it goes on by itself.
    pub watch_errors: Counter,
    /// Whether the storage classes have been read: 0 or 1.
    pub classes_synced: Gauge,
    /// How many storage classes are known.
    pub classes: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::new(Registry::default()),
            reviews: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            foreign: Family::default(),
            rejected: Family::default(),
            attachments: Attachments::default(),
            shed: Counter::default(),
            refused_connections: Counter::default(),
            certificate_not_after: Gauge::default(),
            certificate_steps: Family::default(),
            certificate_failures: Counter::default(),
            watch_errors: Counter::default(),
            classes_synced: Gauge::default(),
            classes: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        self.register_requests(&mut registry);
        self.attachments.register(&mut registry);
        self.register_cluster(&mut registry);
        registry
    }

    fn register_requests(&self, registry: &mut Registry) {
        registry.register(
            "reviews",
            "Reviews by kind, operation and verdict",
            self.reviews.clone(),
        );
        registry.register(
            "review_duration_seconds",
            "Time from body to verdict",
            self.duration.clone(),
        );
        registry.register(
            "foreign_reviews",
            "Reviews of other drivers' objects, which matchConditions should keep away",
            self.foreign.clone(),
        );
        registry.register(
            "rejected_requests",
            "Requests that were no reviews, by HTTP status",
            self.rejected.clone(),
        );
        registry.register(
            "shed_requests",
            "Requests answered 503 because too many were under way",
            self.shed.clone(),
        );
        registry.register(
            "refused_connections",
            "Connections closed because too many were open",
            self.refused_connections.clone(),
        );
    }

    fn register_cluster(&self, registry: &mut Registry) {
        registry.register(
            "certificate_not_after_seconds",
            "End of the certificate in use, seconds since 1970; 0 without one",
            self.certificate_not_after.clone(),
        );
        registry.register(
            "certificate_failures",
            "Failed attempts to read or renew the certificate; the old one stays in use",
            self.certificate_failures.clone(),
        );
        registry.register(
            "certificate_steps",
            "Steps of this replica to make, renew or trust the webhook's own certificates",
            self.certificate_steps.clone(),
        );
        registry.register(
            "storage_class_watch_errors",
            "Errors of the watch on storage classes",
            self.watch_errors.clone(),
        );
        registry.register(
            "storage_class_watch_synced",
            "1 once the storage classes have been read, 0 before",
            self.classes_synced.clone(),
        );
        registry.register(
            "storage_classes",
            "Storage classes that are known",
            self.classes.clone(),
        );
    }

    /// Counts one review.
    pub fn reviewed(&self, labels: &ReviewLabels, took: Duration) {
        self.reviews.get_or_create(labels).inc();
        self.duration
            .get_or_create(&KindLabel { kind: labels.kind })
            .observe(took.as_secs_f64());
    }

    /// Counts a review of another driver's object.
    pub fn foreign(&self, kind: ReviewedKind) {
        self.foreign.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a request that was answered with an HTTP error.
    pub fn rejected(&self, status: u16) {
        self.rejected.get_or_create(&StatusLabel { status }).inc();
    }

    /// Notes when the certificate in use ends.
    pub fn presenting(&self, certificate: &Certificate) {
        let end = certificate.not_after().map_or(0, Timestamp::as_second);
        self.certificate_not_after.set(end);
    }

    /// Counts a step towards the webhook's own certificates.
    pub fn certificate_step(&self, step: &Step) {
        let label = StepLabel { step: step.name() };
        self.certificate_steps.get_or_create(&label).inc();
    }

    /// Notes what is known of the storage classes.
    pub fn storage_classes(&self, classes: &StorageClasses) {
        self.classes_synced.set(1);
        self.classes
            .set(i64::try_from(classes.len()).unwrap_or(i64::MAX));
    }

    /// Everything, in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use rds_csi_core::attachment::{Mode, Rule};

    use super::*;

    #[test]
    fn the_page_names_every_metric() {
        let metrics = Metrics::default();
        let labels = ReviewLabels {
            kind: ReviewedKind::StorageClass,
            operation: ReviewedOperation::Create,
            verdict: Outcome::Denied,
        };
        metrics.reviewed(&labels, Duration::from_micros(300));
        metrics.foreign(ReviewedKind::PersistentVolume);
        metrics.rejected(413);
        metrics.attachment_admitted();
        metrics.rule_relaxed(Rule::SameMachine, Mode::Audit);
        metrics.shed.inc();
        metrics.certificate_not_after.set(1_800_000_000);
        metrics.certificate_step(&Step::Promote);
        metrics.storage_classes(&StorageClasses::default());
        insta::assert_snapshot!(metrics.encode().unwrap());
    }
}
