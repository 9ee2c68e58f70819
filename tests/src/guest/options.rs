//! What a guest is to be, and the kernel's command line that says so.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::AGENT_PORT;
use super::machine::Machine;
use crate::lab::{Network, Port, Shared};

/// What a guest is to be.
#[derive(Debug, Clone)]
pub struct GuestOptions {
    pub(super) name: String,
    memory: u32,
    disks: Vec<PathBuf>,
    multipath: bool,
}

impl GuestOptions {
    /// A guest of 320 MiB without disks, its kernel with native NVMe multipath.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            memory: 320,
            disks: Vec::new(),
            multipath: true,
        }
    }

    /// Memory in MiB, 64 to 2048.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Adds a disk: `/dev/ubda`, `/dev/ubdb`, … in the order of these calls.
    #[must_use]
    pub fn disk(mut self, file: &Path) -> Self {
        self.disks.push(file.to_owned());
        self
    }

    /// Boots with `nvme_core.multipath=Y` or `N`.
    #[must_use]
    pub fn multipath(mut self, on: bool) -> Self {
        self.multipath = on;
        self
    }

    /// Refuses a name that is unfit for a file and a host, and absurd memory.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ensure!(
            (1..=20).contains(&self.name.len()) && self.name.bytes().all(plain),
            "{:?} is no name for a guest",
            self.name
        );
        ensure!(
            (64..=2048).contains(&self.memory),
            "{} MiB is no size for a guest",
            self.memory
        );
        Ok(())
    }

    /// The command line of the guest's kernel, word by word.
    pub(super) fn command_line(&self, lab: &Shared, port: Port, machine: &Machine) -> Vec<String> {
        let address = |network| port.address(network);
        let share = machine.share().display();
        let mut words: Vec<String> = [
            // The root is the host's own; hack/kernel/init puts an overlay on it.
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            "con=null",
            "con0=null,fd:1",
            "ssl=null",
        ]
        .map(str::to_owned)
        .to_vec();
        words.extend([
            format!("umid={}", self.name),
            format!("uml_dir={}/", machine.directory().display()),
            format!("mem={}M", self.memory),
            format!("init={}", lab.init.display()),
            format!(
                "nvme_core.multipath={}",
                if self.multipath { 'Y' } else { 'N' }
            ),
            format!("LAB_NAME={}", self.name),
            format!("LAB_SHARE={share}"),
            format!("LAB_AGENT={}", lab.agent.display()),
            format!("LAB_LISTEN={}:{AGENT_PORT}", address(Network::Management)),
            format!("LAB_DATA={}/24", address(Network::Data)),
            format!("LAB_MANAGE={}/24", address(Network::Management)),
        ]);
        for (number, &network) in lab.networks().iter().enumerate() {
            words.push(interface(number, port, network));
        }
        if lab.networks().contains(&Network::Cluster) {
            words.push(format!("LAB_CLUSTER={}/24", address(Network::Cluster)));
        }
        for (number, disk) in self.disks.iter().enumerate() {
            words.push(format!("ubd{number}={}", disk.display()));
        }
        words
    }
}

fn interface(number: usize, port: Port, network: Network) -> String {
    let (tap, mac) = (port.tap(network), port.mac(network));
    // Without gro=1 the driver's setup crawls.
    format!("vec{number}:transport=tap,ifname={tap},mac={mac},depth=128,gro=1")
}
