//! NVMe qualified names, and the identity that a node shows to the device.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::cluster_id::ClusterId;
use crate::kind::{Failure, Kind};
use crate::volume_id::VolumeId;

mod epoch;

pub use epoch::Epoch;

/// The prefix of volume NQNs where nothing else is set.
pub const DEFAULT_NQN_PREFIX: &str = "nqn.2000-02.com.mikrotik:";

/// What the names of hosts start with that are known by a UUID.
pub(crate) const HOST_PREFIX: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// NVMe base specification: a qualified name has at most 223 bytes.
const MAX_LENGTH: usize = 223;

/// An NVMe qualified name of a subsystem. Compared exactly, never by prefix: `…:pvc-1`
/// is not `…:pvc-10`, and a node's own root disk may share every prefix with a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nqn(String);

/// A string that is no NQN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "NQN {0:?} is not of the form nqn.<yyyy-mm>.<reverse domain>:<name> with letters, digits, '.', '-', '_', ':' and at most 223 characters"
)]
pub struct NqnError(String);

impl Failure for NqnError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for Nqn {
    type Err = NqnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_nqn(text) && !text.ends_with(':') {
            Ok(Self(text.to_owned()))
        } else {
            Err(NqnError(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Nqn {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this can be the name of a volume's subsystem: whatever the prefix, it ends
    /// in a colon and the whole id.
    #[must_use]
    pub fn is_of(&self, id: &VolumeId) -> bool {
        self.prefix(id).is_some()
    }

    fn prefix(&self, id: &VolumeId) -> Option<&str> {
        let prefix = self.0.strip_suffix(id.as_str())?;
        prefix.ends_with(':').then_some(prefix)
    }

    /// The name that the volume had before any [`Epoch`] and that its PersistentVolume says;
    /// `None` where this is another volume's.
    #[must_use]
    pub fn without_epoch(&self, id: &VolumeId) -> Option<Self> {
        let prefix = self.prefix(id)?;
        Some(Self(format!("{}{id}", Epoch::strip(prefix))))
    }

    /// The volume's name in an epoch; `None` where this is another volume's.
    #[must_use]
    pub fn in_epoch(&self, id: &VolumeId, epoch: &Epoch) -> Option<Self> {
        let prefix = Epoch::strip(self.prefix(id)?);
        Some(Self(format!("{prefix}{epoch}:{id}")))
    }
}

/// What volume NQNs start with: everything up to and including the last colon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NqnPrefix(String);

impl Default for NqnPrefix {
    fn default() -> Self {
        Self(DEFAULT_NQN_PREFIX.to_owned())
    }
}

impl FromStr for NqnPrefix {
    type Err = NqnError;

    /// A valid prefix leaves room for an epoch and the longest volume id, and has no epoch.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let longest = MAX_LENGTH - epoch::LENGTH - 40;
        let has_room = text.len() <= longest && Epoch::strip(text) == text;
        if is_nqn(text) && text.ends_with(':') && has_room {
            Ok(Self(text.to_owned()))
        } else {
            Err(NqnError(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for NqnPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NqnPrefix {
    /// The NQN of a volume.
    #[must_use]
    pub fn nqn(&self, id: &VolumeId) -> Nqn {
        Nqn(format!("{}{id}", self.0))
    }
}

/// `nqn.` + four digits `-` two digits `.` + something with a colon, from a charset that
/// neither the kernel's option list (commas) nor RouterOS quoting reads as its own.
fn is_nqn(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("nqn.") else {
        return false;
    };
    let date = |range: std::ops::Range<usize>| {
        rest.as_bytes()
            .get(range)
            .is_some_and(|b| b.iter().all(u8::is_ascii_digit))
    };
    text.len() <= MAX_LENGTH
        && date(0..4)
        && date(5..7)
        && rest.as_bytes()[4] == b'-'
        && rest.as_bytes().get(7) == Some(&b'.')
        && rest
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
        && rest.find(':').is_some_and(|colon| colon > 8)
}

/// Who a node is on the NVMe fabric. The kernel wants exactly one host id for one host
/// NQN, and two nodes with one identity merge into one host on the device, so both are
/// derived from the node's name and never read from an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostIdentity {
    /// `hostid`: UUIDv5 of cluster id and node name.
    pub id: Uuid,
    /// `hostnqn`: `nqn.2014-08.org.nvmexpress:uuid:<hostid>`.
    pub nqn: Nqn,
}

impl HostIdentity {
    /// The identity of a node in a cluster.
    #[must_use]
    pub fn of(cluster: &ClusterId, node: &str) -> Self {
        let id = Uuid::new_v5(
            &Uuid::new_v5(&Uuid::NAMESPACE_DNS, cluster.as_str().as_bytes()),
            node.as_bytes(),
        );
        Self {
            id,
            nqn: Nqn(format!("{HOST_PREFIX}{id}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_its_id_at_the_end() {
        let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
        let nqn = NqnPrefix::default().nqn(&id);
        assert_eq!(
            nqn.as_str(),
            "nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"
        );
        assert_eq!(nqn.as_str().parse(), Ok(nqn));
    }

    #[test]
    fn a_name_is_of_the_volume_whose_whole_id_ends_it() {
        let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
        let is_of = |text: &str| text.parse::<Nqn>().unwrap().is_of(&id);
        assert!(is_of(
            "nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"
        ));
        assert!(is_of(
            "nqn.2020-01.org.example:x:pvc-bvhguhbpbnhx5gsxb5fgwhjmhy"
        ));
        for near in [
            "nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjmhya",
            "nqn.2000-02.com.mikrotik:xpvc-bvhguhbpbnhx5gsxb5fgwhjmhy",
            "nqn.2000-02.com.mikrotik:pvc-bvhguhbpbnhx5gsxb5fgwhjm",
            "nqn.2000-02.com.mikrotik:pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(!is_of(near), "{near}");
        }
    }

    #[test]
    fn a_name_changes_with_its_epoch_and_stays_the_volumes() {
        let id: VolumeId = "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy".parse().unwrap();
        for prefix in [DEFAULT_NQN_PREFIX, "nqn.2020-01.org.example:x:epoch-1:"] {
            let base = prefix.parse::<NqnPrefix>().unwrap().nqn(&id);
            let first = base.in_epoch(&id, &Epoch::of("uid-1")).unwrap();
            let second = first.in_epoch(&id, &Epoch::of("uid-2")).unwrap();
            assert_ne!(first, base);
            assert_ne!(first, second);
            assert_eq!(
                base.in_epoch(&id, &Epoch::of("uid-2")),
                Some(second.clone())
            );
            for name in [&base, &first, &second] {
                assert!(name.is_of(&id));
                assert_eq!(name.as_str().parse().as_ref(), Ok(name));
                assert_eq!(name.without_epoch(&id), Some(base.clone()));
            }
        }
        // printf '%s' uid-1 | sha256sum
        assert_eq!(Epoch::of("uid-1").to_string(), "epoch-4a49acf8a6bd");
        let other: VolumeId = "pvc-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let name = NqnPrefix::default().nqn(&id);
        assert_eq!(name.in_epoch(&other, &Epoch::of("uid-1")), None);
        assert_eq!(name.without_epoch(&other), None);
    }

    #[test]
    fn a_prefix_leaves_room_for_every_name() {
        let id: VolumeId = "pvc-0f7d9b1e-8f2a-4b6f-9a37-1c5d8a2b4e6f".parse().unwrap();
        let longest = format!("nqn.2000-02.com:{}:", "a".repeat(147));
        let name = longest.parse::<NqnPrefix>().unwrap().nqn(&id);
        let name = name.in_epoch(&id, &Epoch::of("uid-1")).unwrap();
        assert_eq!(name.as_str().parse(), Ok(name));
        assert!(
            format!("nqn.2000-02.com:a{}", &longest[16..])
                .parse::<NqnPrefix>()
                .is_err()
        );
        let with_epoch = format!("{DEFAULT_NQN_PREFIX}{}:", Epoch::of("uid-1"));
        assert!(with_epoch.parse::<NqnPrefix>().is_err());
    }

    #[test]
    fn names_that_would_change_an_option_list_or_a_command_are_refused() {
        let long = format!("nqn.2000-02.com.mikrotik:{}", "a".repeat(200));
        for text in [
            "",
            "nqn.",
            "nqn.2000-02",
            "nqn.2000-02.",
            "nqn.2000-02.:x",
            "nqn.2000-02.com:",
            "nqn.2000-02.com:a,b",
            "nqn.2000-02.com:a b",
            "nqn.2000-02.com:a\"",
            "nqn.2000-02.com:a$b",
            "nqn.2000-02.com:a\n",
            "nqn.20x0-02.com:a",
            "iqn.2000-02.com:a",
            "nqn.2000-02.com:ä",
            &long,
        ] {
            assert!(text.parse::<Nqn>().is_err(), "{text:?}");
        }
        assert!(
            "nqn.2014-08.org.nvmexpress.discovery"
                .parse::<Nqn>()
                .is_err(),
            "the discovery subsystem is never a volume"
        );
    }

    #[test]
    fn host_identities_differ_by_node_and_cluster_and_stay() {
        let of = |cluster: &str, node| HostIdentity::of(&cluster.parse().unwrap(), node);
        assert_ne!(of("a", "n1"), of("a", "n2"));
        assert_ne!(of("a", "n1"), of("b", "n1"));
        assert_eq!(of("a", "n1"), of("a", "n1"));
        assert_eq!(
            of("a", "n1").nqn.as_str().rsplit(':').next().unwrap(),
            of("a", "n1").id.to_string()
        );
    }
}
