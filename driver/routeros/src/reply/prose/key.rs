//! Which words are keys.
//!
//! The lists are the properties that RouterOS 7.24 prints in these menus. A key outside
//! them is recognised too, unless the wrapping tore it.

use super::Listing;

const DISK: &[&str] = &[
    "type",
    "slot",
    "slot-default",
    "parent",
    "comment",
    "disabled",
    "fs",
    "fs-label",
    "fs-uuid",
    "model",
    "serial",
    "fw-version",
    "interface",
    "interface-speed",
    "uuid",
    "size",
    "free",
    "use",
    "total-inodes",
    "free-inodes",
    "mount-point",
    "mount-filesystem",
    "mount-point-template",
    "mount-read-only",
    "compress",
    "sector-size",
    "swap",
    "raid-type",
    "raid-device-count",
    "raid-max-component-size",
    "raid-chunk-size",
    "raid-master",
    "raid-role",
    "raid-uuid",
    "raid-member-failed",
    "raid-member-state",
    "state",
    "nvme-tcp-export",
    "nvme-tcp-address",
    "nvme-tcp-port",
    "nvme-tcp-nqn",
    "nvme-tcp-host-name",
    "nvme-tcp-password",
    "nvme-tcp-server-port",
    "nvme-tcp-server-nqn",
    "nvme-tcp-server-allow-host-name",
    "nvme-tcp-server-password",
    "nvme-tcp-server-secret",
    "iscsi-export",
    "iscsi-address",
    "iscsi-port",
    "iscsi-iqn",
    "iscsi-server-iqn",
    "iscsi-server-port",
    "nfs-sharing",
    "nfs-address",
    "nfs-share",
    "smb-sharing",
    "smb-address",
    "smb-share",
    "smb-user",
    "smb-password",
    "media-sharing",
    "media-interface",
    "file-path",
    "file-size",
    "file-offset",
    "partition-number",
    "partition-offset",
    "partition-size",
    "crypted-backend",
    "encryption-key",
    "self-encryption-password",
    "ramdisk-size",
    "tmpfs-max-size",
    "sshfs-address",
    "sshfs-path",
    "guid-partition-table",
];

const FILE: &[&str] = &[
    "name",
    "type",
    "size",
    "last-modified",
    "creation-time",
    "contents",
    "package-name",
    "package-version",
    "package-build-time",
    "package-architecture",
];

impl Listing {
    const fn known(self) -> &'static [&'static str] {
        match self {
            Self::Disk => DISK,
            Self::File => FILE,
        }
    }

    const fn first(self) -> &'static str {
        match self {
            Self::Disk => "type",
            Self::File => "name",
        }
    }
}

/// Whether a line starts with the key that starts every item.
pub(super) fn starts_with_first(line: &str, listing: Listing) -> bool {
    line.strip_prefix(listing.first())
        .is_some_and(|rest| rest.starts_with('='))
}

/// The key at the start of `text` and what follows its `=`: a known one, torn or not,
/// or an unknown one in one piece.
pub(super) fn at_start(text: &str, listing: Listing) -> Option<(&str, &str)> {
    let known = listing
        .known()
        .iter()
        .find_map(|key| Some((*key, strip_torn(text, key)?)));
    known.or_else(|| {
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        let (key, rest) = text.split_at(text.find(|c| !plain(c))?);
        let rest = rest.strip_prefix('=')?;
        key.starts_with(|c: char| c.is_ascii_lowercase() || c == '.')
            .then_some((key, rest))
    })
}

/// What follows `key` and `=`, with line breaks allowed anywhere before the `=`.
fn strip_torn<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = text;
    for wanted in key.bytes().chain([b'=']) {
        rest = rest.trim_start_matches('\n');
        rest = rest.strip_prefix(char::from(wanted))?;
    }
    Some(rest)
}
