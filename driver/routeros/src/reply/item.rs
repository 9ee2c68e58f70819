//! Records as what they say about disks, pools and files.

use rds_csi_core::appliance::{DiskItem, DiskKind, FileDisk, FileEntry, Pool};

use super::prose::Listing;
use super::{Record, ReplyError, json, prose};
use crate::command::Dialect;

fn records(text: &str, dialect: Dialect, listing: Listing) -> Result<Vec<Record>, ReplyError> {
    match dialect {
        Dialect::Json => json::records(text),
        Dialect::Prose => prose::records(text, listing),
    }
}

/// Every disk item of a reading, and the mounted pools among them.
///
/// # Errors
/// When the text is no list of items or one of them lacks a property.
pub fn disks(text: &str, dialect: Dialect) -> Result<(Vec<DiskItem>, Vec<Pool>), ReplyError> {
    let (mut items, mut pools) = (Vec::new(), Vec::new());
    for record in records(text, dialect, Listing::Disk)? {
        let item = DiskItem::try_from(&record)?;
        // RouterOS may have mounted what it found inside a volume; that is no pool.
        if item.file().is_none() {
            pools.extend(pool(&record)?);
        }
        items.push(item);
    }
    Ok((items, pools))
}

/// Every file of a reading that is no directory.
///
/// # Errors
/// When the text is no list of files or one of them lacks a property.
pub fn files(text: &str, dialect: Dialect) -> Result<Vec<FileEntry>, ReplyError> {
    let mut files = Vec::new();
    for record in records(text, dialect, Listing::File)? {
        let name = record.required("name")?;
        if record.required("type")? != "directory" {
            files.push(FileEntry {
                name: name.trim_start_matches('/').to_owned(),
            });
        }
    }
    Ok(files)
}

/// The names of everything in a reading of files, directories too, without a leading slash.
///
/// # Errors
/// When the text is no list of files or one of them has no name.
pub fn file_names(text: &str, dialect: Dialect) -> Result<Vec<String>, ReplyError> {
    records(text, dialect, Listing::File)?
        .iter()
        .map(|record| Ok(record.required("name")?.trim_start_matches('/').to_owned()))
        .collect()
}

impl TryFrom<&Record> for DiskItem {
    type Error = ReplyError;

    fn try_from(record: &Record) -> Result<Self, ReplyError> {
        let kind = match record.required("type")? {
            "file" => DiskKind::File(FileDisk {
                path: record.required("file-path")?.to_owned(),
                size: record.bytes("size")?,
                mount_filesystem: record.yes("mount-filesystem")?,
            }),
            other => DiskKind::Other(other.to_owned()),
        };
        let exported = match (&kind, record.get("nvme-tcp-export")) {
            (DiskKind::Other(_), None) => false,
            _ => record.yes("nvme-tcp-export")?,
        };
        let port = match record.get("nvme-tcp-server-port") {
            None | Some("") => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| record.invalid("nvme-tcp-server-port", text))?,
            ),
        };
        Ok(Self {
            slot: record.required("slot")?.to_owned(),
            comment: record.get("comment").unwrap_or_default().to_owned(),
            kind,
            exported,
            nqn: record
                .get("nvme-tcp-server-nqn")
                .filter(|nqn| !nqn.is_empty())
                .map(str::to_owned),
            port,
            allowed_host: record
                .get("nvme-tcp-server-allow-host-name")
                .map(str::to_owned),
        })
    }
}

/// The pool that an item is, if it is a mounted one. A mount point that only waits for
/// its filesystem is none: a listing then lacks the flag `M`.
fn pool(record: &Record) -> Result<Option<Pool>, ReplyError> {
    let Some(mount_point) = record.get("mount-point").filter(|point| !point.is_empty()) else {
        return Ok(None);
    };
    let mounted = match (record.flags(), record.get("mounted")) {
        (Some(flags), _) => flags.contains('M'),
        (None, Some(_)) => record.yes("mounted")?,
        (None, None) => true,
    };
    if !mounted {
        return Ok(None);
    }
    Ok(Some(Pool {
        slot: record.required("slot")?.to_owned(),
        mount_point: mount_point.to_owned(),
        size: record.bytes("size")?,
        free: record.bytes("free")?,
        state: record.get("state").map(str::to_owned),
    }))
}
