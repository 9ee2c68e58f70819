//! What the rules say about an attachment, as data and in words.

use std::fmt;
use std::time::Duration;

use super::exception::Moment;
use super::observation::{Part, Unread};
use crate::kind::{Failure, Kind};

/// No refusal is longer, in characters: Kubernetes cuts the error of a VolumeAttachment at
/// 1024 (`maxVolumeErrorMessageSize`), and the driver puts some words before it.
pub const LONGEST: usize = 800;
/// Of these, the reason and the next step.
const LONGEST_WHY: usize = 380;
const LONGEST_NEXT: usize = 410;

/// A rule, by which a refusal is counted and of which the mode is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Many nodes never share a filesystem.
    SharedFilesystem,
    /// An attachment that is being deleted is not given anew.
    Leaving,
    /// A volume for one node has one.
    SingleNode,
    /// No volume has three.
    TwoNodes,
    /// Nothing is shared with, or taken from, a node that may be lost and writing.
    NodeLoss,
    /// A second node is for the same machine's live migration, or for a reader.
    SameMachine,
    /// What a node still uses is not taken from it.
    InUse,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 7] = [
        Self::SharedFilesystem,
        Self::Leaving,
        Self::SingleNode,
        Self::TwoNodes,
        Self::NodeLoss,
        Self::SameMachine,
        Self::InUse,
    ];

    /// Its name in flags, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SharedFilesystem => "shared-filesystem",
            Self::Leaving => "leaving",
            Self::SingleNode => "single-node",
            Self::TwoNodes => "two-nodes",
            Self::NodeLoss => "node-loss",
            Self::SameMachine => "same-machine",
            Self::InUse => "in-use",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node may have it.
    Allow(Reason),
    /// The node may have it beside the other one while a machine moves between the two.
    AllowAsMigration(HandOver),
    /// The node does not get it now.
    Deny(Denial),
    /// Nobody can say: the caller reads what is missing and asks again, and where it
    /// cannot be read says UNAVAILABLE.
    Unknown(Unread),
}

impl Verdict {
    /// Whether the node may have it only because nobody asks there who writes.
    #[must_use]
    pub const fn is_for_readers(&self) -> bool {
        matches!(self, Self::Allow(Reason::Reader { .. }))
    }
}

/// Why a node may have a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No other node has it.
    Alone,
    /// It has it already.
    Stands,
    /// On the second node are only pods that read, such as this one.
    Reader {
        /// `namespace/name` of the pod.
        pod: String,
    },
    /// A person said that several machines share it.
    Excepted {
        /// Why.
        reason: String,
        /// Until when.
        until: Moment,
    },
    /// A rule refuses it and is not enforced here: see [`Judgement::noted`].
    Relaxed,
}

/// A live migration that two nodes have a volume for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// `namespace/name` of the migration.
    pub migration: String,
    /// Its UID.
    pub uid: String,
    /// From where.
    pub source: String,
    /// To where.
    pub target: String,
    /// After which time it is to be reported as long, if that was set.
    pub timeout: Option<Duration>,
}

/// An object that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its kind, as a person writes it.
    pub kind: &'static str,
    /// Its namespace, where it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} ({object} is in the way). {}", clip(.why, LONGEST_WHY), clip(.next, LONGEST_NEXT))]
pub struct Denial {
    /// Which rule refuses.
    pub rule: Rule,
    /// What it refuses, and why.
    pub why: String,
    /// Because of which object.
    pub object: Object,
    /// What helps, with the command.
    pub next: String,
    /// Whether the asking node may have the volume already, so that no answer may let the
    /// orchestrator forget it.
    pub held: bool,
}

impl Failure for Denial {
    fn kind(&self) -> Kind {
        match self.rule {
            // The same call succeeds later without anybody changing the request.
            Rule::Leaving => Kind::Busy,
            // ControllerUnpublish: the attachment stays, and is asked about again.
            Rule::InUse => Kind::Unreachable,
            _ if self.held => Kind::Unreachable,
            Rule::SharedFilesystem => Kind::Invalid,
            Rule::SingleNode | Rule::TwoNodes | Rule::NodeLoss | Rule::SameMachine => {
                Kind::Conflict
            }
        }
    }
}

impl Failure for Unread {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
}

/// A verdict, and what rules that are not enforced would have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What holds.
    pub verdict: Verdict,
    /// What is to be told (`warn`) or only counted (`audit`).
    pub noted: Vec<Noted>,
}

impl Judgement {
    /// A part that a rule needs and that nobody has tried to read. Whoever reads it and
    /// judges again comes to an end: there are as many parts as nodes, and two more.
    #[must_use]
    pub fn unread(&self) -> Option<&Part> {
        let of_verdict = match &self.verdict {
            Verdict::Unknown(unread) => Some(unread),
            _ => None,
        };
        let of_noted = self.noted.iter().filter_map(|noted| match &noted.finding {
            Finding::Unread(unread) => Some(unread),
            Finding::Denial(_) => None,
        });
        let mut all = of_verdict.into_iter().chain(of_noted);
        all.find(|unread| unread.why.is_none())
            .map(|unread| &unread.part)
    }
}

/// What a rule would have refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Whether to tell the author or only to count it.
    pub mode: super::mode::Mode,
    /// The refusal, or what would have to be known for one.
    pub finding: Finding,
}

/// See [`Noted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It would have been refused.
    Denial(Denial),
    /// It could not be judged.
    Unread(Unread),
}

/// At most that many characters of a text.
fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most - 1).collect();
    cut.push('…');
    cut
}
