//! The next step towards a served leaf that every API server can verify.
//!
//! Pure: what was seen and the time go in, one step comes out, and after the last one
//! nothing. Two rules make every step safe, whoever takes it and whatever happened before:
//! a leaf is signed by a CA only if nobody can be caught without that CA ([`may_rely_on`]),
//! and a CA leaves the bundle only after the last leaf of it has ended.
//!
//! Clocks of replicas and API servers may differ by five minutes and may jump back by as
//! much; waiting is measured by each process for itself, without the clock.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::authority::{Authority, IssueError, ServiceNames};
use super::secret::{Retired, State};
use super::trust::{self, Anchor, Bundles, Sightings, verifies};
use super::{Lifetimes, Settings};
use crate::tls::{Pair, Validity};

/// More CAs than ever retire at once; of a bundle with more foreign ones the rest goes.
const MOST_RETIRED: usize = 16;

/// What was seen of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The Secret; empty at first, and again if somebody has emptied it.
    pub state: &'a State,
    /// The configuration's bundles.
    pub bundles: &'a Bundles,
    /// Since when this process has seen which anchors in every bundle.
    pub sightings: &'a Sightings,
    /// When, by this process's own clock, which never jumps.
    pub at: Instant,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Take CAs that only the bundle knows into the Secret, so that they are kept for as
    /// long as somebody may serve a leaf of them.
    Adopt(Vec<Anchor>),
    /// Write this bundle into the configuration.
    Publish(Vec<u8>),
    /// Take retired CAs whose time is over out of the Secret.
    Forget,
    /// Put a new CA into the Secret that will sign after its lead time.
    AddAuthority,
    /// Sign a new leaf by the CA in use.
    RenewLeaf,
    /// Let the next CA sign: its leaf comes into use, the CA before it retires.
    Promote,
}

impl Step {
    /// For logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Adopt(_) => "adopt",
            Self::Publish(_) => "publish",
            Self::Forget => "forget",
            Self::AddAuthority => "add-authority",
            Self::RenewLeaf => "renew-leaf",
            Self::Promote => "promote",
        }
    }
}

/// The next step.
#[must_use]
pub fn plan(seen: Seen<'_>, settings: &Settings, now: Timestamp) -> Step {
    let state = seen.state;
    let foreign = foreign(seen, now);
    if !foreign.is_empty() {
        return Step::Adopt(foreign);
    }
    let trusted = trusted(state, now);
    let bundle = trust::write(trusted.iter().copied());
    if !trusted.is_empty() && !seen.bundles.are(&bundle) {
        return Step::Publish(bundle);
    }
    if state.retired.iter().any(|retired| is_over(retired, now)) {
        return Step::Forget;
    }
    let current = signer(state.current.authority.as_ref(), now);
    let next = signer(state.next.authority.as_ref(), now);
    if next.is_none() && current.is_none_or(|ca| is_due(ca.anchor().validity(), now)) {
        return Step::AddAuthority;
    }
    if next.is_some_and(|ca| may_rely_on(ca.anchor(), seen, settings, now)) {
        return Step::Promote;
    }
    let renews = current.is_some_and(|ca| {
        may_rely_on(ca.anchor(), seen, settings, now)
            && wants_leaf(state.leaf.as_ref(), ca, settings, now)
    });
    if renews { Step::RenewLeaf } else { Step::Rest }
}

/// Whether a leaf of `anchor` can come into use: API servers have had its lead time to
/// learn of it, or there is nothing else that they could verify meanwhile.
#[must_use]
pub fn may_rely_on(anchor: &Anchor, seen: Seen<'_>, settings: &Settings, now: Timestamp) -> bool {
    let waited = || {
        let since = seen.sightings.since(anchor);
        since.is_some_and(|since| seen.at.duration_since(since) >= settings.lifetimes.lead)
    };
    let alone = || {
        let mut others = seen.bundles.anchors().into_iter();
        others.all(|other| other == anchor || !other.is_alive(now))
    };
    seen.bundles.trust(anchor) && (waited() || alone())
}

/// The state after a step that changes the Secret; the same state after any other.
pub fn take(
    step: &Step,
    mut state: State,
    settings: &Settings,
    now: Timestamp,
) -> Result<State, IssueError> {
    let Settings {
        names,
        lifetimes: Lifetimes { ca, leaf, .. },
        ..
    } = settings;
    match step {
        Step::Rest | Step::Publish(_) => {}
        Step::Adopt(anchors) => {
            let until = last_end(&state, *leaf, now);
            let adopt = |anchor: &Anchor| Retired {
                until,
                anchor: anchor.clone(),
            };
            state.retired.extend(anchors.iter().map(adopt));
        }
        Step::Forget => state.retired.retain(|retired| !is_over(retired, now)),
        Step::AddAuthority => state.next = Authority::generate(names, *ca, now)?.into(),
        Step::RenewLeaf => {
            if let Some(authority) = &state.current.authority {
                state.leaf = Some(authority.sign(names, *leaf, now)?);
            }
        }
        Step::Promote => {
            let until = match (&state.leaf, issuer(&state, names, now)) {
                (Some(last), by @ Some(_)) if by == state.current.anchor.as_ref() => {
                    last.validity().not_after
                }
                _ => last_end(&state, *leaf, now),
            };
            let next = std::mem::take(&mut state.next);
            if let Some(authority) = &next.authority {
                state.leaf = Some(authority.sign(names, *leaf, now)?);
            }
            let old = std::mem::replace(&mut state.current, next);
            state
                .retired
                .extend(old.anchor.map(|anchor| Retired { until, anchor }));
        }
    }
    Ok(state)
}

/// The CA of this state whose leaf is served, if clients that trust all CAs of the state
/// can verify it.
#[must_use]
pub fn issuer<'a>(state: &'a State, names: &ServiceNames, now: Timestamp) -> Option<&'a Anchor> {
    let leaf = state.leaf.as_ref()?;
    let mut anchors = state.anchors().into_iter();
    anchors.find(|anchor| verifies(leaf.chain(), &[anchor], names, now))
}

/// What the bundle should hold, in an order in which a CA that comes into use or retires
/// changes nothing: API servers make new connections for every new bundle.
fn trusted(state: &State, now: Timestamp) -> Vec<&Anchor> {
    let over = |anchor: &Anchor| {
        let mut retired = state
            .retired
            .iter()
            .filter(|retired| retired.anchor == *anchor);
        let slots = [&state.current, &state.next];
        !slots
            .iter()
            .any(|slot| slot.anchor.as_ref() == Some(anchor))
            && retired.all(|retired| is_over(retired, now))
    };
    let mut anchors = state.anchors();
    anchors.retain(|anchor| anchor.is_alive(now) && !over(anchor));
    anchors.sort_by_key(|anchor| anchor.order());
    anchors
}

/// What only the bundle knows and somebody may still need.
fn foreign(seen: Seen<'_>, now: Timestamp) -> Vec<Anchor> {
    let known = seen.state.anchors();
    let room = MOST_RETIRED.saturating_sub(seen.state.retired.len());
    let found = seen.bundles.anchors().into_iter();
    found
        .filter(|anchor| anchor.is_alive(now) && !known.contains(anchor))
        .take(room)
        .cloned()
        .collect()
}

/// When the last leaf that may be in use has ended, whoever signed it.
fn last_end(state: &State, lifetime: Duration, now: Timestamp) -> Timestamp {
    let longest = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
    let served = state.leaf.as_ref().map(|leaf| leaf.validity().not_after);
    longest.max(served.unwrap_or(Timestamp::MIN))
}

fn is_over(retired: &Retired, now: Timestamp) -> bool {
    retired.until <= now || !retired.anchor.is_alive(now)
}

/// A CA whose leaves are valid now.
fn signer(authority: Option<&Authority>, now: Timestamp) -> Option<&Authority> {
    authority.filter(|authority| {
        authority.anchor().is_alive(now) && authority.anchor().validity().not_before <= now
    })
}

/// Whether two thirds of a life are over.
fn is_due(validity: Validity, now: Timestamp) -> bool {
    let life = validity.not_after.duration_since(validity.not_before);
    now.duration_since(validity.not_before) >= life * 2 / 3
}

/// Whether the CA in use should sign a leaf: there is none of it, or it is due and a new
/// one would last longer.
fn wants_leaf(leaf: Option<&Pair>, ca: &Authority, settings: &Settings, now: Timestamp) -> bool {
    let Some(leaf) = leaf else {
        return true;
    };
    let end = now
        .saturating_add(settings.lifetimes.leaf)
        .unwrap_or(Timestamp::MAX);
    let longer = end.min(ca.anchor().validity().not_after) > leaf.validity().not_after;
    !verifies(leaf.chain(), &[ca.anchor()], &settings.names, now)
        || (is_due(leaf.validity(), now) && longer)
}

#[cfg(test)]
mod tests;
