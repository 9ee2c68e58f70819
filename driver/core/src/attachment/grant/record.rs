//! The record of what was granted, as an annotation has it.

use std::collections::BTreeMap;
use std::fmt;

use super::VolumeAttachment;
use crate::attachment::identity::NodeIdentity;

/// The VolumeAttachments that were granted, by their UIDs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record(pub(super) BTreeMap<String, Entry>);

/// What is recorded of a VolumeAttachment that was granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its node. Earlier releases wrote UIDs alone.
    pub node: Option<String>,
    /// Who the node was when it was granted. Earlier releases did not ask.
    pub identity: Option<NodeIdentity>,
    /// Whether the node has it only to be read, beside another one. Earlier releases did not
    /// tell such a node.
    pub reader: bool,
    /// Whether the node is known to have let go since. It holds the volume all the same
    /// while the VolumeAttachment exists.
    pub released: bool,
}

/// What follows in an entry whose node has the volume only to be read.
const READER: &str = "=reader";
/// What an entry ends in whose node has let go.
const RELEASED: &str = "=released";

impl Record {
    /// Reads the annotation: entries with commas between, each `UID@NODE/IDENTITY`, `=reader`
    /// behind it where that is so, and `=released` once that is so. The parts from `@` and from
    /// `/` on may be absent. Whatever is no UID of a VolumeAttachment counts for nothing, so
    /// every text is a record.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let entries = text.split(',').filter(|entry| !entry.is_empty());
        let entry = |text: &str| {
            let (text, released) = marked(text, RELEASED);
            let (text, reader) = marked(text, READER);
            let (uid, node) = match text.split_once('@') {
                Some((uid, node)) => (uid, Some(node)),
                None => (text, None),
            };
            // No name of a node has a slash.
            let (node, identity) = match node.and_then(|node| node.split_once('/')) {
                Some((node, identity)) => (Some(node), identity.parse().ok()),
                None => (node, None),
            };
            let entry = Entry {
                node: node.map(str::to_owned),
                identity,
                reader,
                released,
            };
            (uid.to_owned(), entry)
        };
        Self(entries.map(entry).collect())
    }

    /// Whether the VolumeAttachment of this UID was granted.
    #[must_use]
    pub fn has(&self, uid: &str) -> bool {
        self.0.contains_key(uid)
    }

    /// What is recorded of the VolumeAttachment of this UID.
    #[must_use]
    pub fn entry(&self, uid: &str) -> Option<&Entry> {
        self.0.get(uid)
    }

    /// Every entry, by its UID.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(uid, entry)| (uid.as_str(), entry))
    }

    /// The record once the node of this UID has let go; `None` if nothing is to be changed.
    #[must_use]
    pub fn released(&self, uid: &str) -> Option<Self> {
        let mut record = self.clone();
        let entry = record.0.get_mut(uid).filter(|entry| !entry.released)?;
        entry.released = true;
        Some(record)
    }

    /// The record when the attachment is about to go and its node may still write; `None` if
    /// nothing is to be changed.
    #[must_use]
    pub fn lost(&self, attachment: &VolumeAttachment) -> Option<Self> {
        let mut record = self.clone();
        // Who the node was stays noted: it may come back.
        let entry = self.entry(&attachment.uid);
        let identity = entry.and_then(|entry| entry.identity);
        let reader = entry.is_some_and(|entry| entry.reader);
        record.grant(attachment, identity, reader);
        (record != *self).then_some(record)
    }

    /// The record without the VolumeAttachments of these UIDs.
    #[must_use]
    pub(in crate::attachment) fn without<'a>(
        &self,
        uids: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut record = self.clone();
        for uid in uids {
            record.0.remove(uid);
        }
        record
    }

    pub(super) fn grant(
        &mut self,
        attachment: &VolumeAttachment,
        identity: Option<NodeIdentity>,
        reader: bool,
    ) {
        let entry = Entry {
            node: Some(attachment.node.clone()),
            identity,
            reader,
            released: false,
        };
        self.0.insert(attachment.uid.clone(), entry);
    }

    /// Keeps an entry under a UID that no attachment has if another machine has the node's name
    /// now, and says whether that is so.
    pub(super) fn set_aside(
        &mut self,
        attachment: &VolumeAttachment,
        now: Option<NodeIdentity>,
    ) -> bool {
        let entry = self.0.get(&attachment.uid).filter(|entry| !entry.released);
        let then = entry.and_then(|entry| entry.identity);
        let (Some(entry), Some((then, now))) = (entry.cloned(), then.zip(now)) else {
            return false;
        };
        let is_another = !then.is_machine_of(now);
        if is_another {
            self.0.insert(format!("{}.{then}", attachment.uid), entry);
        }
        is_another
    }

    /// A yes that had not come true is said anew, to pods that only read.
    pub(super) fn reads(&mut self, attachment: &VolumeAttachment) {
        if let Some(entry) = self.0.get_mut(&attachment.uid) {
            entry.reader = true;
        }
    }

    pub(super) fn know(&mut self, attachment: &VolumeAttachment) {
        match self.0.get_mut(&attachment.uid) {
            Some(entry) if entry.node.is_none() => entry.node = Some(attachment.node.clone()),
            None if attachment.attached => self.grant(attachment, None, false),
            Some(_) | None => {}
        }
    }

    pub(super) fn stands(&self, attachment: &VolumeAttachment) -> bool {
        self.0
            .get(&attachment.uid)
            .is_some_and(|entry| !entry.released)
    }
}

/// An entry without what it may end in, and whether that was there.
fn marked<'a>(text: &'a str, mark: &str) -> (&'a str, bool) {
    text.strip_suffix(mark)
        .map_or((text, false), |text| (text, true))
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (uid, entry)) in self.entries().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{uid}")?;
            if let Some(node) = &entry.node {
                write!(f, "@{node}")?;
                if let Some(identity) = entry.identity {
                    write!(f, "/{identity}")?;
                }
            }
            if entry.reader {
                f.write_str(READER)?;
            }
            if entry.released {
                f.write_str(RELEASED)?;
            }
        }
        Ok(())
    }
}
