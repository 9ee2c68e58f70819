//! Which machine a node is, and which Node object says so.
//!
//! A node is a name, and a name is given again: whoever replaces a machine often calls the
//! new one like the old. What the new kubelet says of volumes it says of the new machine
//! alone, and what the old kernel has open it keeps. So a grant notes who the node was, and
//! only what is said by the same is believed of it.
//!
//! The machine is `status.nodeInfo`'s `systemUUID` and `machineID` together. Neither is
//! enough: firmware is sold with one UUID for all, and images of a system are copied with
//! their machine id. Two machines that are taken for one are two writers, and one that is
//! taken for two is shut out once without need. A reboot changes neither, and need not:
//! whatever session the kernel of before had ended with it.
//!
//! A Node object that was deleted and made anew begins with no volumes in use, whatever its
//! machine has mounted. The object is known by its UID.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Who a node is: a machine, and a Node object. Both are kept as the beginning of a digest,
/// as they are foreign texts of any length and only compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeIdentity {
    machine: u64,
    object: u64,
}

impl NodeIdentity {
    /// Who a node is by `status.nodeInfo.systemUUID`, `status.nodeInfo.machineID` and
    /// `metadata.uid`; `None` where the first two are empty or the last one is.
    #[must_use]
    pub fn of(system_uuid: &str, machine_id: &str, uid: &str) -> Option<Self> {
        let (system_uuid, machine_id) = (system_uuid.trim(), machine_id.trim());
        let is_unknown = uid.is_empty() || (system_uuid.is_empty() && machine_id.is_empty());
        // Firmware and kernel do not agree on upper and lower case.
        let machine = format!("{system_uuid} {machine_id}").to_ascii_lowercase();
        (!is_unknown).then(|| Self {
            machine: digest(&machine),
            object: digest(uid),
        })
    }

    /// Whether the other one is the same machine, whatever its Node object.
    #[must_use]
    pub fn is_machine_of(self, other: Self) -> bool {
        self.machine == other.machine
    }
}

fn digest(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .take(8)
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.machine, self.object)
    }
}

/// A text that says of no node who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not two numbers of 16 hexadecimal digits with a dash between")]
pub struct NodeIdentityError;

impl FromStr for NodeIdentity {
    type Err = NodeIdentityError;

    fn from_str(text: &str) -> Result<Self, NodeIdentityError> {
        let number = |text: &str| {
            let is_whole = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = is_whole.then(|| u64::from_str_radix(text, 16));
            number.and_then(Result::ok).ok_or(NodeIdentityError)
        };
        let (machine, object) = text.split_once('-').ok_or(NodeIdentityError)?;
        Ok(Self {
            machine: number(machine)?,
            object: number(object)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4c4c4544-0043-4a10-8056-b4c04f4d3233";
    const ID: &str = "6d1d5a6b7c8e4f0f9a1b2c3d4e5f6071";

    #[test]
    fn a_machine_is_both_of_its_ids_and_an_object_its_uid() {
        let one = NodeIdentity::of(UUID, ID, "uid-1").unwrap();
        let anew = NodeIdentity::of(&UUID.to_uppercase(), ID, "uid-2").unwrap();
        assert!(one.is_machine_of(anew) && one != anew);
        for (uuid, id) in [(UUID, "another"), ("another", ID), (UUID, ""), ("", ID)] {
            let other = NodeIdentity::of(uuid, id, "uid-1").unwrap();
            assert!(!one.is_machine_of(other), "{uuid} {id}");
        }
        assert_eq!(NodeIdentity::of("", " ", "uid-1"), None);
        assert_eq!(NodeIdentity::of(UUID, ID, ""), None);
    }

    #[test]
    fn an_identity_reads_back_and_nothing_else_is_one() {
        let one = NodeIdentity::of(UUID, ID, "uid-1").unwrap();
        assert_eq!(one.to_string().parse(), Ok(one));
        let text = one.to_string();
        for wrong in ["", "-", &text[1..], &text[..32], &format!("{text}0")] {
            assert_eq!(wrong.parse::<NodeIdentity>(), Err(NodeIdentityError));
        }
    }
}
