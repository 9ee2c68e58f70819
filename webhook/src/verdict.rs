//! What a rule says about one object.
//!
//! A verdict is data: which fields are refused and why, and what the author should know
//! although it is allowed. How it travels (an AdmissionReview, a line of `check`) is
//! decided elsewhere.

use std::fmt;

use rds_csi_core::attachment::{Mode, Rule};

/// The longest warning that API servers promise to pass on whole: they may cut off
/// warnings over 120 characters.
pub const LONGEST_WARNING: usize = 120;

/// No verdict names more fields than this, so that no object can make an answer that is
/// much larger than itself.
pub const MOST_DENIALS: usize = 32;

/// One field that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The path inside the object, such as `spec.accessModes[0]`.
    pub field: String,
    /// What is refused, why, and what to write instead.
    pub message: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A refusal that was let pass, as its rule is not enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relaxed {
    /// The rule.
    pub rule: Rule,
    /// How it is held: never [`Mode::Enforce`].
    pub mode: Mode,
    /// What it would have refused, and why.
    pub why: String,
}

/// What the rules say about one object. Without denials it is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Shown to the author of an object, allowed or not; each at most
    /// [`LONGEST_WARNING`] characters.
    pub warnings: Vec<String>,
    /// The refused fields: every one of them, up to [`MOST_DENIALS`].
    pub denials: Vec<Denial>,
    /// What would have been refused, for the log and to be counted: whoever is to be told
    /// is told by a warning.
    pub relaxed: Vec<Relaxed>,
    /// Whether the object is certainly another driver's; it is allowed then.
    pub is_foreign: bool,
}

impl Verdict {
    /// Allowed, and nothing to say.
    #[must_use]
    pub fn allow() -> Self {
        Self::default()
    }

    /// Allowed, because the object is another driver's.
    #[must_use]
    pub fn foreign() -> Self {
        Self {
            is_foreign: true,
            ..Self::default()
        }
    }

    /// Whether the object may pass.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.denials.is_empty()
    }

    /// Refuses `field`.
    pub fn deny(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.denials.len() < MOST_DENIALS {
            self.denials.push(Denial {
                field: field.into(),
                message: message.into(),
            });
        }
    }

    /// Adds a warning, cut to [`LONGEST_WARNING`] characters.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        let fits = warning.chars().count() <= LONGEST_WARNING;
        self.warnings.push(if fits {
            warning
        } else {
            let mut cut: String = warning.chars().take(LONGEST_WARNING - 1).collect();
            cut.push('…');
            cut
        });
    }

    /// All denials as one sentence, or `None` where the object is allowed.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let lines: Vec<_> = self.denials.iter().map(Denial::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_every_refused_field() {
        let mut verdict = Verdict::allow();
        assert_eq!((verdict.is_allowed(), verdict.message()), (true, None));
        verdict.deny("spec.a", "no");
        verdict.deny("spec.b", "never");
        assert_eq!(verdict.message().unwrap(), "spec.a: no; spec.b: never");
        assert!(!verdict.is_allowed());
    }

    #[test]
    fn a_verdict_stays_small() {
        let mut verdict = Verdict::allow();
        for index in 0..100_000 {
            verdict.deny(format!("spec.accessModes[{index}]"), "no");
        }
        assert_eq!(verdict.denials.len(), MOST_DENIALS);
    }

    #[test]
    fn warnings_are_cut_by_characters_not_bytes() {
        let mut verdict = Verdict::allow();
        verdict.warn("ä".repeat(121));
        verdict.warn("ä".repeat(120));
        assert_eq!(verdict.warnings[0].chars().count(), LONGEST_WARNING);
        assert!(verdict.warnings[0].ends_with('…'));
        assert_eq!(verdict.warnings[1], "ä".repeat(120));
    }
}
