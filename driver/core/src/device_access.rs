//! What a device was seen to do about hosts: whom it lets in, and when their sessions end.
//!
//! RouterOS does not document how `nvme-tcp-server-allow-host-name` is compared, nor what
//! becomes of sessions when an export ends. So a device is asked, by connecting to a volume
//! that is made for it, and what it did is a value here. What was not seen is `None` and
//! never a guess: nobody may conclude from it that a device shuts anybody out.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::kind::{Failure, Kind};

/// How the name of the allowed host is compared with that of a host that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Not at all: every host is let in.
    Ignored,
    /// The one host of that name is let in.
    Exact,
    /// The hosts whose names stand in it, with commas between, are let in.
    List,
    /// In some other way, or a change of it does not count while the volume is exported:
    /// nothing can be built on it.
    Other,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::Ignored, Self::Exact, Self::List, Self::Other];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Exact => "exact",
            Self::List => "list",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who was let in, of two hosts, while the volume was exported all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The first, with its own name set.
    pub named: bool,
    /// The second, with the first's name set.
    pub other: bool,
    /// Both, with both names set and a comma between.
    pub both: bool,
    /// The second, after the name was taken away.
    pub open: bool,
    /// The second, after the first's name was set again.
    pub closed: bool,
}

impl Seen {
    /// What that says about the device.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self {
                named: true,
                other: true,
                ..
            } => Rule::Ignored,
            // A change counts at once, in both directions.
            Self {
                named: true,
                open: true,
                closed: false,
                both,
                ..
            } => {
                if both {
                    Rule::List
                } else {
                    Rule::Exact
                }
            }
            _ => Rule::Other,
        }
    }
}

/// What a device was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceAccess {
    /// Whom it lets in.
    pub rule: Rule,
    /// Whether the session of a host that stays allowed outlives a change of the name.
    pub keeps_sessions: bool,
    /// Whether a session had ended once its export was switched off and offered again under
    /// another name, and the old name let nobody in.
    pub ends_sessions: bool,
}

/// What was seen, and of which device: it says nothing about another one, nor about another
/// version of RouterOS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What was seen.
    pub access: DeviceAccess,
    /// Where the device was connected to.
    pub address: SocketAddr,
    /// RouterOS's version, as the device says it.
    pub version: String,
}

/// A text that is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not say what a device was seen to do")]
pub struct ProofError(String);

impl Failure for ProofError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceAccess {
            rule,
            keeps_sessions,
            ends_sessions,
        } = self.access;
        write!(
            f,
            "rule={rule},keeps-sessions={keeps_sessions},ends-sessions={ends_sessions},address={},version={}",
            self.address, self.version
        )
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let parts: Vec<&str> = text.splitn(5, ',').collect();
        let part = |index: usize, key: &str| {
            let part = parts.get(index)?.strip_prefix(key)?;
            part.strip_prefix('=')
        };
        let read = || {
            let rule = part(0, "rule")?;
            Some(Self {
                access: DeviceAccess {
                    rule: Rule::ALL.into_iter().find(|known| known.as_str() == rule)?,
                    keeps_sessions: part(1, "keeps-sessions")?.parse().ok()?,
                    ends_sessions: part(2, "ends-sessions")?.parse().ok()?,
                },
                address: part(3, "address")?.parse().ok()?,
                version: part(4, "version")?.to_owned(),
            })
        };
        read().ok_or_else(|| ProofError(text.chars().take(128).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who a device of this rule lets in.
    fn device(rule: Rule) -> Seen {
        Seen {
            named: true,
            other: rule == Rule::Ignored,
            both: matches!(rule, Rule::List | Rule::Ignored),
            open: true,
            closed: rule == Rule::Ignored,
        }
    }

    #[test]
    fn each_rule_is_told_by_what_it_does() {
        for rule in [Rule::Ignored, Rule::Exact, Rule::List] {
            assert_eq!(device(rule).rule(), rule);
        }
    }

    #[test]
    fn a_device_whose_rule_cannot_be_followed_is_one_that_nothing_is_built_on() {
        let list = device(Rule::List);
        for seen in [
            // It means something else by a name.
            Seen {
                named: false,
                ..list
            },
            // A change counts only once the volume is exported anew.
            Seen {
                open: false,
                ..list
            },
            Seen {
                closed: true,
                ..list
            },
        ] {
            assert_eq!(seen.rule(), Rule::Other, "{seen:?}");
        }
    }

    #[test]
    fn a_proof_reads_back_and_nothing_else_does() {
        for rule in Rule::ALL {
            let proof = Proof {
                access: DeviceAccess {
                    rule,
                    keeps_sessions: true,
                    ends_sessions: rule == Rule::List,
                },
                address: "[fd00::2]:4420".parse().unwrap(),
                version: "7.24.4 (stable), or so".to_owned(),
            };
            assert_eq!(proof.to_string().parse(), Ok(proof));
        }
        for text in [
            "",
            "rule=none,keeps-sessions=true,ends-sessions=true,address=10.0.0.2:4420,version=7",
            "rule=list,keeps-sessions=yes,ends-sessions=true,address=10.0.0.2:4420,version=7",
            "rule=list,ends-sessions=true,keeps-sessions=true,address=10.0.0.2:4420,version=7",
            "rule=list,keeps-sessions=true,ends-sessions=true,address=device,version=7",
            "rule=list,keeps-sessions=true,ends-sessions=true,address=10.0.0.2:4420",
        ] {
            assert!(text.parse::<Proof>().is_err(), "{text:?}");
        }
    }
}
