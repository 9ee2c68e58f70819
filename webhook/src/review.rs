//! The envelope of every review: decode, find the rule, judge, count, encode.
//!
//! What is not one of the reviewed kinds, and every operation other than CREATE and
//! UPDATE, is allowed without a word. A body that is no AdmissionReview is an error for
//! the transport, never a verdict: the API server then applies the `failurePolicy`.

mod answer;
mod wire;

pub use answer::Answer;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use rds_csi_core::names::{DriverName, foreign};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::attachments::{AttachmentRules, Migration};
use crate::metrics::{Metrics, Outcome, ReviewLabels, ReviewedKind, ReviewedOperation};
use crate::rules::other_classes::{self, AttributesClass, SnapshotClass};
use crate::rules::{self, RuleContext};
use crate::storage_classes::StorageClassStore;
use crate::verdict::{Relaxed, Verdict};

/// Why a body cannot be reviewed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// No JSON, or JSON of another shape.
    #[error("reading the body as an AdmissionReview")]
    Body(#[source] serde_json::Error),
    /// Another type of object, or a version that is not spoken here.
    #[error("the body is {api_version:?} {kind:?}, not admission.k8s.io/v1 AdmissionReview")]
    Type {
        /// What it says.
        api_version: String,
        /// What it says.
        kind: String,
    },
    /// A review without a request, such as an answer that was sent back.
    #[error("the AdmissionReview has no request with a uid")]
    NoRequest,
    /// A CREATE or UPDATE without its object.
    #[error("the request has no object")]
    NoObject,
    /// An object that does not have the shape of its kind.
    #[error("reading the {field} of the request as {kind}")]
    Object {
        /// `object` or `oldObject`.
        field: &'static str,
        /// The kind that the request names.
        kind: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Reviews requests under one driver name with one source of storage classes.
#[derive(Debug)]
pub struct Reviewer {
    driver: DriverName,
    classes: StorageClassStore,
    attachments: Option<AttachmentRules>,
    metrics: Metrics,
}

impl Reviewer {
    /// A reviewer for the objects of `driver`.
    #[must_use]
    pub fn new(driver: DriverName, classes: StorageClassStore, metrics: Metrics) -> Self {
        Self {
            driver,
            classes,
            attachments: None,
            metrics,
        }
    }

    /// The same, which also judges what takes volumes to nodes.
    #[must_use]
    pub fn with_attachments(self, rules: AttachmentRules) -> Self {
        let attachments = Some(rules);
        Self {
            attachments,
            ..self
        }
    }

    /// Judges the body of one request and counts it.
    ///
    /// # Errors
    /// See [`ReviewError`]: there is nothing to judge.
    pub async fn review(&self, body: &[u8]) -> Result<Answer, ReviewError> {
        let started = Instant::now();
        let request = wire::decode(body)?;
        let name = request.object_name();
        let span = tracing::info_span!(
            "review",
            uid = loggable(&request.uid),
            kind = loggable(&request.kind.kind),
            namespace = loggable(&request.namespace),
            name = loggable(&name),
            operation = ?request.operation,
            dry_run = request.dry_run,
        );
        let kind = reviewed_kind(&request);
        let verdict = self.judge(kind, &request).instrument(span.clone()).await?;
        self.count(&span, kind, &request, &verdict, started);
        Ok(Answer::new(&request, name, verdict))
    }

    fn count(
        &self,
        span: &Span,
        kind: ReviewedKind,
        request: &wire::Request<'_>,
        verdict: &Verdict,
        started: Instant,
    ) {
        let _entered = span.enter();
        match verdict.message() {
            Some(reason) => tracing::info!(reason = loggable(&reason), "denied"),
            None => tracing::debug!(warnings = ?verdict.warnings, "allowed"),
        }
        for Relaxed { rule, mode, why } in &verdict.relaxed {
            let reason = loggable(why);
            tracing::info!(%rule, mode = mode.as_str(), reason, "the rule is not kept");
            self.metrics.rule_relaxed(*rule, *mode);
        }
        let labels = ReviewLabels {
            kind,
            operation: request.operation,
            verdict: match (&verdict.denials[..], &verdict.warnings[..]) {
                ([], []) => Outcome::Allowed,
                ([], _) => Outcome::Warned,
                _ => Outcome::Denied,
            },
        };
        self.metrics.reviewed(&labels, started.elapsed());
        if verdict.is_foreign {
            self.metrics.foreign(kind);
        } else if verdict.is_allowed() && self.may_attach(kind, request) {
            self.metrics.attachment_admitted();
        }
    }

    /// Whether an attachment comes of it, if it is let pass.
    fn may_attach(&self, kind: ReviewedKind, request: &wire::Request<'_>) -> bool {
        let is_new = request.operation == ReviewedOperation::Create && !request.dry_run;
        kind == ReviewedKind::VolumeAttachment && is_new && self.attachments.is_some()
    }

    async fn judge(
        &self,
        kind: ReviewedKind,
        request: &wire::Request<'_>,
    ) -> Result<Verdict, ReviewError> {
        let is_new = request.operation == ReviewedOperation::Create;
        match (kind, &self.attachments) {
            (ReviewedKind::VolumeAttachment, Some(rules)) if is_new => {
                let asked: VolumeAttachment = object(request)?;
                Ok(rules.attachment(&asked).await)
            }
            (ReviewedKind::VirtualMachineInstanceMigration, Some(rules)) if is_new => {
                let asked: Migration = object(request)?;
                Ok(rules.migration(&request.namespace, &asked).await)
            }
            _ => self.judge_object(kind, request),
        }
    }

    fn judge_object(
        &self,
        kind: ReviewedKind,
        request: &wire::Request<'_>,
    ) -> Result<Verdict, ReviewError> {
        let judged = [ReviewedOperation::Create, ReviewedOperation::Update];
        if !judged.contains(&request.operation) {
            return Ok(Verdict::allow());
        }
        let classes = self.classes.current();
        let context = RuleContext {
            driver: &self.driver,
            classes: classes.as_deref(),
        };
        match kind {
            ReviewedKind::PersistentVolumeClaim => {
                apply::<PersistentVolumeClaim>(request, rules::claim::review, &context)
            }
            ReviewedKind::PersistentVolume => {
                apply::<PersistentVolume>(request, rules::persistent_volume::review, &context)
            }
            ReviewedKind::StorageClass => {
                apply::<StorageClass>(request, rules::storage_class::review, &context)
            }
            ReviewedKind::VolumeAttributesClass => {
                apply::<AttributesClass>(request, other_classes::attributes, &context)
            }
            ReviewedKind::VolumeSnapshotClass => {
                apply::<SnapshotClass>(request, other_classes::snapshots, &context)
            }
            ReviewedKind::VolumeAttachment
            | ReviewedKind::VirtualMachineInstanceMigration
            | ReviewedKind::Other => Ok(Verdict::allow()),
        }
    }
}

fn reviewed_kind(request: &wire::Request<'_>) -> ReviewedKind {
    let kind = &request.kind;
    match (&*kind.group, &*kind.version, &*kind.kind) {
        ("", "v1", "PersistentVolumeClaim") => ReviewedKind::PersistentVolumeClaim,
        ("", "v1", "PersistentVolume") => ReviewedKind::PersistentVolume,
        ("storage.k8s.io", "v1", "StorageClass") => ReviewedKind::StorageClass,
        ("storage.k8s.io", "v1", "VolumeAttachment") => ReviewedKind::VolumeAttachment,
        // What is read of these is the same in each version.
        ("storage.k8s.io", _, "VolumeAttributesClass") => ReviewedKind::VolumeAttributesClass,
        ("snapshot.storage.k8s.io", _, "VolumeSnapshotClass") => ReviewedKind::VolumeSnapshotClass,
        (foreign::KUBEVIRT_GROUP, _, "VirtualMachineInstanceMigration") => {
            ReviewedKind::VirtualMachineInstanceMigration
        }
        _ => ReviewedKind::Other,
    }
}

/// A string of a client for the log: not too long, and on one line.
pub(crate) fn loggable(text: &str) -> String {
    const LONGEST: usize = 512;
    text.chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A rule for objects of type `T`.
type Rule<T> = fn(&T, Option<&T>, &RuleContext<'_>) -> Verdict;

fn apply<T>(
    request: &wire::Request<'_>,
    rule: Rule<T>,
    context: &RuleContext<'_>,
) -> Result<Verdict, ReviewError>
where
    T: for<'de> Deserialize<'de>,
{
    let old = request
        .old_object
        .map(|raw| read(request, "oldObject", raw));
    Ok(rule(&object(request)?, old.transpose()?.as_ref(), context))
}

/// The object of a request.
fn object<T: for<'de> Deserialize<'de>>(request: &wire::Request<'_>) -> Result<T, ReviewError> {
    read(
        request,
        "object",
        request.object.ok_or(ReviewError::NoObject)?,
    )
}

fn read<T: for<'de> Deserialize<'de>>(
    request: &wire::Request<'_>,
    field: &'static str,
    raw: &RawValue,
) -> Result<T, ReviewError> {
    serde_json::from_str(raw.get()).map_err(|source| ReviewError::Object {
        field,
        kind: request.kind.kind.clone(),
        source,
    })
}

#[cfg(test)]
mod tests;
