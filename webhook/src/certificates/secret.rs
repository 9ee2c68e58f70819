//! What the Secret holds, and how.
//!
//! | key | holds |
//! |---|---|
//! | `tls.crt`, `tls.key` | the leaf that every replica serves |
//! | `ca.crt`, `ca.key` | the CA that signs leaves |
//! | `next-ca.crt`, `next-ca.key` | the CA that will, while it waits for its lead time |
//! | `retired-<time>.crt` | CAs that are trusted until then, although they sign no more |
//!
//! Pure. Whatever cannot be used is read as absent; keys that are not in this table are
//! left alone.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::authority::{Authority, ServiceNames};
use super::trust::{self, Anchor};
use crate::tls::Pair;

const LEAF: [&str; 2] = ["tls.crt", "tls.key"];
const CURRENT: [&str; 2] = ["ca.crt", "ca.key"];
const NEXT: [&str; 2] = ["next-ca.crt", "next-ca.key"];
const RETIRED: (&str, &str) = ("retired-", ".crt");
/// RFC 3339 without colons, which keys of a Secret cannot have.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The contents of a Secret. Never to be logged.
pub type Data = BTreeMap<String, Vec<u8>>;

/// A CA of the Secret: what is trusted of it, and the CA itself if it can sign.
#[derive(Debug, Default)]
pub struct Slot {
    /// Its certificate.
    pub anchor: Option<Anchor>,
    /// Certificate and key, if they fit and may sign for the service.
    pub authority: Option<Authority>,
}

impl From<Authority> for Slot {
    fn from(authority: Authority) -> Self {
        Self {
            anchor: Some(authority.anchor().clone()),
            authority: Some(authority),
        }
    }
}

/// A CA that signs no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// When none of its leaves is served any more.
    pub until: Timestamp,
    /// Its certificate.
    pub anchor: Anchor,
}

/// Everything that the Secret says.
#[derive(Default)]
pub struct State {
    /// What is served.
    pub leaf: Option<Pair>,
    /// What signs.
    pub current: Slot,
    /// What will sign.
    pub next: Slot,
    /// What has signed.
    pub retired: Vec<Retired>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("leaf", &self.leaf)
            .field(
                "current",
                &self.current.anchor.as_ref().map(Anchor::validity),
            )
            .field("next", &self.next.anchor.as_ref().map(Anchor::validity))
            .field("retired", &self.retired.len())
            .finish()
    }
}

impl State {
    /// Reads the contents of a Secret for a service.
    #[must_use]
    pub fn read(data: &Data, names: &ServiceNames) -> Self {
        let text = |key: &str| data.get(key).cloned().unwrap_or_default();
        let slot = |[certificate, key]: [&str; 2]| {
            let anchor = trust::read(&text(certificate)).into_iter().next();
            let authority = anchor
                .as_ref()
                .and_then(|anchor| Authority::read(anchor, &text(key), names));
            Slot { anchor, authority }
        };
        let retired = data.iter().flat_map(|(key, pem)| {
            let until = retired_until(key);
            let anchors = trust::read(pem).into_iter();
            anchors.filter_map(move |anchor| {
                Some(Retired {
                    until: until?,
                    anchor,
                })
            })
        });
        Self {
            leaf: Pair::parse(text(LEAF[0]), text(LEAF[1])).ok(),
            current: slot(CURRENT),
            next: slot(NEXT),
            retired: retired.collect(),
        }
    }

    /// What the Secret holds in this state.
    #[must_use]
    pub fn write(&self) -> Data {
        let mut data = Data::new();
        let mut put = |[certificate, key]: [&str; 2], texts: (Vec<u8>, Vec<u8>)| {
            data.insert(certificate.to_owned(), texts.0);
            data.insert(key.to_owned(), texts.1);
        };
        if let Some(leaf) = &self.leaf {
            put(LEAF, (leaf.chain_pem().to_vec(), leaf.key_pem().to_vec()));
        }
        for (keys, slot) in [(CURRENT, &self.current), (NEXT, &self.next)] {
            if let Some(anchor) = &slot.anchor {
                let key = slot.authority.as_ref().map(Authority::key_pem);
                put(keys, (trust::write([anchor]), key.unwrap_or_default()));
            }
        }
        for retired in &self.retired {
            let (prefix, suffix) = RETIRED;
            let key = format!("{prefix}{}{suffix}", retired.until.strftime(TIME));
            let pem = trust::write([&retired.anchor]);
            data.entry(key).or_default().extend(pem);
        }
        data
    }

    /// Every CA that the Secret knows, each once, the signing one first.
    pub fn anchors(&self) -> Vec<&Anchor> {
        let slots = [&self.current, &self.next].into_iter();
        let retired = self.retired.iter().map(|retired| &retired.anchor);
        let mut all: Vec<&Anchor> = Vec::new();
        for anchor in slots.filter_map(|slot| slot.anchor.as_ref()).chain(retired) {
            if !all.contains(&anchor) {
                all.push(anchor);
            }
        }
        all
    }
}

/// What turns `old` into `new`: a value for each key that changes, `None` for each of our
/// keys that goes.
#[must_use]
pub fn changes(old: &Data, new: &Data) -> BTreeMap<String, Option<Vec<u8>>> {
    let gone = old
        .keys()
        .filter(|key| is_ours(key) && !new.contains_key(*key))
        .map(|key| (key.clone(), None));
    let set = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), Some(value.clone())));
    gone.chain(set).collect()
}

fn is_ours(key: &str) -> bool {
    [LEAF, CURRENT, NEXT].concat().contains(&key) || key.starts_with(RETIRED.0)
}

fn retired_until(key: &str) -> Option<Timestamp> {
    let time = key.strip_prefix(RETIRED.0)?.strip_suffix(RETIRED.1)?;
    let civil = jiff::civil::DateTime::strptime(TIME, time).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests;
