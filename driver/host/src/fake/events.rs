//! What happens to a host without a port call: connections that are lost, reboots, other
//! programs, and how its own filesystems are laid out.

use std::path::Path;

use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{ControllerState, DeviceNumber};

use crate::fake::{FakeHost, Node};

impl FakeHost {
    /// The state of every connection to the NQN; I/O works only while `Live`.
    pub fn set_state(&self, nqn: &Nqn, state: &ControllerState) {
        for attached in &mut self.kernel().attached {
            if attached.nqn == nqn.as_str() {
                attached.controller.state = state.clone();
            }
        }
    }

    /// The kernel gives the connection up: controller and device vanish, mounts stay.
    pub fn lose(&self, nqn: &Nqn) {
        self.kernel()
            .attached
            .retain(|attached| attached.nqn != nqn.as_str());
    }

    /// A reboot: nothing is connected or mounted; files and stale device nodes stay.
    pub fn reboot(&self) {
        let mut kernel = self.kernel();
        kernel.attached.clear();
        kernel.mounts.clear();
        kernel.busy.clear();
        kernel.claimed.clear();
    }

    /// A filesystem of the host itself that is mounted there from the beginning, such as
    /// one on which device nodes cannot be opened (`nodev`).
    pub fn mount_host(&self, target: &Path, options: &[&str]) {
        let mut kernel = self.kernel();
        kernel.add_node(target, Node::Directory);
        let host = DeviceNumber { major: 0, minor: 2 };
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let source = "tmpfs".to_owned();
        kernel.add_mount(host, Path::new("/"), target, options, "tmpfs", source);
    }

    /// Makes a directory a symlink to another. Only the mount table shows it.
    pub fn symlink(&self, from: &Path, to: &Path) {
        let symlinks = &mut self.kernel().symlinks;
        symlinks.insert(from.to_owned(), to.to_owned());
    }

    /// The kernel stops writing to the filesystems of the NQN, as after an error.
    pub fn stop_writing(&self, nqn: &Nqn) {
        let mut kernel = self.kernel();
        let numbers: Vec<_> = kernel
            .attached
            .iter()
            .filter(|attached| attached.nqn == nqn.as_str())
            .map(|attached| attached.namespace.number)
            .collect();
        for mount in &mut kernel.mounts {
            if numbers.contains(&mount.device) {
                mount.super_options = vec!["ro".to_owned()];
            }
        }
    }

    /// The filesystem on the device of the NQN shuts down, as after an error of its journal.
    pub fn shut_down(&self, nqn: &Nqn) {
        let mut kernel = self.kernel();
        let attached = kernel.attached.iter();
        let numbers: Vec<_> = attached
            .filter(|attached| attached.nqn == nqn.as_str())
            .map(|attached| attached.namespace.number)
            .collect();
        kernel.shut_down.extend(numbers);
    }

    /// Opens (or closes) a file below a mount, which makes it busy.
    pub fn set_busy(&self, target: &Path, busy: bool) {
        let mut kernel = self.kernel();
        if busy {
            kernel.busy.insert(target.to_owned());
        } else {
            kernel.busy.remove(target);
        }
    }

    /// Has a program claim the device of the NQN, or let it go.
    pub fn set_claimed(&self, nqn: &Nqn, claimed: bool) {
        let mut kernel = self.kernel();
        let numbers: Vec<_> = kernel
            .attached
            .iter()
            .filter(|attached| attached.nqn == nqn.as_str())
            .map(|attached| attached.namespace.number)
            .collect();
        for number in numbers {
            if claimed {
                kernel.claimed.insert(number);
            } else {
                kernel.claimed.remove(&number);
            }
        }
    }
}
