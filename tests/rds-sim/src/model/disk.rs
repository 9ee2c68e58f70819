//! `/disk add`, `/disk set` and `/disk remove`.
//!
//! A command either takes effect whole or fails without any: values are read and checked
//! before anything changes. `remove` leaves the backing file (hw).

use super::arguments::{self, Properties};
use super::{Answer, FileBacked, Item, Kind, Model, Request};
use crate::console::{Message, Value};
use crate::variants::{
    DuplicateBacking, DuplicateSlot, EmptyFind, NamespaceIds, RemoveConnected, SlotLimit,
};

/// Characters of a slot that 7.24 takes (3p).
const SLOT_LIMIT: usize = 32;

fn exists() -> Message {
    Message::failure("already have such entry")
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
