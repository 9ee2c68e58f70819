//! The commands that are sent to the device, and nothing else that is sent.
//!
//! A command is a value of an enum; its text is made here and only here, from parts that
//! were quoted when the command was made. Sizes are written in bytes only. A change
//! selects its item by slot and marker inside the device's own `find`, so that it finds
//! nothing, instead of the wrong thing, when the device has moved on since it was read.

mod quoted;
mod script;

use rds_csi_core::appliance::Step;
use rds_csi_core::backing_file::{BackingFile, VolumeDirectory};
use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_core::volume_name::Owner;

pub use quoted::{QuoteError, Quoted};
pub use script::{Marker, Nonce, Script};

/// How a reading is asked for, and thereby how it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `:serialize to=json`: values as they are.
    Json,
    /// The console's own listing, wrapped to some width.
    Prose,
}

/// Which item a change is for: the slot and, where it is known, the comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    slot: Quoted,
    comment: Option<Quoted>,
}

impl Selector {
    /// The item in a volume's slot, with this marker if one is given.
    ///
    /// # Errors
    /// When a part cannot be quoted.
    pub fn new(id: &VolumeId, owner: Option<&Owner>) -> Result<Self, QuoteError> {
        Ok(Self {
            slot: Quoted::new("slot", id.as_str())?,
            comment: owner
                .map(|owner| Quoted::new("comment", &owner.to_string()))
                .transpose()?,
        })
    }

    /// With what is asked of the item beside.
    fn find_with(&self, condition: &str) -> String {
        format!("{} {condition}", self.find())
    }

    fn find(&self) -> String {
        match &self.comment {
            Some(comment) => format!("/disk find slot={} comment={comment}", self.slot),
            None => format!("/disk find slot={}", self.slot),
        }
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// What RouterOS calls its own version.
    PrintVersion,
    /// Prints a word as JSON: whether the console knows `:serialize`.
    ProbeJson,
    /// Every disk item.
    PrintDisks,
    /// The item in a slot.
    PrintDisk(Quoted),
    /// Every file below a directory.
    PrintFilesBelow(Quoted),
    /// One file.
    PrintFile(Quoted),
    /// `/disk add` of a file-backed item.
    Add {
        /// Which slot, with which comment.
        item: Selector,
        /// `file-path=`.
        path: Quoted,
        /// `file-size=`.
        size: Bytes,
    },
    /// `/disk set` of the export's properties.
    Offer {
        /// Which item.
        item: Selector,
        /// The subsystem's name.
        nqn: Quoted,
        /// The TCP port.
        port: u16,
    },
    /// `/disk set nvme-tcp-server-allow-host-name=`.
    Allow {
        /// Which item.
        item: Selector,
        /// Names of hosts, with commas between.
        hosts: Quoted,
    },
    /// `/disk set nvme-tcp-export=`.
    Export {
        /// Which item.
        item: Selector,
        /// Yes or no.
        on: bool,
    },
    /// The export ended, set and begun, if its name is still `from`.
    Renew {
        /// Which item.
        item: Selector,
        /// The name of before.
        from: Quoted,
        /// The subsystem's name.
        nqn: Quoted,
        /// The TCP port.
        port: u16,
    },
    /// `/disk set file-size=`.
    Grow {
        /// Which item.
        item: Selector,
        /// The new size.
        size: Bytes,
    },
    /// `/disk remove`.
    RemoveItem(Selector),
    /// `/file remove`, if no item uses the file and the slot is empty.
    RemoveFile {
        /// The slot that must be empty.
        slot: Quoted,
        /// The file as `/disk` spells it.
        path: Quoted,
        /// The file as `/file` spells it.
        name: Quoted,
    },
}

impl Command {
    /// The item in a volume's slot.
    ///
    /// # Errors
    /// When the id cannot be quoted.
    pub fn disk(id: &VolumeId) -> Result<Self, QuoteError> {
        Quoted::new("slot", id.as_str()).map(Self::PrintDisk)
    }

    /// A backing file.
    ///
    /// # Errors
    /// When its name cannot be quoted.
    pub fn file(file: &BackingFile) -> Result<Self, QuoteError> {
        Quoted::new("name", file.file_name()).map(Self::PrintFile)
    }

    /// Every file below a directory. Its name is letters, digits and `._-/`, of which
    /// only the dot means something in an expression.
    ///
    /// # Errors
    /// When its name cannot be quoted.
    pub fn files_below(directory: &VolumeDirectory) -> Result<Self, QuoteError> {
        let pattern = format!("^{}/", directory.file_name().replace('.', "\\."));
        Quoted::new("name", &pattern).map(Self::PrintFilesBelow)
    }

    /// The command of a step. `owner` is the marker that the item must carry.
    ///
    /// # Errors
    /// When a part cannot be quoted.
    pub fn of(
        step: &Step,
        id: &VolumeId,
        file: &BackingFile,
        owner: Option<&Owner>,
    ) -> Result<Self, QuoteError> {
        let item = Selector::new(id, owner)?;
        Ok(match step {
            Step::Add { size, owner } => Self::Add {
                item: Selector::new(id, Some(owner))?,
                path: Quoted::new("file-path", &file.file_path())?,
                size: *size,
            },
            Step::Offer { nqn, port } => Self::Offer {
                item,
                nqn: Quoted::new("nvme-tcp-server-nqn", nqn.as_str())?,
                port: *port,
            },
            Step::Allow { hosts } => {
                let hosts: Vec<&str> = hosts.iter().map(Nqn::as_str).collect();
                let hosts = Quoted::new("nvme-tcp-server-allow-host-name", &hosts.join(","))?;
                Self::Allow { item, hosts }
            }
            Step::Export => Self::Export { item, on: true },
            Step::Unexport => Self::Export { item, on: false },
            Step::Renew { from, nqn, port } => Self::Renew {
                item,
                from: Quoted::new("nvme-tcp-server-nqn", from.as_str())?,
                nqn: Quoted::new("nvme-tcp-server-nqn", nqn.as_str())?,
                port: *port,
            },
            Step::Grow { size } => Self::Grow { item, size: *size },
            Step::RemoveItem => Self::RemoveItem(item),
            Step::RemoveFile => Self::RemoveFile {
                slot: Quoted::new("slot", id.as_str())?,
                path: Quoted::new("file-path", &file.file_path())?,
                name: Quoted::new("name", file.file_name())?,
            },
        })
    }

    /// The text of the command.
    #[must_use]
    pub fn text(&self, dialect: Dialect) -> String {
        match self {
            Self::PrintVersion => ":put [/system resource get version]".to_owned(),
            Self::ProbeJson => ":put [:serialize to=json \"rds\"]".to_owned(),
            Self::PrintDisks => print(dialect, "/disk", ""),
            Self::PrintDisk(slot) => print(dialect, "/disk", &format!(" where slot={slot}")),
            Self::PrintFilesBelow(pattern) => {
                print(dialect, "/file", &format!(" where name~{pattern}"))
            }
            Self::PrintFile(name) => print(dialect, "/file", &format!(" where name={name}")),
            Self::Add { item, path, size } => add(item, path, *size),
            Self::Offer { item, nqn, port } => offer(item, nqn, *port),
            Self::Allow { item, hosts } => format!(
                "/disk set [{}] nvme-tcp-server-allow-host-name={hosts}",
                item.find()
            ),
            Self::Export { item, on: true } => export(item, "yes"),
            Self::Export { item, on: false } => where_present(&item.find(), &export(item, "no")),
            Self::Renew {
                item,
                from,
                nqn,
                port,
            } => where_present(
                &item.find_with(&format!("nvme-tcp-server-nqn={from}")),
                &[
                    export(item, "no"),
                    offer(item, nqn, *port),
                    export(item, "yes"),
                ]
                .join("; "),
            ),
            Self::Grow { item, size } => {
                format!("/disk set [{}] file-size={}", item.find(), size.get())
            }
            Self::RemoveItem(item) => {
                let find = item.find();
                where_present(&find, &format!("/disk remove [{find}]"))
            }
            Self::RemoveFile { slot, path, name } => remove_file(slot, path, name),
        }
    }
}

fn add(item: &Selector, path: &Quoted, size: Bytes) -> String {
    let comment = item
        .comment
        .as_ref()
        .map_or_else(String::new, |comment| format!(" comment={comment}"));
    format!(
        "/disk add type=file slot={} file-path={path} file-size={} mount-filesystem=no nvme-tcp-export=no{comment}",
        item.slot,
        size.get()
    )
}

fn offer(item: &Selector, nqn: &Quoted, port: u16) -> String {
    format!(
        "/disk set [{}] mount-filesystem=no nvme-tcp-server-port={port} nvme-tcp-server-nqn={nqn} nvme-tcp-server-allow-host-name=\"\"",
        item.find()
    )
}

fn export(item: &Selector, on: &str) -> String {
    format!("/disk set [{}] nvme-tcp-export={on}", item.find())
}

/// A change for which an absent item is what was wanted, whatever the console thinks of
/// an empty list: what is gone is neither exported nor there to be removed, and what has
/// another name by now is another's to rename.
fn where_present(find: &str, change: &str) -> String {
    format!(":if ([:len [{find}]] = 1) do={{ {change} }}")
}

/// The file goes only if nothing on the device uses it at that moment: whether RouterOS
/// itself would refuse is not known. An item may spell its path with or without the
/// leading slash, so both are looked for.
fn remove_file(slot: &Quoted, path: &Quoted, name: &Quoted) -> String {
    let unused = [
        format!("[/disk find slot={slot}]"),
        format!("[/disk find file-path={path}]"),
        format!("[/disk find file-path={name}]"),
    ]
    .map(|find| format!("([:len {find}] = 0)"))
    .join(" && ");
    format!(
        ":if ({unused} && ([:len [/file find name={name}]] = 1)) do={{ /file remove [/file find name={name}] }}"
    )
}

fn print(dialect: Dialect, menu: &str, condition: &str) -> String {
    match dialect {
        Dialect::Json => {
            format!(":put [:serialize to=json [{menu} print detail as-value{condition}]]")
        }
        Dialect::Prose => format!("{menu} print detail without-paging{condition}"),
    }
}

#[cfg(test)]
mod tests;
