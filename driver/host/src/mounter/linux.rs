//! [`Mounter`] by system calls.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::mount::Mount;
use rds_csi_core::nvme::DeviceNumber;
use tokio::time::Instant;

use crate::block::Device;
use crate::linux::Linux;
use crate::mounter::filesystem::FilesystemMount;
use crate::mounter::{Meant, MountError, Mounter, Mounting, PathState, Unmount, unexpected};
use crate::mountinfo;
use crate::sys::{CallError, mounting, paths};

/// For what normally takes milliseconds.
const SHORT: Duration = Duration::from_secs(15);
/// For a mount, which may replay a journal, and an unmount, which writes back what is
/// cached. Under kubelet's two minutes for one call.
const LONG: Duration = Duration::from_secs(100);

#[async_trait]
impl Mounter for Linux {
    async fn mounts(&self) -> Result<Vec<Mount>, MountError> {
        let root = self.root.clone();
        let path = root.proc.join("self/mountinfo");
        self.looks
            .run("read", &path, SHORT, move || mountinfo::read(&root))
            .await
            .map_err(MountError::Table)?
    }

    async fn mount(
        &self,
        device: &Device,
        target: &Path,
        meant: Meant,
        options: &[String],
    ) -> Result<Mounting, MountError> {
        let job = FilesystemMount {
            device: device.clone(),
            target: target.to_owned(),
            meant,
            options: options.to_vec(),
            until: Instant::now() + LONG,
        };
        let root = self.root.clone();
        let timed_out = job.clone();
        self.calls
            .run("mount", target, LONG, move || job.run(&root))
            .await
            .map_err(|source| timed_out.failed(source))?
    }

    async fn bind(&self, source: &Path, target: &Path, read_only: bool) -> Result<(), MountError> {
        let directory = matches!(self.path(source).await?, PathState::Directory { .. });
        self.require(
            target,
            "of the sort of what is bound there",
            |found| match found {
                PathState::Directory { .. } => directory,
                PathState::File { .. } | PathState::Block(_) => !directory,
                PathState::Absent | PathState::Other => false,
            },
        )
        .await?;
        let (from, to) = (source.to_owned(), target.to_owned());
        self.calls
            .run("mount", target, SHORT, move || bind(&from, &to, read_only))
            .await
            .map_err(|error| MountError::Bind {
                from: source.to_owned(),
                target: target.to_owned(),
                source: error,
            })?
    }

    async fn unmount(&self, target: &Path, how: Unmount) -> Result<(), MountError> {
        let path = target.to_owned();
        let result = self
            .unmounts
            .io("umount2", target, LONG, move || {
                mounting::unmount(&path, how)
            })
            .await;
        let Err(source) = result else { return Ok(()) };
        // EINVAL says "not a mount point", and other things too: the table decides.
        let maybe_nothing_there = source.io().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
            )
        });
        if maybe_nothing_there
            && self
                .mounts()
                .await?
                .iter()
                .all(|mount| mount.target != target)
        {
            return Ok(());
        }
        Err(MountError::Unmount {
            target: target.to_owned(),
            source,
        })
    }

    async fn path(&self, path: &Path) -> Result<PathState, MountError> {
        self.at(path, "lstat", paths::state).await
    }

    async fn make_directory(&self, path: &Path) -> Result<(), MountError> {
        self.at(path, "mkdir", paths::require_directory)
            .await?
            .map_err(|found| unexpected(path, found, "a directory"))
    }

    async fn remove_directory(&self, path: &Path) -> Result<(), MountError> {
        match self
            .at(path, "rmdir", |path| std::fs::remove_dir(path))
            .await
        {
            Err(error) if is(&error, io::ErrorKind::NotFound) => Ok(()),
            Err(error) if is(&error, io::ErrorKind::NotADirectory) => {
                Err(unexpected(path, self.path(path).await?, "a directory"))
            }
            result => result,
        }
    }

    async fn make_file(&self, path: &Path) -> Result<(), MountError> {
        match self.at(path, "create", paths::make_file).await {
            Err(error) if is(&error, io::ErrorKind::AlreadyExists) => {
                match self.path(path).await? {
                    PathState::File { .. } => Ok(()),
                    found => Err(unexpected(path, found, "a file")),
                }
            }
            result => result,
        }
    }

    async fn make_block_node(&self, path: &Path, number: DeviceNumber) -> Result<(), MountError> {
        self.at(path, "mknod", move |path| {
            paths::make_block_node(path, number)
        })
        .await
    }

    async fn remove_file(&self, path: &Path) -> Result<(), MountError> {
        match self
            .at(path, "unlink", |path| std::fs::remove_file(path))
            .await
        {
            Err(error) if is(&error, io::ErrorKind::NotFound) => Ok(()),
            Err(error) if is(&error, io::ErrorKind::IsADirectory) => {
                Err(unexpected(path, self.path(path).await?, "a file or node"))
            }
            result => result,
        }
    }
}

impl Linux {
    /// One call on one path.
    async fn at<T: Send + 'static>(
        &self,
        path: &Path,
        call: &'static str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, MountError> {
        let owned = path.to_owned();
        self.paths
            .io(call, path, SHORT, move || work(&owned))
            .await
            .map_err(|source| MountError::Path {
                path: path.to_owned(),
                source,
            })
    }

    async fn require(
        &self,
        path: &Path,
        expected: &'static str,
        fits: impl FnOnce(PathState) -> bool + Send,
    ) -> Result<(), MountError> {
        let found = self.path(path).await?;
        if fits(found) {
            Ok(())
        } else {
            Err(unexpected(path, found, expected))
        }
    }
}

fn is(error: &MountError, kind: io::ErrorKind) -> bool {
    matches!(error, MountError::Path { source, .. }
        if source.io().is_some_and(|error| error.kind() == kind))
}

fn bind(from: &Path, target: &Path, read_only: bool) -> Result<(), MountError> {
    mounting::bind(from, target).map_err(|source| MountError::Bind {
        from: from.to_owned(),
        target: target.to_owned(),
        source: CallError::failed("mount", target, source),
    })?;
    if !read_only {
        return Ok(());
    }
    mounting::remount_read_only(target).map_err(|source| MountError::ReadOnly {
        target: target.to_owned(),
        undone: mounting::unmount(target, Unmount::Plain).is_ok(),
        source: CallError::failed("remount", target, source),
    })
}

#[cfg(test)]
mod tests;
