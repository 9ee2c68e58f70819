//! The files of the pool: real files below the pool directory.
//!
//! `/storage-pool/x/y.img` of the device is `<pool-dir>/storage-pool/x/y.img` here. No
//! name may lead outside: paths with `..`, empty parts or NUL are refused.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Answer, Model, Request};
use crate::console::Message;
use crate::variants::{FileRemoveInUse, SpaceCount};

/// Most entries that a listing reads.
const MOST_ENTRIES: usize = 100_000;

/// A path of the device that names no file of the pool.
#[derive(Debug, thiserror::Error)]
#[error("path {0:?} is no plain path below a pool")]
pub struct PathError(String);

/// A file that is removed and not yet gone from listings.
#[derive(Debug, Clone)]
pub(super) struct Ghost {
    pub(super) entry: Entry,
    pub(super) until: Instant,
}

/// One file or directory of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As `/file` names it: no leading slash for files, one for directories (hw).
    pub(super) name: String,
    pub(super) directory: bool,
    pub(super) size: u64,
    pub(super) allocated: u64,
    pub(super) modified: SystemTime,
}

impl Entry {
    /// Ids of files look like `**abc` (3p); here they follow from the name.
    pub(super) fn id(&self) -> String {
        let hash = self.name.bytes().fold(0xCBF2_9CE4_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        format!("**{hash:x}")
    }
}

/// Parts of a device path, without its leading slash.
fn plain(path: &str) -> Result<&str, PathError> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    let fits = relative.len() <= 1000
        && relative
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
    if fits {
        Ok(relative)
    } else {
        Err(PathError(path.chars().take(100).collect()))
    }
}

impl Model {
    /// Where a path of the device lies on this machine.
    ///
    /// # Errors
    /// When the path is not plain.
    pub fn host_path(&self, path: &str) -> Result<PathBuf, PathError> {
        Ok(self.pool_dir.join(plain(path)?))
    }

    /// Whether `path` lies on a pool that is mounted now.
    pub(super) fn on_mounted_pool(&self, path: &str) -> bool {
        let first = plain(path)
            .ok()
            .and_then(|relative| relative.split_once('/'));
        let Some((mount_point, _)) = first else {
            return false;
        };
        let mut pools = self.device.pools();
        pools.any(|pool| pool.mounted && pool.mount_point == mount_point)
    }

    /// Files and directories of the mounted pools, by path, with what lingers after removal.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for pool in self.device.pools().filter(|pool| pool.mounted) {
            let root = self.pool_dir.join(&pool.mount_point);
            if root.is_dir() {
                self.walk(&root, &mut entries)?;
            }
        }
        let now = Instant::now();
        for ghost in self.ghosts.iter().filter(|ghost| ghost.until > now) {
            if !entries.iter().any(|entry| entry.name == ghost.entry.name) {
                entries.push(ghost.entry.clone());
            }
        }
        entries.sort_by(|left, right| {
            let bare = |entry: &Entry| entry.name.trim_start_matches('/').to_owned();
            bare(left).cmp(&bare(right))
        });
        Ok(entries)
    }

    fn walk(&self, directory: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
        for found in fs::read_dir(directory)? {
            let path = found?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let Ok(relative) = path.strip_prefix(&self.pool_dir) else {
                continue;
            };
            let relative = relative.to_string_lossy();
            let directory = metadata.is_dir();
            entries.push(Entry {
                name: if directory {
                    format!("/{relative}")
                } else {
                    relative.into_owned()
                },
                directory,
                size: metadata.len(),
                allocated: metadata.blocks().saturating_mul(512),
                modified: metadata.modified()?,
            });
            if entries.len() > MOST_ENTRIES {
                return Err(io::Error::other("more files than the simulator lists"));
            }
            if directory {
                self.walk(&path, entries)?;
            }
        }
        Ok(())
    }

    /// Free bytes of the pool with `mount_point`.
    pub(super) fn free(&self, mount_point: &str) -> u64 {
        let Some(pool) = self
            .device
            .pools()
            .find(|pool| pool.mount_point == mount_point)
        else {
            return 0;
        };
        if pool.full {
            return 0;
        }
        let below = format!("{mount_point}/");
        let entries = self.entries().unwrap_or_default();
        let used: u64 = entries
            .iter()
            .filter(|entry| !entry.directory && entry.name.starts_with(&below))
            .map(|entry| match self.variants.space {
                SpaceCount::Allocated => entry.allocated,
                SpaceCount::Apparent => entry.size,
            })
            .fold(0, u64::saturating_add);
        pool.size.saturating_sub(used)
    }

    /// `/file remove`.
    pub(super) fn remove_files(&mut self, request: &Request) -> Result<Answer, Message> {
        let names = self.chosen_files(request)?;
        for name in names {
            self.remove_file(&name)?;
        }
        Ok(Answer::default())
    }

    fn remove_file(&mut self, name: &str) -> Result<(), Message> {
        let failed = |error: &dyn std::fmt::Display| Message::failure(&error.to_string());
        let entries = self.entries().map_err(|error| failed(&error))?;
        let entry = entries.into_iter().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(Message::no_such_item)?;
        let path = self.host_path(name).map_err(|error| failed(&error))?;
        let relative = name.trim_start_matches('/');
        let in_use = self.device.items.iter().any(|item| {
            let file = item.file();
            file.is_some_and(|file| file.file_path.trim_start_matches('/') == relative)
        });
        if in_use && self.variants.file_remove_in_use == FileRemoveInUse::Fail {
            return Err(Message::failure("in use"));
        }
        let removed = if entry.directory {
            fs::remove_dir(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(|error| failed(&error))?;
        let delay = Duration::from_millis(self.variants.deletion_delay_ms);
        if !delay.is_zero() {
            let until = Instant::now() + delay;
            self.ghosts.push(Ghost { entry, until });
        }
        Ok(())
    }
}
