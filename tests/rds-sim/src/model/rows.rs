//! Items and files as rows of properties, in the order in which the device prints them (hw).

use super::files::Entry;
use super::{FileBacked, Item, Kind, Model, Pool, exports, format};
use crate::console::Value;
use crate::variants::{Booleans, ServerProperties};

/// One property: as print writes it, and as as-value gives it.
#[derive(Debug, Clone)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) prose: String,
    pub(super) value: Value,
    pub(super) shown: bool,
}

/// One line of a menu.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) flags: Vec<char>,
    pub(super) comment: String,
    pub(super) disabled: bool,
    pub(super) properties: Vec<Property>,
}

fn bare(name: &'static str, prose: impl Into<String>) -> Property {
    let prose = prose.into();
    Property {
        name,
        value: Value::Str(prose.clone()),
        prose,
        shown: true,
    }
}

fn text(name: &'static str, value: &str) -> Property {
    Property {
        prose: crate::console::quote(value),
        ..bare(name, value)
    }
}

fn number(name: &'static str, number: u64) -> Property {
    Property {
        value: whole(number),
        ..bare(name, format::spaced(number))
    }
}

fn plain(name: &'static str, number: u64) -> Property {
    Property {
        value: whole(number),
        ..bare(name, number.to_string())
    }
}

fn whole(number: u64) -> Value {
    Value::Num(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Row {
    /// The value of `name`, of properties that are not shown too.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        match name {
            ".id" => Some(Value::Id(self.id.clone())),
            "comment" => Some(Value::Str(self.comment.clone())),
            "disabled" => Some(Value::Bool(self.disabled)),
            _ => {
                let mut properties = self.properties.iter();
                let found = properties.find(|property| property.name == name)?;
                Some(found.value.clone())
            }
        }
    }
}

impl Model {
    fn yes_no(&self, name: &'static str, value: bool) -> Property {
        let prose = if value { "yes" } else { "no" };
        Property {
            value: match self.variants.booleans {
                Booleans::TrueFalse => Value::Bool(value),
                Booleans::YesNo => Value::Str(prose.to_owned()),
            },
            ..bare(name, prose)
        }
    }

    /// All disk items, in order.
    pub(super) fn disk_rows(&self) -> Vec<Row> {
        self.device
            .items
            .iter()
            .map(|item| self.disk_row(item))
            .collect()
    }

    fn disk_row(&self, item: &Item) -> Row {
        let mut row = Row {
            id: item.printed_id(),
            flags: Vec::new(),
            comment: item.comment.clone(),
            disabled: item.disabled,
            properties: Vec::new(),
        };
        if item.disabled {
            row.flags.push('X');
        }
        match &item.kind {
            Kind::File(file) => self.file_backed(item, file, &mut row),
            Kind::Pool(pool) => self.pool(item, pool, &mut row),
            Kind::Other { type_name, model } => {
                row.flags.push('B');
                row.properties = vec![
                    bare("type", type_name.as_str()),
                    text("slot", &item.slot),
                    text("slot-default", ""),
                    text("parent", ""),
                    bare("fs", "-"),
                    text("model", model),
                    self.yes_no("nvme-tcp-export", false),
                ];
            }
        }
        row
    }

    /// In the order of a capture of 7.24.
    fn file_backed(&self, item: &Item, file: &FileBacked, row: &mut Row) {
        let mounted = self.on_mounted_pool(&file.file_path);
        // Only what may be mounted is looked into: each query makes the rows of all items.
        let inside = (mounted && file.mount_filesystem)
            .then(|| self.recognised(&file.file_path))
            .flatten();
        row.flags.push(if mounted { 'B' } else { 'E' });
        if inside.is_some() {
            row.flags.push('M');
        }
        if file.export {
            row.flags.push('t');
        }
        let properties = &mut row.properties;
        properties.extend([
            bare("type", "file"),
            text("slot", &item.slot),
            text("slot-default", ""),
            text("parent", ""),
            bare("fs", inside.unwrap_or("-")),
            text("model", &file.file_path),
            number("size", file.size),
        ]);
        if inside.is_some() {
            properties.push(text("mount-point", &item.slot));
        }
        properties.extend([
            self.yes_no("mount-filesystem", file.mount_filesystem),
            self.yes_no("mount-read-only", file.mount_read_only),
            self.yes_no("compress", false),
            plain("sector-size", 512),
            bare("raid-master", "none"),
        ]);
        self.export_properties(item, file, properties);
        properties.extend(self.sharing());
        properties.extend([
            self.yes_no("swap", file.swap),
            bare("file-path", file.file_path.as_str()),
            Property {
                value: whole(file.size),
                ..bare("file-size", format::binary_size(file.size))
            },
            plain("file-offset", file.file_offset),
        ]);
    }

    fn export_properties(&self, item: &Item, file: &FileBacked, properties: &mut Vec<Property>) {
        let any_set = file.port.is_some() || file.nqn.is_some() || file.allow_host.is_some();
        let shown = match self.variants.server_properties {
            ServerProperties::Always => true,
            ServerProperties::Exported => file.export,
            ServerProperties::Set => file.export || any_set,
        };
        properties.push(self.yes_no("nvme-tcp-export", file.export));
        let port = file.port.unwrap_or(exports::DEFAULT_PORT);
        let server = [
            plain("nvme-tcp-server-port", u64::from(port)),
            text("nvme-tcp-server-nqn", &item.nqn().unwrap_or_default()),
            text(
                "nvme-tcp-server-allow-host-name",
                file.allow_host.as_deref().unwrap_or(""),
            ),
        ];
        properties.extend(server.map(|property| Property { shown, ..property }));
    }

    fn sharing(&self) -> [Property; 5] {
        [
            self.yes_no("iscsi-export", false),
            self.yes_no("nfs-sharing", false),
            self.yes_no("smb-sharing", false),
            self.yes_no("media-sharing", false),
            bare("media-interface", "none"),
        ]
    }

    /// In the order of a capture of 7.24.
    fn pool(&self, item: &Item, pool: &Pool, row: &mut Row) {
        row.flags.push('B');
        let uuid = self.device.uuid(item.id, None);
        let properties = &mut row.properties;
        properties.extend([
            bare("type", "raid"),
            text("slot", &item.slot),
            text("slot-default", ""),
            text("parent", ""),
        ]);
        if pool.mounted {
            properties.extend([
                text("fs-label", &pool.fs_label),
                text("fs-uuid", &uuid),
                bare("fs", pool.fs.as_str()),
            ]);
        } else {
            properties.push(bare("fs", "-"));
        }
        properties.extend([text("model", &pool.model), number("size", pool.size)]);
        if pool.mounted {
            row.flags.push('M');
            let free = self.free(&pool.mount_point).min(pool.size);
            let used = u128::from(pool.size - free) * 100;
            let percent = (used + u128::from(pool.size) / 2) / u128::from(pool.size).max(1);
            properties.extend([
                number("free", free),
                bare("use", format!("{percent}%")),
                text("mount-point", &pool.mount_point),
            ]);
        }
        properties.extend([
            self.yes_no("mount-filesystem", true),
            self.yes_no("mount-read-only", false),
            self.yes_no("compress", false),
            plain("sector-size", 512),
            bare("raid-type", pool.raid_type.as_str()),
            plain("raid-device-count", u64::from(pool.raid_devices)),
            bare("raid-max-component-size", "none"),
            bare("raid-chunk-size", "256K"),
            bare("raid-master", "none"),
            text("state", &pool.state),
            self.yes_no("nvme-tcp-export", false),
        ]);
        properties.extend(self.sharing());
    }

    /// One file or directory, in the order of a capture.
    pub(super) fn file_row(&self, entry: &Entry) -> Row {
        let kind = match entry
            .name
            .rsplit('/')
            .next()
            .and_then(|name| name.rsplit_once('.'))
        {
            _ if entry.directory => "directory".to_owned(),
            Some((_, extension)) => format!(".{extension} file"),
            None => "file".to_owned(),
        };
        let mut properties = vec![bare("name", entry.name.as_str()), bare("type", kind)];
        if !entry.directory {
            properties.push(Property {
                value: whole(entry.size),
                ..bare("size", format::binary_size(entry.size))
            });
        }
        let (offset, clock) = (
            self.variants.clock_offset_seconds,
            self.variants.clock_format,
        );
        properties.push(bare(
            "last-modified",
            format::time(entry.modified, offset, clock),
        ));
        Row {
            id: entry.id(),
            flags: Vec::new(),
            comment: String::new(),
            disabled: false,
            properties,
        }
    }
}
