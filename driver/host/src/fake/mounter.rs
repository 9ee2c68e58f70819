//! [`Mounter`] of the model.

use std::path::Path;

use async_trait::async_trait;
use rds_csi_core::mount::Mount;
use rds_csi_core::nvme::DeviceNumber;

use crate::block::Device;
use crate::fake::faults::refused;
use crate::fake::{FakeHost, Kernel, Node};
use crate::mounter::{Meant, MountError, Mounter, Mounting, PathState, Unmount, unexpected};
use crate::sys::Errno;

#[async_trait]
impl Mounter for FakeHost {
    async fn mounts(&self) -> Result<Vec<Mount>, MountError> {
        self.call("mounts", |kernel| Ok(kernel.mounts.clone()))
            .await
    }

    async fn mount(
        &self,
        device: &Device,
        target: &Path,
        meant: Meant,
        options: &[String],
    ) -> Result<Mounting, MountError> {
        self.call("mount", |kernel| {
            let medium = self
                .medium(kernel, device)
                .map_err(|source| MountError::Device {
                    target: target.to_owned(),
                    source: Box::new(source),
                })?;
            let found = medium.superblock();
            if !found.is_some_and(|found| meant.is(found)) {
                return Ok(Mounting::Other(found));
            }
            kernel.require_directory(target)?;
            let source = format!("/dev/{}", device.namespace.name);
            kernel.add_mount(
                device.namespace.number,
                Path::new("/"),
                target,
                options.to_vec(),
                meant.fs.as_str(),
                source,
            );
            Ok(Mounting::Made(kernel.mounts.clone()))
        })
        .await
    }

    async fn bind(&self, source: &Path, target: &Path, read_only: bool) -> Result<(), MountError> {
        self.call("bind", |kernel| {
            let (from, to) = (kernel.state(source)?, kernel.state(target)?);
            let is_directory = |state| matches!(state, PathState::Directory { .. });
            if to == PathState::Absent || is_directory(from) != is_directory(to) {
                return Err(unexpected(target, to, "of the sort of what is bound there"));
            }
            if from == PathState::Absent {
                return Err(MountError::Bind {
                    from: source.to_owned(),
                    target: target.to_owned(),
                    source: refused("mount", source, Errno::ENOENT),
                });
            }
            kernel.add_bind(source, target, read_only);
            Ok(())
        })
        .await
    }

    async fn unmount(&self, target: &Path, how: Unmount) -> Result<(), MountError> {
        self.call("unmount", |kernel| {
            let target = &*kernel.resolved(target);
            let Some(index) = kernel
                .mounts
                .iter()
                .rposition(|mount| mount.target == target)
            else {
                return Ok(());
            };
            let below = |mount: &Mount| mount.target != target && mount.target.starts_with(target);
            let is_busy = kernel.busy.contains(target) || kernel.mounts.iter().any(below);
            if is_busy && how == Unmount::Plain {
                return Err(MountError::Unmount {
                    target: target.to_owned(),
                    source: refused("umount2", target, Errno::EBUSY),
                });
            }
            kernel.mounts.remove(index);
            Ok(())
        })
        .await
    }

    async fn path(&self, path: &Path) -> Result<PathState, MountError> {
        self.call("path", |kernel| kernel.state(path)).await
    }

    async fn make_directory(&self, path: &Path) -> Result<(), MountError> {
        self.call("make_directory", |kernel| kernel.require_directory(path))
            .await
    }

    async fn remove_directory(&self, path: &Path) -> Result<(), MountError> {
        self.call("remove_directory", |kernel| match kernel.state(path)? {
            PathState::Absent => Ok(()),
            _ if kernel.top(path).is_some() => Err(failed("rmdir", path, Errno::EBUSY)),
            PathState::Directory { empty: true } => {
                kernel.nodes.remove(path);
                Ok(())
            }
            PathState::Directory { empty: false } => Err(failed("rmdir", path, Errno::ENOTEMPTY)),
            found => Err(unexpected(path, found, "a directory")),
        })
        .await
    }

    async fn make_file(&self, path: &Path) -> Result<(), MountError> {
        self.call("make_file", |kernel| match kernel.state(path)? {
            PathState::Absent => {
                kernel.add_node(path, Node::File);
                Ok(())
            }
            PathState::File { .. } => Ok(()),
            found => Err(unexpected(path, found, "a file")),
        })
        .await
    }

    async fn make_block_node(&self, path: &Path, number: DeviceNumber) -> Result<(), MountError> {
        self.call("make_block_node", |kernel| match kernel.state(path)? {
            PathState::Absent => {
                kernel.add_node(path, Node::Block(number));
                Ok(())
            }
            _ => Err(failed("mknod", path, Errno::EEXIST)),
        })
        .await
    }

    async fn remove_file(&self, path: &Path) -> Result<(), MountError> {
        self.call("remove_file", |kernel| match kernel.state(path)? {
            PathState::Absent => Ok(()),
            found @ PathState::Directory { .. } => Err(unexpected(path, found, "a file or node")),
            _ if kernel.top(path).is_some() => Err(failed("unlink", path, Errno::EBUSY)),
            _ => {
                kernel.nodes.remove(path);
                Ok(())
            }
        })
        .await
    }
}

fn failed(call: &'static str, path: &Path, errno: Errno) -> MountError {
    MountError::Path {
        path: path.to_owned(),
        source: refused(call, path, errno),
    }
}

impl Kernel {
    /// lstat and a look inside; fails on a mount whose device is gone.
    fn state(&self, path: &Path) -> Result<PathState, MountError> {
        if let Some(mount) = self.covering(path)
            && !self.is_alive(mount.device)
        {
            return Err(failed("lstat", path, Errno::EIO));
        }
        let bound = self.top(path).and_then(|mount| self.bound.get(&mount.id));
        if let Some(number) = bound {
            return Ok(PathState::Block(*number));
        }
        let is_filesystem_root = self
            .top(path)
            .is_some_and(|mount| mount.root == Path::new("/"));
        let has_content = || {
            is_filesystem_root
                || self
                    .nodes
                    .keys()
                    .any(|other| other != path && other.starts_with(path))
        };
        Ok(match self.nodes.get(path) {
            None => PathState::Absent,
            Some(Node::Directory) => PathState::Directory {
                empty: !has_content(),
            },
            Some(Node::File) => PathState::File { empty: true },
            Some(Node::Block(number)) => PathState::Block(*number),
        })
    }

    /// Made where nothing is.
    fn require_directory(&mut self, path: &Path) -> Result<(), MountError> {
        match self.state(path)? {
            PathState::Absent => {
                self.add_node(path, Node::Directory);
                Ok(())
            }
            PathState::Directory { .. } => Ok(()),
            found => Err(unexpected(path, found, "a directory")),
        }
    }

    pub(super) fn add_node(&mut self, path: &Path, node: Node) {
        for parent in path.ancestors().skip(1) {
            self.nodes
                .entry(parent.to_owned())
                .or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    pub(super) fn add_mount(
        &mut self,
        device: DeviceNumber,
        root: &Path,
        target: &Path,
        options: Vec<String>,
        fs_type: &str,
        source: String,
    ) {
        self.next_mount += 1;
        let target = &*self.resolved(target);
        self.mounts.push(Mount {
            id: self.next_mount,
            parent: self.covering(target).map_or(0, |mount| mount.id),
            device,
            root: root.to_owned(),
            target: target.to_owned(),
            options,
            fs_type: fs_type.to_owned(),
            source,
            super_options: Vec::new(),
        });
    }

    fn add_bind(&mut self, from: &Path, target: &Path, read_only: bool) {
        let options = vec![if read_only { "ro" } else { "rw" }.to_owned()];
        let host = DeviceNumber { major: 0, minor: 1 };
        let (device, root, fs_type, source) = match self.covering(from) {
            None => (
                host,
                from.to_owned(),
                "tmpfs".to_owned(),
                "tmpfs".to_owned(),
            ),
            Some(mount) => {
                let below = from.strip_prefix(&mount.target).unwrap_or(from);
                let root = if below == Path::new("") {
                    mount.root.clone()
                } else {
                    mount.root.join(below)
                };
                (
                    mount.device,
                    root,
                    mount.fs_type.clone(),
                    mount.source.clone(),
                )
            }
        };
        let node = match self.state(from) {
            Ok(PathState::Block(number)) => Some(number),
            Ok(_) | Err(_) => None,
        };
        self.add_mount(device, &root, target, options, &fs_type, source);
        if let Some(number) = node {
            self.bound.insert(self.next_mount, number);
        }
    }
}
