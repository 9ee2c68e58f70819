//! Which commands there are and which arguments they take.
//!
//! The names are those that the console of 7.24 lists (insp). A name outside the list
//! is a syntax error; one inside that the model has no effect for is refused when run.

use super::syntax::{Menu, Verb};

/// What a command takes.
pub(super) struct Arguments {
    pub(super) named: &'static [&'static str],
    pub(super) flags: &'static [&'static str],
    pub(super) positional: usize,
    pub(super) conditions: Conditions,
}

/// Whether and how a command filters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Conditions {
    None,
    AfterWhere,
    Bare,
}

/// Properties of `/disk add` and `/disk set` (insp).
const DISK: &[&str] = &[
    "numbers",
    "type",
    "slot",
    "comment",
    "compress",
    "copy-from",
    "crypted-backend",
    "disabled",
    "encryption-key",
    "file-offset",
    "file-path",
    "file-size",
    "iscsi-address",
    "iscsi-export",
    "iscsi-iqn",
    "iscsi-port",
    "iscsi-server-iqn",
    "iscsi-server-port",
    "media-interface",
    "media-sharing",
    "mount-filesystem",
    "mount-point-template",
    "mount-read-only",
    "nfs-address",
    "nfs-share",
    "nfs-sharing",
    "nvme-tcp-address",
    "nvme-tcp-export",
    "nvme-tcp-host-name",
    "nvme-tcp-nqn",
    "nvme-tcp-password",
    "nvme-tcp-port",
    "nvme-tcp-server-allow-host-name",
    "nvme-tcp-server-nqn",
    "nvme-tcp-server-password",
    "nvme-tcp-server-port",
    "parent",
    "partition-number",
    "partition-offset",
    "partition-size",
    "raid-chunk-size",
    "raid-device-count",
    "raid-master",
    "raid-max-component-size",
    "raid-member-failed",
    "raid-role",
    "raid-type",
    "ramdisk-size",
    "self-encryption-password",
    "smb-address",
    "smb-share",
    "smb-sharing",
    "sshfs-address",
    "sshfs-path",
    "swap",
    "tmpfs-max-size",
];

const PRINT_FLAGS: &[&str] = &[
    "detail",
    "as-value",
    "without-paging",
    "count-only",
    "brief",
    "terse",
    "show-ids",
];

/// The next menu below `menu`, by name.
pub(super) fn submenu(menu: Menu, name: &str) -> Option<Menu> {
    match (menu, name) {
        (Menu::Root, "disk") => Some(Menu::Disk),
        (Menu::Root, "file") => Some(Menu::File),
        (Menu::Root, "system") => Some(Menu::System),
        (Menu::System, "resource") => Some(Menu::Resource),
        _ => None,
    }
}

/// The command of `menu`, by name.
pub(super) fn verb(menu: Menu, name: &str) -> Option<Verb> {
    match (menu, name) {
        (Menu::Disk | Menu::File | Menu::Resource, "print") => Some(Verb::Print),
        (Menu::Disk | Menu::File | Menu::Resource, "get") => Some(Verb::Get),
        (Menu::Disk | Menu::File, "find") => Some(Verb::Find),
        (Menu::Disk | Menu::File, "remove") => Some(Verb::Remove),
        (Menu::Disk, "add") => Some(Verb::Add),
        (Menu::Disk, "set") => Some(Verb::Set),
        (Menu::Disk, "monitor-traffic") => Some(Verb::MonitorTraffic),
        _ => None,
    }
}

/// What `verb` of `menu` takes.
pub(super) fn arguments(menu: Menu, verb: Verb) -> Arguments {
    let none = Arguments {
        named: &[],
        flags: &[],
        positional: 0,
        conditions: Conditions::None,
    };
    match verb {
        Verb::Add => Arguments {
            named: DISK,
            ..none
        },
        Verb::Set => Arguments {
            named: DISK,
            positional: 1,
            ..none
        },
        Verb::Remove => Arguments {
            named: &["numbers"],
            positional: 1,
            ..none
        },
        Verb::Print => Arguments {
            named: &["proplist"],
            flags: PRINT_FLAGS,
            conditions: if menu == Menu::Resource {
                Conditions::None
            } else {
                Conditions::AfterWhere
            },
            ..none
        },
        Verb::Find => Arguments {
            conditions: Conditions::Bare,
            ..none
        },
        Verb::Get => Arguments {
            named: &["number", "value-name"],
            positional: if menu == Menu::Resource { 1 } else { 2 },
            ..none
        },
        Verb::MonitorTraffic => Arguments {
            named: &["numbers"],
            flags: &["once"],
            positional: 1,
            ..none
        },
    }
}
