//! How strictly each rule is held: `enforce`, `warn` or `audit`.
//!
//! In the webhook every rule may be relaxed, since the driver decides again. In the driver
//! only those may that are about who the second node is for and about nodes that may be
//! lost: whoever relaxes them answers for another way of fencing. How many nodes have a
//! volume, and whether one still uses it, is never relaxed there.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::verdict::Rule;
use crate::kind::{Failure, Kind};

/// Who asks for a judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// The webhook: early, perhaps from what was watched, and before anything is granted.
    /// There a wish that would be granted counts as an attachment.
    Admission,
    /// ControllerPublishVolume and ControllerUnpublishVolume: the last word.
    Driver,
}

/// How strictly a rule is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// What it refuses is refused.
    #[default]
    Enforce,
    /// What it refuses is allowed, and the author is told.
    Warn,
    /// What it refuses is allowed and counted.
    Audit,
}

impl Mode {
    /// Its name in flags and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }

    /// Whether people are told of what it lets pass.
    #[must_use]
    pub fn is_told(self) -> bool {
        self == Self::Warn
    }
}

/// A word that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode {0:?} is unknown: enforce, warn or audit")]
pub struct ModeError(String);

impl Failure for ModeError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "enforce" => Ok(Self::Enforce),
            "warn" => Ok(Self::Warn),
            "audit" => Ok(Self::Audit),
            other => Err(ModeError(other.chars().take(32).collect())),
        }
    }
}

/// An entry of a command line that sets no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{entry:?} is not allowed: it takes RULE=MODE, each rule once, with a rule of {} and enforce, warn or audit", .rules.join(", ")
)]
pub struct ModesError {
    entry: String,
    rules: Vec<&'static str>,
}

impl Failure for ModesError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// The modes of all rules. Without an entry a rule is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modes(BTreeMap<Rule, Mode>);

impl Modes {
    /// These modes with one of them set.
    #[must_use]
    pub fn with(mut self, rule: Rule, mode: Mode) -> Self {
        self.0.insert(rule, mode);
        self
    }

    /// Reads entries such as `same-machine=warn`; empty ones are none.
    ///
    /// # Errors
    /// [`ModesError`] for the first that is no rule and mode, that names a rule which is not
    /// relaxed at this seat, or one that was named before.
    pub fn read<'a>(
        entries: impl IntoIterator<Item = &'a str>,
        seat: Seat,
    ) -> Result<Self, ModesError> {
        let mut modes = BTreeMap::new();
        let rules: Vec<_> = Rule::ALL
            .into_iter()
            .filter(|rule| may_relax(*rule, seat))
            .collect();
        for entry in entries.into_iter().filter(|entry| !entry.is_empty()) {
            let read = || {
                let (rule, mode) = entry.split_once('=')?;
                let rule = rules.iter().find(|known| known.as_str() == rule)?;
                Some((*rule, mode.parse().ok()?))
            };
            let read = read().filter(|(rule, _)| !modes.contains_key(rule));
            let (rule, mode) = read.ok_or_else(|| ModesError {
                entry: entry.chars().take(64).collect(),
                rules: rules.iter().map(|rule| rule.as_str()).collect(),
            })?;
            modes.insert(rule, mode);
        }
        Ok(Self(modes))
    }

    /// How a rule is held by whoever asks.
    #[must_use]
    pub fn of(&self, rule: Rule, seat: Seat) -> Mode {
        let set = self.0.get(&rule).copied().unwrap_or_default();
        if may_relax(rule, seat) {
            set
        } else {
            Mode::Enforce
        }
    }
}

fn may_relax(rule: Rule, seat: Seat) -> bool {
    match rule {
        Rule::NodeLoss | Rule::SameMachine => true,
        Rule::SharedFilesystem
        | Rule::Leaving
        | Rule::SingleNode
        | Rule::TwoNodes
        | Rule::InUse => seat == Seat::Admission,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_never_relaxes_how_many_nodes_have_a_volume() {
        let audit = Rule::ALL.into_iter().fold(Modes::default(), |modes, rule| {
            modes.with(rule, Mode::Audit)
        });
        let relaxed = |seat| {
            let modes = Rule::ALL.into_iter();
            modes
                .filter(|rule| audit.of(*rule, seat) != Mode::Enforce)
                .collect::<Vec<_>>()
        };
        assert_eq!(relaxed(Seat::Admission), Rule::ALL);
        assert_eq!(relaxed(Seat::Driver), [Rule::NodeLoss, Rule::SameMachine]);
    }

    #[test]
    fn entries_name_a_rule_that_may_be_relaxed_and_a_mode() {
        let entries = ["", "same-machine=warn", "node-loss=audit"];
        let modes = Modes::read(entries, Seat::Driver).unwrap();
        assert_eq!(modes.of(Rule::SameMachine, Seat::Driver), Mode::Warn);
        assert_eq!(modes.of(Rule::NodeLoss, Seat::Driver), Mode::Audit);
        Modes::read(["two-nodes=warn"], Seat::Admission).unwrap();
        for wrong in [
            &["two-nodes=warn"][..],
            &["same-machine"],
            &["same-machine=Warn"],
            &["other=warn"],
            &["node-loss=warn", "node-loss=audit"],
        ] {
            let error = Modes::read(wrong.iter().copied(), Seat::Driver).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("a rule of node-loss, same-machine and"),
                "{text}"
            );
        }
    }

    #[test]
    fn modes_are_words() {
        assert_eq!("warn".parse(), Ok(Mode::Warn));
        assert_eq!("audit".parse(), Ok(Mode::Audit));
        assert_eq!("enforce".parse::<Mode>().unwrap(), Mode::default());
        assert!("Enforce".parse::<Mode>().is_err());
    }
}
