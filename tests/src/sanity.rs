//! What csi-sanity reported, held against what may be left out and why.
//!
//! csi-sanity is a Ginkgo suite: it skips what a driver says it does not offer, so a
//! lost capability would pass unseen. Here a spec passes or is expected not to run, and
//! one that runs although it is expected not to is a complaint too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// Specs of one container that are expected not to run.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    /// Why they are not run.
    pub reason: &'static str,
    /// The texts of the containers around them, joined by blanks.
    pub container: &'static str,
    /// Their own texts.
    pub specs: &'static [&'static str],
}

impl Exception {
    fn names(&self) -> impl Iterator<Item = String> {
        let name = |spec: &&str| format!("{} {spec}", self.container);
        self.specs.iter().map(name)
    }
}

/// How the specs of a run ended, by their full texts.
#[derive(Debug, Default)]
pub struct Report(BTreeMap<String, Ending>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Passed,
    /// Skipped by itself, or pending in this version of csi-sanity.
    NotRun,
    /// Anything else, in Ginkgo's words.
    Bad(String),
}

impl Report {
    /// Reads what `--ginkgo.json-report` wrote. What is no spec, such as a failed setup of
    /// the whole suite, counts as a spec that failed.
    ///
    /// # Errors
    /// It is no such report, or two specs have one text.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        let suites: Vec<Suite> = serde_json::from_str(json).context("reading Ginkgo's report")?;
        let mut specs = BTreeMap::new();
        for spec in suites.into_iter().flat_map(|suite| suite.spec_reports) {
            let (name, ending) = (spec.name(), spec.ending());
            if spec.leaf_node_type != "It" && ending == Ending::Passed {
                continue;
            }
            let twice = specs.insert(name.clone(), ending).is_some();
            ensure!(!twice, "two specs are called {name:?}");
        }
        Ok(Self(specs))
    }

    /// How many specs there are, run or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// How many passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        let passed = |ending: &&Ending| **ending == Ending::Passed;
        self.0.values().filter(passed).count()
    }

    /// What is not as it should be, a line each: a spec that failed, one that was not run
    /// and is no exception, an exception that was run, and one that does not exist.
    #[must_use]
    pub fn complaints(&self, exceptions: &[Exception]) -> Vec<String> {
        let excepted: BTreeSet<String> = exceptions.iter().flat_map(Exception::names).collect();
        let unknown = excepted
            .iter()
            .filter(|name| !self.0.contains_key(*name))
            .map(|name| format!("{name}: an exception, but csi-sanity has no such spec"));
        let wrong =
            self.0
                .iter()
                .filter_map(|(name, ending)| match (ending, excepted.contains(name)) {
                    (Ending::Passed, false) | (Ending::NotRun, true) => None,
                    (Ending::Passed, true) => {
                        Some(format!("{name}: an exception, but it was run and passed"))
                    }
                    (Ending::NotRun, false) => Some(format!("{name}: not run, and no exception")),
                    (Ending::Bad(words), _) => Some(format!("{name}: {words}")),
                });
        unknown.chain(wrong).collect()
    }
}

/// For a person: the sums, and how many specs are excepted where and why.
#[derive(Debug)]
pub struct Summary<'a> {
    /// What was run.
    pub report: &'a Report,
    /// What was not.
    pub exceptions: &'a [Exception],
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, total) = (self.report.passed(), self.report.total());
        writeln!(f, "{passed} of {total} specs passed; not run:")?;
        for group in self.exceptions {
            let (count, container) = (group.specs.len(), group.container);
            writeln!(f, "{count:4} of {container}: {}", group.reason)?;
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Vec<Spec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    /// Go writes an empty list as null.
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    failure: Option<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(default)]
    message: String,
    #[serde(default)]
    forwarded_panic: String,
}

impl Spec {
    fn name(&self) -> String {
        let texts = self.container_hierarchy_texts.iter().flatten();
        let mut words: Vec<&str> = texts.map(String::as_str).collect();
        words.push(match self.leaf_node_text.as_str() {
            "" => &self.leaf_node_type,
            text => text,
        });
        words.join(" ")
    }

    fn ending(&self) -> Ending {
        match self.state.as_str() {
            "passed" => Ending::Passed,
            "skipped" | "pending" => Ending::NotRun,
            state => {
                let failure = self.failure.as_ref();
                let words = failure.map_or_else(String::new, |failure| {
                    format!("{} {}", failure.message, failure.forwarded_panic)
                });
                Ending::Bad(format!("{state}: {}", words.trim()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
