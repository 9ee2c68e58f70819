//! The one identifier of a volume.
//!
//! A volume's id is its RouterOS slot, the stem of its backing file and the last part
//! of its NQN. It is a total function of the CSI name, so that a repeated CreateVolume
//! finds what an earlier one left behind, and it is the same everywhere, so that no
//! two parts of the product can disagree about which volume they mean.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cluster_id::ClusterId;
use crate::kind::{Failure, Kind};

const PREFIX: &str = "pvc-";
const PROBE_PREFIX: &str = "rds-csi-probe-";
/// What the marker of [`VolumeId::probe`] calls it.
pub const PROBE_NAME: &str = "probe";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// 16 bytes in base32 without padding.
const DIGITS: usize = 26;

/// A volume id in one of its two forms; see [`VolumeId::for_name`] and [`Form`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId {
    text: String,
    bytes: [u8; 16],
    form: Form,
}

/// How a volume id is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `pvc-` and 26 characters of base32: 30 in all, under the 32 that a slot may have
    /// on RouterOS 7.24. What this driver makes.
    Short,
    /// `pvc-<uuid>`: 40 characters, as made by the older Go driver for this hardware.
    /// Accepted so that its volumes can be taken over; never made.
    Long,
    /// `rds-csi-probe-` and 12 hexadecimal digits of the cluster: a volume that is made to see
    /// what the device does, and removed again. No text is read as one, so no call can mean
    /// it and no list has it.
    Probe,
}

/// A string that is no volume id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("volume id {0:?} is neither pvc-<26 characters a-z2-7> nor pvc-<lower-case uuid>")]
pub struct VolumeIdError(String);

impl Failure for VolumeIdError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl VolumeId {
    /// The id for a CSI volume name: the UUID's own bytes where the name is
    /// `pvc-<uuid>` (what external-provisioner sends), else the first 16 bytes of
    /// SHA-256 over the cluster id, a zero byte and the name.
    #[must_use]
    pub fn for_name(cluster: &ClusterId, name: &str) -> Self {
        let bytes = parse_long(name).unwrap_or_else(|| {
            let digest = Sha256::new()
                .chain_update(cluster.as_str())
                .chain_update([0])
                .chain_update(name)
                .finalize();
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest[..16]);
            bytes
        });
        Self {
            text: format!("{PREFIX}{}", encode(bytes)),
            bytes,
            form: Form::Short,
        }
    }

    /// The one volume with which a cluster tries the device.
    #[must_use]
    pub fn probe(cluster: &ClusterId) -> Self {
        let digest = Sha256::digest(cluster.as_str());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self {
            text: format!("{PROBE_PREFIX}{}", &format!("{digest:x}")[..12]),
            bytes,
            form: Form::Probe,
        }
    }

    /// Whether this is what a volume of a cluster is called whose marker has this name.
    #[must_use]
    pub fn is_for(&self, cluster: &ClusterId, name: &str) -> bool {
        match self.form {
            Form::Probe => name == PROBE_NAME && *self == Self::probe(cluster),
            Form::Short | Form::Long => *self == Self::for_name(cluster, name),
        }
    }

    /// The id as text: also the slot, the stem of the backing file and the end of the NQN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the id is written.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The UUID that this driver gives to the volume's filesystem, so that foreign
    /// content behind the right NQN is noticed.
    #[must_use]
    pub fn filesystem_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.bytes)
    }
}

impl FromStr for VolumeId {
    type Err = VolumeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = parse_short(text)
            .map(|bytes| (bytes, Form::Short))
            .or_else(|| parse_long(text).map(|bytes| (bytes, Form::Long)));
        match parsed {
            Some((bytes, form)) => Ok(Self {
                text: text.to_owned(),
                bytes,
                form,
            }),
            None => Err(VolumeIdError(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The bytes of `pvc-<uuid>` in the one spelling that Kubernetes uses.
fn parse_long(text: &str) -> Option<[u8; 16]> {
    let uuid = Uuid::try_parse(text.strip_prefix(PREFIX)?).ok()?;
    (text[PREFIX.len()..] == uuid.hyphenated().to_string()).then(|| uuid.into_bytes())
}

fn parse_short(text: &str) -> Option<[u8; 16]> {
    let bytes = decode(text.strip_prefix(PREFIX)?)?;
    (text[PREFIX.len()..] == encode(bytes)).then_some(bytes)
}

fn encode(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    // 26 digits hold 130 bits: the number sits at their upper end, as RFC 4648 pads.
    (0..DIGITS)
        .map(|digit| {
            let above = 5 * (DIGITS - 1 - digit);
            let value = if above >= 2 {
                number >> (above - 2)
            } else {
                number << 2
            };
            char::from(ALPHABET[(value & 31) as usize])
        })
        .collect()
}

fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != DIGITS {
        return None;
    }
    let mut number: u128 = 0;
    for (digit, byte) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)? as u128;
        number = if digit == DIGITS - 1 {
            (number << 3) | (value >> 2)
        } else {
            (number << 5) | value
        };
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cluster(id: &str) -> ClusterId {
        id.parse().unwrap()
    }

    #[test]
    fn a_provisioner_name_keeps_its_uuid() {
        let name = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e";
        let id = VolumeId::for_name(&cluster("a"), name);
        // python3: base64.b32encode(uuid.UUID(...).bytes).lower().rstrip(b"=")
        assert_eq!(id.as_str(), "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy");
        assert_eq!(id.filesystem_uuid().hyphenated().to_string(), &name[4..]);
        assert_eq!(id, VolumeId::for_name(&cluster("b"), name));
    }

    #[test]
    fn the_probe_of_a_cluster_is_no_volume_that_a_call_can_mean() {
        let probe = VolumeId::probe(&cluster("a"));
        // printf '%s' a | sha256sum
        assert_eq!(probe.as_str(), "rds-csi-probe-ca978112ca1b");
        assert_ne!(probe, VolumeId::probe(&cluster("b")));
        assert!(probe.as_str().parse::<VolumeId>().is_err());
        assert!(probe.is_for(&cluster("a"), PROBE_NAME));
        assert!(!probe.is_for(&cluster("b"), PROBE_NAME));
        assert!(!probe.is_for(&cluster("a"), "pvc-1"));
        let named = VolumeId::for_name(&cluster("a"), PROBE_NAME);
        assert_ne!(named, probe, "nor has a volume of its name");
        assert!(named.is_for(&cluster("a"), PROBE_NAME));
    }

    #[test]
    fn a_free_name_depends_on_the_cluster() {
        let ids = [("a", "x"), ("a", "y"), ("b", "x"), ("ax", "")]
            .map(|(c, name)| VolumeId::for_name(&cluster(c), name));
        for (i, a) in ids.iter().enumerate() {
            assert!(ids[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn volumes_of_the_older_driver_are_recognised() {
        let id: VolumeId = "pvc-0d4e6a1c-2f0b-4f7e-9a57-0f4a6b1d2c3e".parse().unwrap();
        assert_eq!(id.form(), Form::Long);
    }

    #[test]
    fn near_misses_are_refused() {
        for text in [
            "",
            "pvc-",
            "pvc-1",
            "pvc-0D4E6A1C-2F0B-4F7E-9A57-0F4A6B1D2C3E",
            "pvc-0d4e6a1c2f0b4f7e9a570f4a6b1d2c3e",
            "pvc-bvhguhbpbnhx5gsxb5fgwhjmhz", // unused bits set: the same bytes in another spelling
            "pvc-bvhguhbpbnhx5gsxb5fgwhjmhy\n",
            "pvc-../../../../../../../../etc",
            "xpvc-bvhguhbpbnhx5gsxb5fgwhjmh",
        ] {
            assert!(text.parse::<VolumeId>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_parse_back(name in "\\PC{0,300}") {
            let id = VolumeId::for_name(&cluster("lab"), &name);
            prop_assert_eq!(id.as_str().len(), 30);
            prop_assert_eq!(id.as_str().parse::<VolumeId>().unwrap(), id);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = text.parse::<VolumeId>();
            let _ = format!("pvc-{text}").parse::<VolumeId>();
        }

        #[test]
        fn encoding_is_injective(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(decode(&encode(a)), Some(a));
            prop_assert_eq!(encode(a) == encode(b), a == b);
        }
    }
}
