//! Typed reading of the values of `/disk add` and `/disk set`.

use crate::console::{Message, Value};
use crate::variants::PlainBytes;

/// Values of `type` (doc).
const TYPES: &[&str] = &[
    "raid",
    "nvme-tcp",
    "iscsi",
    "nfs",
    "smb",
    "partition",
    "tmpfs",
    "ramdisk",
    "crypted",
    "sshfs",
    "file",
    "hardware",
];

/// The properties that a command names, read.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) type_name: Option<String>,
    pub(super) slot: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) copy_from: Option<Value>,
    pub(super) disabled: Option<bool>,
    pub(super) file_path: Option<String>,
    pub(super) file_size: Option<u64>,
    pub(super) file_offset: Option<u64>,
    pub(super) mount_filesystem: Option<bool>,
    pub(super) mount_read_only: Option<bool>,
    pub(super) swap: Option<bool>,
    pub(super) export: Option<bool>,
    pub(super) port: Option<u16>,
    pub(super) nqn: Option<String>,
    pub(super) allow_host: Option<String>,
    pub(super) password: Option<String>,
}

/// Reads all named values but `numbers`; the first that does not fit is the error.
pub(super) fn read(named: &[(String, Value)], plain: PlainBytes) -> Result<Properties, Message> {
    let mut read = Properties::default();
    for (name, value) in named {
        let text = value.text();
        match name.as_str() {
            "numbers" => {}
            "type" if TYPES.contains(&text.as_str()) => read.type_name = Some(text),
            "type" => return Err(Message::no_match("type")),
            "slot" => read.slot = Some(text),
            "comment" => read.comment = Some(text),
            "copy-from" => read.copy_from = Some(value.clone()),
            "disabled" => read.disabled = Some(yes_or_no(name, value)?),
            "file-path" => read.file_path = Some(text),
            "file-size" => read.file_size = Some(size(name, &text, plain)?),
            "file-offset" => read.file_offset = Some(size(name, &text, PlainBytes::Accept)?),
            "mount-filesystem" => read.mount_filesystem = Some(yes_or_no(name, value)?),
            "mount-read-only" => read.mount_read_only = Some(yes_or_no(name, value)?),
            "swap" => read.swap = Some(yes_or_no(name, value)?),
            "nvme-tcp-export" => read.export = Some(yes_or_no(name, value)?),
            "nvme-tcp-server-port" => {
                let port = text.parse().ok().filter(|&port: &u16| port != 0);
                read.port = Some(port.ok_or_else(|| Message::invalid(name))?);
            }
            "nvme-tcp-server-nqn" => {
                if text.len() > 223 {
                    return Err(Message::invalid(name));
                }
                read.nqn = Some(text);
            }
            "nvme-tcp-server-allow-host-name" => read.allow_host = Some(text),
            "nvme-tcp-server-password" => read.password = Some(text),
            "compress" if !yes_or_no(name, value)? => {}
            _ => {
                return Err(Message::failure(&format!(
                    "{name} is not modelled by rds-sim"
                )));
            }
        }
    }
    Ok(read)
}

/// `yes` or `no`; the console also takes `true` and `false` (3p, over REST).
fn yes_or_no(name: &str, value: &Value) -> Result<bool, Message> {
    value.truth().ok_or_else(|| Message::no_match(name))
}

/// Bytes, or a number with a binary unit: `1G` gave 1073741824 (hw).
fn size(name: &str, text: &str, plain: PlainBytes) -> Result<u64, Message> {
    let invalid = || Message::invalid(name);
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let shift = match unit {
        "" if plain == PlainBytes::Accept => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    let bytes = number
        .checked_mul(1 << shift)
        .filter(|&bytes| i64::try_from(bytes).is_ok());
    bytes.ok_or_else(invalid)
}
