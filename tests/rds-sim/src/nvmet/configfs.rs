//! The few operations on configfs, and a record of them.
//!
//! On configfs a directory comes with its attributes and goes with them. In a plain
//! directory, which stands in for it where the kernel has no target, parents are made and
//! attributes are removed by hand.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{CONFIGFS, TargetError};

/// Most steps that are remembered.
const JOURNAL: usize = 10_000;

/// The tree below `nvmet`.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    plain: bool,
    journal: Vec<String>,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            plain: root != Path::new(CONFIGFS),
            journal: Vec::new(),
        }
    }

    pub(super) fn journal(&self) -> &[String] {
        &self.journal
    }

    fn step(
        &mut self,
        step: &'static str,
        path: &str,
        value: &str,
        act: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), TargetError> {
        let full = self.root.join(path);
        if self.journal.len() < JOURNAL {
            self.journal
                .push(format!("{step} {path} {value}").trim_end().to_owned());
        }
        act(&full).map_err(|source| TargetError {
            step,
            path: full,
            source,
        })
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok()
    }

    /// Names in a directory; none if it is missing.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, TargetError> {
        let full = self.root.join(path);
        let failed = |source| TargetError {
            step: "list",
            path: full.clone(),
            source,
        };
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<_>>().map_err(failed)
    }

    pub(super) fn make(&mut self, path: &str) -> Result<(), TargetError> {
        let plain = self.plain;
        self.step("mkdir", path, "", |full| {
            if plain {
                fs::create_dir_all(full)
            } else {
                fs::create_dir(full)
            }
        })
    }

    pub(super) fn write(&mut self, path: &str, value: &str) -> Result<(), TargetError> {
        self.step("write", path, value, |full| fs::write(full, value))
    }

    pub(super) fn link(&mut self, to: &str, path: &str) -> Result<(), TargetError> {
        let to = self.root.join(to);
        let plain = self.plain;
        self.step("link", path, "", |full| {
            if plain && let Some(parent) = full.parent() {
                fs::create_dir_all(parent)?;
            }
            symlink(to, full)
        })
    }

    pub(super) fn remove_file(&mut self, path: &str) -> Result<(), TargetError> {
        self.step("unlink", path, "", |full| fs::remove_file(full))
    }

    pub(super) fn remove(&mut self, path: &str) -> Result<(), TargetError> {
        let plain = self.plain;
        self.step("rmdir", path, "", |full| {
            if plain {
                fs::remove_dir_all(full)
            } else {
                fs::remove_dir(full)
            }
        })
    }
}
