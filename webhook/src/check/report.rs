//! The result of a check, for people and for machines.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::manifest::{Manifest, Unreadable};
use crate::verdict::Verdict;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The webhook would deny the object.
    Denied,
    /// It would let it pass with a warning.
    Warning,
}

/// One thing to say about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file as it was named, or `-`.
    pub file: String,
    /// The document in the file, counted from 1.
    pub document: usize,
    /// The object's kind.
    pub kind: String,
    /// Its namespace; empty where it has or names none.
    pub namespace: String,
    /// Its name, or the prefix that one will be generated from.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// The field, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, document, .. } = self;
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        let object = format!("{} {}{slash}{}", self.kind, self.namespace, self.name);
        write!(f, "{file}:{document} ({object}): ")?;
        match (&self.severity, &self.field) {
            (Severity::Warning, _) => write!(f, "warning: {}", self.message),
            (Severity::Denied, Some(field)) => write!(f, "{field}: {}", self.message),
            (Severity::Denied, None) => f.write_str(&self.message),
        }
    }
}

/// Everything that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Objects of kinds that have rules.
    pub checked: usize,
    /// Of those, the ones that would be denied.
    pub refused: usize,
    /// Warnings in all.
    pub warnings: usize,
    /// Objects of other kinds.
    pub skipped: usize,
    /// What there is to say, in the order of the input.
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub errors: Vec<Unreadable>,
}

impl Report {
    /// Adds what the rules said of one object.
    pub(super) fn add(&mut self, manifest: &Manifest, verdict: Verdict) {
        self.checked += 1;
        self.refused += usize::from(!verdict.is_allowed());
        self.warnings += verdict.warnings.len();
        let name = match manifest.text("/metadata/name") {
            "" => manifest.text("/metadata/generateName"),
            name => name,
        };
        let finding = |severity, field, message| Finding {
            file: manifest.file.clone(),
            document: manifest.document,
            kind: manifest.text("/kind").to_owned(),
            namespace: manifest.text("/metadata/namespace").to_owned(),
            name: name.to_owned(),
            severity,
            field,
            message,
        };
        let denials = verdict.denials.into_iter();
        self.findings.extend(
            denials.map(|denial| finding(Severity::Denied, Some(denial.field), denial.message)),
        );
        let warnings = verdict.warnings.into_iter();
        self.findings
            .extend(warnings.map(|warning| finding(Severity::Warning, None, warning)));
    }

    /// A line for each finding and error, then a summary.
    pub(super) fn write_human(&self, out: &mut dyn Write) -> io::Result<()> {
        for error in &self.errors {
            writeln!(out, "{error}")?;
        }
        for finding in &self.findings {
            writeln!(out, "{finding}")?;
        }
        let plural = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        write!(
            out,
            "{} checked, {} refused, {}",
            plural(self.checked, "object"),
            self.refused,
            plural(self.warnings, "warning"),
        )?;
        if self.skipped > 0 {
            write!(out, ", {} of other kinds skipped", self.skipped)?;
        }
        if !self.errors.is_empty() {
            write!(out, ", {} unreadable", self.errors.len())?;
        }
        writeln!(out)
    }

    /// One JSON object.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }
}
