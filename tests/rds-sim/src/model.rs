//! One ROSE Data Server: its disk items, its files, its pool and what it answers.
//!
//! The model is the single place where a command has an effect; the SSH server, the
//! control socket and tests in process all come through [`Model::exec`]. Backing files
//! are real files below the pool directory, because what happens to old content is
//! part of what the users of the simulator must be right about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::console::{Interpreter, Knows, Menu, Message, Run, Verb};
use crate::nvmet::Target;
use crate::store::{Store, StoreError};
use crate::variants::{ErrorStatus, LineEnds, Variants};

mod arguments;
mod backing;
mod device;
mod disk;
mod exports;
mod files;
mod format;
mod print;
mod request;
mod resource;
mod rows;
mod select;

#[cfg(test)]
mod tests;

pub use device::{Device, FileBacked, Item, Kind, Pool};
pub use files::PathError;
pub use request::{Denied, Output};

pub(crate) use request::{Answer, Request};

/// The device.
#[derive(Debug)]
pub struct Model {
    variants: Variants,
    device: Device,
    pool_dir: PathBuf,
    denied: Denied,
    connected: BTreeSet<String>,
    /// By id: the host with which an export began.
    heeded: BTreeMap<u32, String>,
    ghosts: Vec<files::Ghost>,
    mount_at: Option<Instant>,
    off: bool,
    store: Option<Store>,
    dirty_since: Option<Instant>,
    target: Option<Target>,
    target_error: Option<String>,
}

impl Model {
    /// A device whose files lie below `pool_dir`, which must exist.
    #[must_use]
    pub fn new(variants: Variants, device: Device, pool_dir: &Path) -> Self {
        Self {
            variants,
            device,
            pool_dir: pool_dir.to_owned(),
            denied: Denied::Nothing,
            connected: BTreeSet::new(),
            heeded: BTreeMap::new(),
            ghosts: Vec::new(),
            mount_at: None,
            off: false,
            store: None,
            dirty_since: None,
            target: None,
            target_error: None,
        }
    }

    /// Saves every change to `store` from now on.
    pub(crate) fn save_to(&mut self, store: Store) {
        self.store = Some(store);
    }

    /// Serves the exports with `target` from the next change or start on.
    pub fn serve_with(&mut self, target: Target) {
        self.target = Some(target);
    }

    /// Its switches.
    #[must_use]
    pub fn variants(&self) -> &Variants {
        &self.variants
    }

    /// Its switches, to change them.
    pub fn variants_mut(&mut self) -> &mut Variants {
        &mut self.variants
    }

    /// Items and pool.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the last attempt to serve the exports failed with.
    #[must_use]
    pub fn target_error(&self) -> Option<&str> {
        self.target_error.as_deref()
    }

    /// Files of the mounted pools, as `/file` names them, with their sizes in bytes.
    ///
    /// # Errors
    /// When the pool directory cannot be read.
    pub fn files(&self) -> std::io::Result<Vec<(String, u64)>> {
        let entries = self.entries()?.into_iter();
        let files = entries.filter(|entry| !entry.directory);
        Ok(files.map(|entry| (entry.name, entry.size)).collect())
    }

    /// What the console user may not do.
    #[must_use]
    pub fn denied(&self) -> Denied {
        self.denied
    }

    /// Sets what the console user may not do.
    pub fn deny(&mut self, denied: Denied) {
        self.denied = denied;
    }

    /// Tells the model that a host is connected to the item of `slot`, or no longer is.
    /// The kernel's target does not say so itself.
    pub fn set_connected(&mut self, slot: &str, connected: bool) {
        if connected {
            self.connected.insert(slot.to_owned());
        } else {
            self.connected.remove(slot);
        }
    }

    /// Changes items or pool directly, as an administrator would with other means.
    pub fn change(&mut self, change: impl FnOnce(&mut Device)) {
        change(&mut self.device);
        self.settle();
    }

    /// Unmounts the pool and mounts it again after `delay`, as at a boot.
    pub fn mount_pool_after(&mut self, delay: Duration) {
        self.device.pool_mut().mounted = delay.is_zero();
        self.mount_at = (!delay.is_zero()).then(|| Instant::now() + delay);
        self.serve();
    }

    /// What became due with time: a late mount, names of removed files, unsaved configuration.
    pub fn tick(&mut self) {
        let now = Instant::now();
        if self.mount_at.is_some_and(|at| at <= now) {
            self.mount_at = None;
            self.device.pool_mut().mounted = true;
            self.serve();
        }
        self.ghosts.retain(|ghost| ghost.until > now);
        let loss = Duration::from_secs(self.variants.config_loss_seconds);
        if self.dirty_since.is_some_and(|since| since + loss <= now) {
            self.flush();
        }
    }

    /// Saves what is not saved yet.
    pub fn flush(&mut self) {
        self.dirty_since = None;
        if let Some(store) = &self.store
            && let Err(error) = store.save(&self.device)
        {
            tracing::error!(%error, "configuration not saved");
        }
    }

    /// Switches off: ends all exports. A shutdown saves what is not saved yet, a power cut
    /// loses it.
    pub fn switch_off(&mut self, power_cut: bool) {
        if !power_cut {
            self.flush();
        }
        self.dirty_since = None;
        self.off = true;
        self.connected.clear();
        self.serve();
    }

    /// Switches on with the saved configuration; the pool is mounted after `mount_delay`.
    ///
    /// # Errors
    /// When the saved configuration cannot be read; the device then stays off.
    pub fn switch_on(&mut self, mount_delay: Duration) -> Result<(), StoreError> {
        if let Some(store) = &self.store
            && let Some(device) = store.load()?
        {
            self.device = device;
        }
        self.device.boot(self.variants.namespace_ids);
        self.off = false;
        self.ghosts.clear();
        self.flush();
        self.mount_pool_after(mount_delay);
        Ok(())
    }

    /// Brings the exports in line with the items; a failure is kept for [`Model::target_error`].
    pub(crate) fn serve(&mut self) {
        self.heed();
        let exports = self.exports();
        if let Some(target) = &mut self.target {
            self.target_error = target.apply(&exports).err().map(|error| {
                tracing::error!(%error, "exports not as configured");
                error.to_string()
            });
        }
    }

    /// After every change: configuration first, then the exports.
    pub(crate) fn settle(&mut self) {
        if self.variants.config_loss_seconds == 0 {
            self.flush();
        } else if self.dirty_since.is_none() {
            self.dirty_since = Some(Instant::now());
        }
        self.serve();
    }

    /// Runs a script to its end.
    pub fn exec(&mut self, script: &str) -> Output {
        self.exec_statements(script, None)
    }

    /// Runs a script up to its first `budget` statements, if there is a budget.
    pub fn exec_statements(&mut self, script: &str, budget: Option<usize>) -> Output {
        self.tick();
        let knows = Knows {
            onerror: self.variants.onerror,
            serialize: self.variants.serialize,
        };
        let run = match crate::console::parse(script, knows) {
            Ok(script) => Interpreter::new(self, budget).run(&script),
            Err(error) => Run {
                printed: format!("{error}\n"),
                failed: true,
                ..Run::default()
            },
        };
        let text = match self.variants.line_ends {
            LineEnds::Crlf => run.printed.replace('\n', "\r\n"),
            LineEnds::Lf => run.printed,
        };
        Output {
            stdout: text.into_bytes(),
            status: u32::from(run.failed && self.variants.error_status == ErrorStatus::One),
            delay: run.delay,
            cut: run.cut,
        }
    }

    /// One command of a menu.
    pub(crate) fn perform(&mut self, request: &Request) -> Result<Answer, Message> {
        let denied = match self.denied {
            Denied::Nothing => false,
            Denied::Writes => request.verb.writes(),
            Denied::Everything => true,
        };
        if denied {
            return Err(Message::new("not enough permissions (9)"));
        }
        match (request.menu, request.verb) {
            (Menu::Disk, Verb::Add) => self.add(request),
            (Menu::Disk, Verb::Set) => self.set(request),
            (Menu::Disk, Verb::Remove) => self.remove(request),
            (Menu::Disk, Verb::MonitorTraffic) => self.monitor_traffic(request),
            (Menu::File, Verb::Remove) => self.remove_files(request),
            (Menu::Resource, _) => self.resource(request),
            (_, Verb::Print) => self.print(request),
            (_, Verb::Find) => self.find(request),
            (_, Verb::Get) => self.get(request),
            _ => Err(Message::new("can not do that")),
        }
    }
}
