//! The data path: exports as subsystems of the kernel's NVMe target, through configfs.
//!
//! Order is what matters here, because hosts act on it (seen on Linux 6.12): a subsystem
//! is complete before a port links to it, and a port opens with its first link. A host
//! that reconnects while the port is open and its subsystem is not linked is told not to
//! retry and forgets the volume. This must never touch subsystems it did not make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::variants::{BootOrder, ResizeNotice};

mod configfs;
mod export;

#[cfg(test)]
mod tests;

pub use export::{Access, Export, TargetError};

use configfs::Tree;
use export::{PORT_IDS, link, port_path, replaces, subsystem};

/// Where configfs shows the target.
pub const CONFIGFS: &str = "/sys/kernel/config/nvmet";

/// How long a port that opens has no subsystems yet under [`BootOrder::PortFirst`].
const PORT_FIRST_GAP: Duration = Duration::from_secs(3);

/// The subsystems and ports that this simulator made.
#[derive(Debug)]
pub struct Target {
    tree: Tree,
    address: String,
    notice: ResizeNotice,
    order: BootOrder,
    open: bool,
    gap: Duration,
    served: BTreeMap<String, Export>,
    hosts: BTreeSet<String>,
}

impl Target {
    /// A target that listens on `address`. `root` is [`CONFIGFS`], or any directory in
    /// which to see what would be written.
    #[must_use]
    pub fn new(root: &Path, address: &str, notice: ResizeNotice, order: BootOrder) -> Self {
        Self {
            tree: Tree::new(root),
            address: address.to_owned(),
            notice,
            order,
            open: false,
            gap: PORT_FIRST_GAP,
            served: BTreeMap::new(),
            hosts: BTreeSet::new(),
        }
    }

    /// What was written so far, oldest first and bounded.
    #[must_use]
    pub fn journal(&self) -> &[String] {
        self.tree.journal()
    }

    /// Serves exactly `exports`. The first of several with one NQN wins.
    ///
    /// # Errors
    /// With the first failure, after everything was tried.
    pub fn apply(&mut self, exports: &[Export]) -> Result<(), TargetError> {
        let mut wanted: BTreeMap<&str, &Export> = BTreeMap::new();
        for export in exports {
            wanted.entry(&export.nqn).or_insert(export);
        }
        let mut first_error = None;
        let mut note = |result: Result<(), TargetError>| {
            if let Err(error) = result {
                first_error.get_or_insert(error);
            }
        };
        let gone: Vec<Export> = self
            .served
            .values()
            .filter(|served| {
                wanted
                    .get(served.nqn.as_str())
                    .is_none_or(|w| replaces(served, w))
            })
            .cloned()
            .collect();
        // All links first: what is torn down must not be reachable half-made.
        for export in &gone {
            note(self.tree.remove_file(&link(export)));
        }
        for export in &gone {
            note(self.tear_down(export));
        }
        if self.order == BootOrder::PortFirst && !self.open && !wanted.is_empty() {
            note(self.open_ports_alone(wanted.values().copied()));
        }
        let mut new = Vec::new();
        for export in wanted.into_values() {
            match self.served.get(&export.nqn).cloned() {
                Some(served) => note(self.update(&served, export)),
                None => match self.build(export) {
                    Ok(()) => new.push(export),
                    Err(error) => note(Err(error)),
                },
            }
        }
        for export in new {
            match self.open(export) {
                Ok(()) => {
                    self.served.insert(export.nqn.clone(), export.clone());
                }
                Err(error) => note(Err(error)),
            }
        }
        self.open = !exports.is_empty();
        note(self.close_unused_ports());
        first_error.map_or(Ok(()), Err)
    }

    /// A complete subsystem, not yet reachable.
    fn build(&mut self, export: &Export) -> Result<(), TargetError> {
        let subsystem = subsystem(&export.nqn);
        // What a killed simulator left under this name is made anew.
        if self.tree.exists(&subsystem) {
            self.forget(export)?;
        }
        self.tree.make(&subsystem)?;
        self.set_access(export, &Access::Anybody, true)?;
        let Some(file) = &export.file else {
            return Ok(());
        };
        let namespace = format!("{subsystem}/namespaces/1");
        self.tree.make(&namespace)?;
        self.tree
            .write(&format!("{namespace}/device_path"), &file.to_string_lossy())?;
        self.tree
            .write(&format!("{namespace}/device_uuid"), &export.uuid)?;
        // Direct I/O: with buffered_io the target tries each read without waiting first,
        // and takes a part that lay in its cache for the whole, an error (Linux 6.12).
        self.tree.write(&format!("{namespace}/buffered_io"), "0")?;
        self.tree.write(&format!("{namespace}/enable"), "1")
    }

    fn set_access(&mut self, export: &Export, was: &Access, new: bool) -> Result<(), TargetError> {
        let subsystem = subsystem(&export.nqn);
        let any = format!("{subsystem}/attr_allow_any_host");
        let link = |host: &str| format!("{subsystem}/allowed_hosts/{host}");
        if let Access::Hosts(hosts) = was {
            for host in hosts {
                self.tree.remove_file(&link(host))?;
            }
        }
        match &export.access {
            Access::Anybody => self.tree.write(&any, "1"),
            Access::Hosts(hosts) => {
                if new || *was == Access::Anybody {
                    self.tree.write(&any, "0")?;
                }
                for host in hosts {
                    let path = format!("hosts/{host}");
                    if !self.tree.exists(&path) {
                        self.tree.make(&path)?;
                        self.hosts.insert(host.clone());
                    }
                    self.tree.link(&path, &link(host))?;
                }
                Ok(())
            }
        }
    }

    fn update(&mut self, served: &Export, export: &Export) -> Result<(), TargetError> {
        if served.access != export.access {
            self.set_access(export, &served.access, false)?;
        }
        if served.size != export.size && self.notice == ResizeNotice::Event {
            let namespace = format!("{}/namespaces/1", subsystem(&export.nqn));
            self.tree
                .write(&format!("{namespace}/revalidate_size"), "1")?;
        }
        self.served.insert(export.nqn.clone(), export.clone());
        Ok(())
    }

    fn make_port(&mut self, port: u16) -> Result<String, TargetError> {
        let path = port_path(port);
        if !self.tree.exists(&path) {
            self.tree.make(&path)?;
            let address = self.address.clone();
            let family = if address.contains(':') {
                "ipv6"
            } else {
                "ipv4"
            };
            self.tree.write(&format!("{path}/addr_trtype"), "tcp")?;
            self.tree.write(&format!("{path}/addr_adrfam"), family)?;
            self.tree.write(&format!("{path}/addr_traddr"), &address)?;
            self.tree
                .write(&format!("{path}/addr_trsvcid"), &port.to_string())?;
        }
        Ok(path)
    }

    /// Makes a complete subsystem reachable.
    fn open(&mut self, export: &Export) -> Result<(), TargetError> {
        self.make_port(export.port)?;
        self.tree.link(&subsystem(&export.nqn), &link(export))
    }

    /// Opens ports with nothing but an empty subsystem behind them, for a while.
    fn open_ports_alone<'a>(
        &mut self,
        exports: impl Iterator<Item = &'a Export>,
    ) -> Result<(), TargetError> {
        let ports: BTreeSet<u16> = exports.map(|export| export.port).collect();
        for port in ports {
            let empty = Export {
                nqn: format!("nqn.2000-02.com.mikrotik:rds-sim-port-{port}"),
                port,
                access: Access::Hosts(Vec::new()),
                file: None,
                uuid: String::new(),
                size: 0,
            };
            self.build(&empty)?;
            self.open(&empty)?;
            self.served.insert(empty.nqn.clone(), empty);
        }
        std::thread::sleep(self.gap);
        Ok(())
    }

    /// Takes an unlinked subsystem apart.
    fn tear_down(&mut self, export: &Export) -> Result<(), TargetError> {
        self.served.remove(&export.nqn);
        let subsystem = subsystem(&export.nqn);
        if let Access::Hosts(hosts) = &export.access {
            for host in hosts {
                let link = format!("{subsystem}/allowed_hosts/{host}");
                self.tree.remove_file(&link)?;
            }
        }
        if export.file.is_some() {
            self.tree.remove(&format!("{subsystem}/namespaces/1"))?;
        }
        self.tree.remove(&subsystem)
    }

    /// Takes apart what a former run left of an export.
    fn forget(&mut self, export: &Export) -> Result<(), TargetError> {
        let subsystem = subsystem(&export.nqn);
        let name = &export.nqn;
        for port in self.tree.names("ports")? {
            let link = format!("ports/{port}/subsystems/{name}");
            if self.tree.exists(&link) {
                self.tree.remove_file(&link)?;
            }
        }
        for host in self.tree.names(&format!("{subsystem}/allowed_hosts"))? {
            self.tree
                .remove_file(&format!("{subsystem}/allowed_hosts/{host}"))?;
        }
        for namespace in self.tree.names(&format!("{subsystem}/namespaces"))? {
            self.tree
                .remove(&format!("{subsystem}/namespaces/{namespace}"))?;
        }
        self.tree.remove(&subsystem)
    }

    fn close_unused_ports(&mut self) -> Result<(), TargetError> {
        let used: BTreeSet<String> = self.served.values().map(|e| port_path(e.port)).collect();
        for name in self.tree.names("ports")? {
            let path = format!("ports/{name}");
            let ours = name.parse::<u32>().is_ok_and(|id| id >= PORT_IDS);
            if ours
                && !used.contains(&path)
                && self.tree.names(&format!("{path}/subsystems"))?.is_empty()
            {
                self.tree.remove(&path)?;
            }
        }
        if self.served.is_empty() {
            for host in std::mem::take(&mut self.hosts) {
                self.tree.remove(&format!("hosts/{host}"))?;
            }
        }
        Ok(())
    }
}
