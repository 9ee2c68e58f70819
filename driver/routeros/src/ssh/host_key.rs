//! The keys by which the device may prove itself.

use std::fmt;
use std::str::FromStr;

use rds_csi_core::kind::{Failure, Kind};
use russh::keys::{HashAlg, PublicKey};

/// A pinned public key of the device.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey(PublicKey);

/// A line that is no host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "host key {0:?} is neither an OpenSSH public key (ssh-ed25519 AAAA…, ssh-rsa AAAA…) nor a line of known_hosts with one"
)]
pub struct HostKeyError(String);

impl Failure for HostKeyError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FromStr for HostKey {
    type Err = HostKeyError;

    /// Reads `ssh-ed25519 AAAA… [comment]`, or the same after the host column of a
    /// known_hosts file, as ssh-keyscan prints it. The host column is not compared: the
    /// key itself is pinned to the one device. Lines with a marker (`@revoked`,
    /// `@cert-authority`) are refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || HostKeyError(text.chars().take(64).collect());
        let words: Vec<&str> = text.split_whitespace().collect();
        let start = words
            .iter()
            .take(2)
            .position(|word| is_key_type(word))
            .filter(|_| !text.trim_start().starts_with(['@', '#']))
            .ok_or_else(error)?;
        let (kind, body) = (words[start], words.get(start + 1).ok_or_else(error)?);
        let key = PublicKey::from_openssh(&format!("{kind} {body}")).map_err(|_| error())?;
        Ok(Self(key))
    }
}

fn is_key_type(word: &str) -> bool {
    word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-")
}

impl HostKey {
    /// Reads a known_hosts-like file: one key per line, empty lines and comments skipped.
    ///
    /// # Errors
    /// When a line is no key.
    pub fn read_all(text: &str) -> Result<Vec<Self>, HostKeyError> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::parse)
            .collect()
    }

    /// `SHA256:…`, as ssh-keygen shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.0)
    }

    pub(super) fn is(&self, offered: &PublicKey) -> bool {
        self.0.key_data() == offered.key_data()
    }

    pub(super) fn algorithm(&self) -> russh::keys::Algorithm {
        self.0.algorithm()
    }
}

pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_key_is_read_with_or_without_its_host() {
        let key: HostKey = ED25519.parse().unwrap();
        for text in [
            format!("{ED25519} admin@rds"),
            format!("10.0.0.1 {ED25519}"),
            format!("[rds.example]:2222,10.0.0.1 {ED25519} comment"),
            format!("|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= {ED25519}"),
        ] {
            assert_eq!(text.parse(), Ok(key.clone()), "{text}");
        }
        let file = format!("# device\n\n{ED25519}\nrds {ED25519}\n");
        assert_eq!(HostKey::read_all(&file), Ok(vec![key.clone(), key.clone()]));
        assert!(key.fingerprint().starts_with("ssh-ed25519 SHA256:"));
    }

    #[test]
    fn what_is_no_plain_key_is_refused() {
        for text in [
            String::new(),
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 AAAA".to_owned(),
            format!("@revoked * {ED25519}"),
            format!("@cert-authority {ED25519}"),
            format!("a b {ED25519}"),
            format!("#{ED25519}"),
        ] {
            assert!(text.parse::<HostKey>().is_err(), "{text:?}");
        }
    }
}
