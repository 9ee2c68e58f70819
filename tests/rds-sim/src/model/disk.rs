//! `/disk add`, `/disk set` and `/disk remove`.
//!
//! A command either takes effect whole or fails without any: values are read and checked
//! before anything changes. `remove` leaves the backing file (hw).

use std::fs::{self, OpenOptions};

use super::arguments::{self, Properties};
use super::{Answer, Device, FileBacked, Item, Kind, Model, Request};
use crate::console::{Message, Value};
use crate::variants::{
    AddOverFile, Allocation, DuplicateBacking, DuplicateSlot, EmptyFind, NamespaceIds,
    RemoveConnected, Shrink, SlotLimit,
};

/// Characters of a slot that 7.24 takes (3p).
const SLOT_LIMIT: usize = 32;

fn exists() -> Message {
    Message::failure("already have such entry")
}

impl FileBacked {
    /// Properties of a new item when nothing is said (doc).
    fn new(file_path: String) -> Self {
        Self {
            file_path,
            size: 0,
            file_offset: 0,
            mount_filesystem: true,
            mount_read_only: false,
            swap: false,
            export: false,
            port: None,
            nqn: None,
            allow_host: None,
            password: None,
            uuid: String::new(),
        }
    }

    fn apply(&mut self, properties: &Properties) {
        let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
        set(&mut self.mount_filesystem, properties.mount_filesystem);
        set(&mut self.mount_read_only, properties.mount_read_only);
        set(&mut self.swap, properties.swap);
        set(&mut self.export, properties.export);
        self.file_offset = properties.file_offset.unwrap_or(self.file_offset);
        self.port = properties.port.or(self.port);
        for (field, value) in [
            (&mut self.nqn, &properties.nqn),
            (&mut self.allow_host, &properties.allow_host),
            (&mut self.password, &properties.password),
        ] {
            if let Some(value) = value {
                *field = Some(value.clone());
            }
        }
    }
}

impl Model {
    /// `/disk add`.
    pub(super) fn add(&mut self, request: &Request) -> Result<Answer, Message> {
        let properties = arguments::read(&request.named, self.variants.plain_bytes)?;
        match properties.type_name.as_deref() {
            Some("file") => {}
            Some(other) => {
                return Err(Message::failure(&format!(
                    "type {other} is not modelled by rds-sim"
                )));
            }
            None => return Err(Message::failure("type must be set")),
        }
        let path = properties.file_path.clone().filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| Message::failure("file-path must be set"))?;
        self.host_path(&path)
            .map_err(|_| Message::invalid("file-path"))?;
        let path = format!("/{}", path.trim_start_matches('/'));
        let mut file = FileBacked::new(path);
        let mut item = Item {
            id: self.device.next_id,
            slot: String::new(),
            comment: String::new(),
            disabled: false,
            kind: Kind::File(file.clone()),
        };
        if let Some(from) = &properties.copy_from {
            self.copy_defaults(from, &mut item, &mut file)?;
        }
        item.slot = self.new_slot(properties.slot.as_deref().unwrap_or("file1"), None)?;
        item.comment = properties.comment.clone().unwrap_or(item.comment);
        item.disabled = properties.disabled.unwrap_or(item.disabled);
        file.apply(&properties);
        self.check_duplicates(&file, &item)?;
        self.check_export_limit(&file, item.id)?;
        file.size = self.create_file(&file.file_path, properties.file_size)?;
        let boot =
            (self.variants.namespace_ids == NamespaceIds::Changing).then_some(self.device.boots);
        file.uuid = self.device.uuid(item.id, boot);
        item.kind = Kind::File(file);
        let slot = item.slot.clone();
        self.device.next_id = self.device.next_id.wrapping_add(1);
        let id = item.printed_id();
        self.device.items.push(item);
        self.mount_inside(&slot);
        self.settle();
        Ok(Answer {
            printed: String::new(),
            value: Value::Id(id),
        })
    }

    /// `copy-from` gives properties another item's values and copies no data (doc).
    fn copy_defaults(
        &self,
        from: &Value,
        item: &mut Item,
        file: &mut FileBacked,
    ) -> Result<(), Message> {
        let id = self.numbers(from)?.into_iter().next();
        let source = id.and_then(|id| self.device.items.iter().find(|item| item.id == id));
        let source = source.ok_or_else(Message::no_such_item)?;
        item.comment.clone_from(&source.comment);
        item.disabled = source.disabled;
        if let Kind::File(values) = &source.kind {
            *file = FileBacked {
                file_path: file.file_path.clone(),
                uuid: String::new(),
                ..values.clone()
            };
        }
        Ok(())
    }

    /// The slot an item gets when `asked` is asked for.
    fn new_slot(&self, asked: &str, own: Option<u32>) -> Result<String, Message> {
        if asked.is_empty() {
            return Err(Message::invalid("slot"));
        }
        let mut slot = asked.to_owned();
        if slot.chars().count() > SLOT_LIMIT {
            match self.variants.slot_limit {
                SlotLimit::Reject => return Err(Message::new(&*self.variants.slot_limit_text)),
                SlotLimit::Truncate => slot = slot.chars().take(SLOT_LIMIT).collect(),
                SlotLimit::Accept => {}
            }
        }
        let taken = |slot: &str| {
            let mut items = self.device.items.iter();
            items.any(|item| item.slot == slot && Some(item.id) != own)
        };
        if !taken(&slot) {
            return Ok(slot);
        }
        match self.variants.duplicate_slot {
            DuplicateSlot::Reject => Err(exists()),
            DuplicateSlot::Rename => (1..10_000)
                .map(|number| format!("{slot}-{number}"))
                .find(|candidate| !taken(candidate))
                .ok_or_else(exists),
        }
    }

    fn check_duplicates(&self, file: &FileBacked, own: &Item) -> Result<(), Message> {
        for item in self.device.items.iter().filter(|item| item.id != own.id) {
            let Some(other) = item.file() else { continue };
            let same_file = other.file_path == file.file_path
                && self.variants.duplicate_file == DuplicateBacking::Reject;
            let same_nqn = file.nqn.is_some()
                && item.nqn() == file.nqn
                && self.variants.duplicate_nqn == DuplicateBacking::Reject;
            if same_file || same_nqn {
                return Err(exists());
            }
        }
        Ok(())
    }

    fn check_export_limit(&self, file: &FileBacked, own: u32) -> Result<(), Message> {
        let limit = self.variants.export_limit;
        let exported = |item: &&Item| item.id != own && item.file().is_some_and(|file| file.export);
        let count = self.device.items.iter().filter(exported).count();
        if file.export && limit > 0 && u64::try_from(count).is_ok_and(|count| count >= limit) {
            return Err(Message::failure("too many exports"));
        }
        Ok(())
    }

    /// Makes the file of a new item; its size is the answer.
    fn create_file(&self, path: &str, asked: Option<u64>) -> Result<u64, Message> {
        let failed = |error: &dyn std::fmt::Display| Message::failure(&error.to_string());
        if !self.on_mounted_pool(path) {
            return Err(Message::failure("file system is not mounted"));
        }
        let host = self.host_path(path).map_err(|error| failed(&error))?;
        let present = match fs::metadata(&host) {
            Ok(metadata) if metadata.is_file() => Some(metadata.len()),
            Ok(_) => return Err(Message::failure("not a file")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&error)),
        };
        if present.is_some() && self.variants.add_over_file == AddOverFile::Fail {
            return Err(Message::failure("file exists"));
        }
        let size = match (asked, present) {
            (Some(size), _) if size > 0 => size,
            (None, Some(size)) if size > 0 => size,
            _ => return Err(Message::failure("file-size must be set")),
        };
        self.check_space(path, size, present.unwrap_or(0))?;
        if let Some(parent) = host.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(&error))?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(&host).map_err(|error| failed(&error))?;
        if self.variants.add_over_file == AddOverFile::Zero {
            file.set_len(0).map_err(|error| failed(&error))?;
        }
        // An item smaller than its old file does not cut it: the file's length is what shows.
        let old = file.metadata().map_err(|error| failed(&error))?.len();
        let size = size.max(old);
        file.set_len(size).map_err(|error| failed(&error))?;
        Ok(size)
    }

    /// A preallocating device fails at once when the pool has no room; a sparse one never.
    fn check_space(&self, path: &str, size: u64, present: u64) -> Result<(), Message> {
        let mount_point = path.trim_start_matches('/').split('/').next().unwrap_or("");
        let free = self.free(mount_point);
        let full = self
            .device
            .pools()
            .any(|pool| pool.mount_point == mount_point && pool.full);
        let fits = match self.variants.allocation {
            Allocation::Sparse => !full,
            Allocation::Full => size.saturating_sub(present) <= free,
        };
        if fits {
            Ok(())
        } else {
            Err(Message::failure("no space left on device"))
        }
    }

    /// The ids that `numbers` or the first argument names.
    fn targets(&self, request: &Request) -> Result<Vec<u32>, Message> {
        let given = request
            .positional
            .first()
            .or_else(|| request.named("numbers"));
        let ids = self.numbers(given.ok_or_else(Message::no_such_item)?)?;
        if ids.is_empty() && self.variants.empty_find == EmptyFind::NoSuchItem {
            return Err(Message::no_such_item());
        }
        Ok(ids)
    }

    /// `/disk set`.
    pub(super) fn set(&mut self, request: &Request) -> Result<Answer, Message> {
        let properties = arguments::read(&request.named, self.variants.plain_bytes)?;
        if properties.type_name.is_some() || properties.copy_from.is_some() {
            return Err(Message::new("can not do that"));
        }
        for id in self.targets(request)? {
            self.set_one(id, &properties)?;
        }
        Ok(Answer::default())
    }

    fn set_one(&mut self, id: u32, properties: &Properties) -> Result<(), Message> {
        let index = self.device.items.iter().position(|item| item.id == id);
        let index = index.ok_or_else(Message::no_such_item)?;
        let mut item = self.device.items[index].clone();
        let before = item.clone();
        let Kind::File(file) = &mut item.kind else {
            return Err(Message::new("can not do that"));
        };
        if properties
            .file_path
            .as_ref()
            .is_some_and(|path| *path != file.file_path)
        {
            return Err(Message::new("can not do that"));
        }
        file.apply(properties);
        let checked = file.clone();
        if let Some(slot) = &properties.slot {
            item.slot = self.new_slot(slot, Some(id))?;
        }
        item.comment = properties.comment.clone().unwrap_or(item.comment);
        item.disabled = properties.disabled.unwrap_or(item.disabled);
        self.check_duplicates(&checked, &item)?;
        self.check_export_limit(&checked, id)?;
        if let (Some(size), Kind::File(file)) = (properties.file_size, &mut item.kind) {
            self.resize(&file.file_path, file.size, size)?;
            file.size = size;
        }
        if sessions_end(&before, &item) {
            self.connected.remove(&before.slot);
        }
        let slot = item.slot.clone();
        self.device.items[index] = item;
        self.mount_inside(&slot);
        self.settle();
        Ok(())
    }

    fn resize(&self, path: &str, old: u64, new: u64) -> Result<(), Message> {
        let failed = |error: &dyn std::fmt::Display| Message::failure(&error.to_string());
        if new == old {
            return Ok(());
        }
        if new == 0 || (new < old && self.variants.shrink == Shrink::Reject) {
            return Err(Message::invalid("file-size"));
        }
        if !self.on_mounted_pool(path) {
            return Err(Message::failure("file system is not mounted"));
        }
        self.check_space(path, new, old)?;
        let host = self.host_path(path).map_err(|error| failed(&error))?;
        let file = OpenOptions::new()
            .write(true)
            .open(host)
            .map_err(|error| failed(&error))?;
        file.set_len(new).map_err(|error| failed(&error))
    }

    /// `/disk remove`.
    pub(super) fn remove(&mut self, request: &Request) -> Result<Answer, Message> {
        for id in self.targets(request)? {
            let found = self.device.items.iter().find(|item| item.id == id);
            let item = found.ok_or_else(Message::no_such_item)?;
            if matches!(item.kind, Kind::Pool(_)) {
                return Err(Message::new("can not do that"));
            }
            let slot = item.slot.clone();
            if self.connected.contains(&slot)
                && self.variants.remove_connected == RemoveConnected::Fail
            {
                return Err(Message::failure("in use"));
            }
            self.connected.remove(&slot);
            self.device.items.retain(|item| item.id != id);
            self.settle();
        }
        Ok(Answer::default())
    }
}

/// Whether a change ends the sessions of connected hosts (inf: they name port and NQN).
fn sessions_end(before: &Item, after: &Item) -> bool {
    let served = |item: &Item| {
        let file = item.file().filter(|file| file.export && !item.disabled)?;
        Some((file.port, item.nqn()))
    };
    served(before).is_some() && served(before) != served(after)
}

impl Device {
    /// Counts a start; gives namespaces new identities if asked to.
    pub(crate) fn boot(&mut self, ids: NamespaceIds) {
        self.boots += 1;
        if ids == NamespaceIds::Stable {
            return;
        }
        let uuids: Vec<String> = self
            .items
            .iter()
            .map(|item| self.uuid(item.id, Some(self.boots)))
            .collect();
        for (item, uuid) in self.items.iter_mut().zip(uuids) {
            if let Kind::File(file) = &mut item.kind {
                file.uuid = uuid;
            }
        }
    }
}
