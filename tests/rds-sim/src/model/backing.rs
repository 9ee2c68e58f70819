//! File-backed items and the files behind them.

use std::fs::{self, OpenOptions};

use super::arguments::Properties;
use super::{FileBacked, Model};
use crate::console::Message;
use crate::variants::{AddOverFile, Allocation, Shrink};

impl FileBacked {
    /// Properties of a new item when nothing is said (doc).
    pub(crate) fn new(file_path: String) -> Self {
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

    pub(super) fn apply(&mut self, properties: &Properties) {
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
    /// Makes the file of a new item; its size is the answer.
    pub(super) fn create_file(&self, path: &str, asked: Option<u64>) -> Result<u64, Message> {
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

    /// Changes the length of the file of an item.
    pub(super) fn resize(&self, path: &str, old: u64, new: u64) -> Result<(), Message> {
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
}
