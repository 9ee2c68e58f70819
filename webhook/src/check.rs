//! `rds-csi-webhook check`: the rules over manifests, without a cluster.
//!
//! An object is judged as if it were being created. What the API server would refuse to
//! read at all is refused here too. The claims that a StatefulSet will make are judged
//! by its templates, since in a pull request they stand nowhere else.

mod report;

pub use report::{Finding, Report, Severity};

use std::io::{Read, Write};
use std::process::ExitCode;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use serde::de::DeserializeOwned;

use crate::args::OutputFormat;
use crate::config::CheckConfig;
use crate::manifest::{self, Manifest, Manifests};
use crate::rules::other_classes::{AttributesClass, SnapshotClass};
use crate::rules::{self, RuleContext};
use crate::storage_classes::StorageClasses;
use crate::verdict::Verdict;

/// Something was refused.
const REFUSED: u8 = 1;
/// Something could not be read.
const UNREADABLE: u8 = 2;

/// Checks, writes the result to `out`, and says how the process should end.
pub fn run(config: &CheckConfig, stdin: &mut dyn Read, out: &mut dyn Write) -> ExitCode {
    let report = check(config, stdin);
    let written = match config.output {
        OutputFormat::Human => report.write_human(out),
        OutputFormat::Json => report.write_json(out),
    };
    let code = if written.is_err() || !report.errors.is_empty() {
        UNREADABLE
    } else if report.refused > 0 || (config.strict && report.warnings > 0) {
        REFUSED
    } else {
        0
    };
    ExitCode::from(code)
}

/// Reads and judges everything that the configuration names.
pub fn check(config: &CheckConfig, stdin: &mut dyn Read) -> Report {
    let Manifests {
        objects,
        unreadable,
    } = manifest::read(&config.files, stdin);
    let mut report = Report {
        errors: unreadable,
        ..Report::default()
    };
    let mut extra = manifest::read(&config.storage_classes, &mut std::io::empty());
    report.errors.append(&mut extra.unreadable);
    let mut classes = extra.storage_classes().unwrap_or_else(|error| {
        report.errors.push(error);
        StorageClasses::default()
    });
    // One that does not decode is refused when its turn comes.
    for class in objects.iter().filter(|manifest| is_class(manifest)) {
        if let Ok(class) = class.decode() {
            classes.insert(&class);
        }
    }
    let context = RuleContext {
        driver: &config.driver,
        classes: Some(&classes),
    };
    for manifest in &objects {
        match judge(manifest, &context) {
            Some(verdict) => report.add(manifest, verdict),
            None => report.skipped += 1,
        }
    }
    report
}

fn is_class(manifest: &Manifest) -> bool {
    manifest.is("storage.k8s.io/v1", "StorageClass")
}

/// `None` for a kind without rules.
fn judge(manifest: &Manifest, context: &RuleContext<'_>) -> Option<Verdict> {
    if manifest.is("v1", "PersistentVolumeClaim") {
        Some(apply::<PersistentVolumeClaim>(manifest, |claim| {
            rules::claim::review(claim, None, context)
        }))
    } else if manifest.is("v1", "PersistentVolume") {
        Some(apply::<PersistentVolume>(manifest, |volume| {
            rules::persistent_volume::review(volume, None, context)
        }))
    } else if is_class(manifest) {
        Some(apply::<StorageClass>(manifest, |class| {
            rules::storage_class::review(class, None, context)
        }))
    } else if manifest.is_of("storage.k8s.io", "VolumeAttributesClass") {
        Some(apply::<AttributesClass>(manifest, |class| {
            rules::other_classes::attributes(class, None, context)
        }))
    } else if manifest.is_of("snapshot.storage.k8s.io", "VolumeSnapshotClass") {
        Some(apply::<SnapshotClass>(manifest, |class| {
            rules::other_classes::snapshots(class, None, context)
        }))
    } else if manifest.is("apps/v1", "StatefulSet") {
        claim_templates(manifest, context)
    } else {
        None
    }
}

/// Judges every claim template; `None` where there are none.
fn claim_templates(manifest: &Manifest, context: &RuleContext<'_>) -> Option<Verdict> {
    let templates = manifest.object.pointer("/spec/volumeClaimTemplates")?;
    let templates = templates.as_array().filter(|all| !all.is_empty())?;
    let mut verdict = Verdict::allow();
    for (index, template) in templates.iter().enumerate() {
        let field = format!("spec.volumeClaimTemplates[{index}]");
        let claim = Manifest {
            file: manifest.file.clone(),
            document: manifest.document,
            object: template.clone(),
        };
        match claim.decode() {
            Ok(claim) => {
                let judged = rules::claim::review(&claim, None, context);
                for denial in judged.denials {
                    verdict.deny(format!("{field}.{}", denial.field), denial.message);
                }
                verdict.warnings.extend(judged.warnings);
            }
            Err(message) => verdict.deny(field, message),
        }
    }
    Some(verdict)
}

fn apply<T: DeserializeOwned>(manifest: &Manifest, rule: impl Fn(&T) -> Verdict) -> Verdict {
    match manifest.decode() {
        Ok(object) => rule(&object),
        Err(message) => {
            let mut verdict = Verdict::allow();
            verdict.deny("object", message);
            verdict
        }
    }
}

#[cfg(test)]
mod tests;
