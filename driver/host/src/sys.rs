//! System calls with a deadline. The only module tree that touches nix.
//!
//! A call on a device whose target went away may sleep in the kernel without end and
//! cannot be interrupted. It must therefore never run on a thread of the runtime, and
//! the number of calls that hang at once is capped: a node with many dead volumes
//! keeps answering for the others.

use std::io;
use std::path::{Path, PathBuf};

use rds_csi_core::kind::{Failure, Kind};

pub(crate) use nix::errno::Errno;

pub(crate) mod calls;
pub(crate) mod device;
pub(crate) mod files;
pub(crate) mod mounting;
pub(crate) mod paths;
pub(crate) mod process;

/// Where the kernel's interfaces lie; tests put trees of their own there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// sysfs: `/sys`.
    pub sys: PathBuf,
    /// procfs: `/proc`.
    pub proc: PathBuf,
    /// The host's device nodes: `/dev`, not a container's own copy, in which devices
    /// that appear later are missing.
    pub dev: PathBuf,
    /// A directory of our own for the device nodes that programs are given. Must lie on
    /// a filesystem without `nodev`; `/dev` itself is one and is empty after a reboot.
    pub nodes: PathBuf,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
            nodes: "/dev/rds-csi".into(),
        }
    }
}

impl Root {
    /// All interfaces below one directory: `<base>/sys`, `<base>/proc`, `<base>/dev`.
    #[must_use]
    pub fn below(base: &Path) -> Self {
        Self {
            sys: base.join("sys"),
            proc: base.join("proc"),
            dev: base.join("dev"),
            nodes: base.join("dev/rds-csi"),
        }
    }
}

/// Which boot of this machine it is, as `random/boot_id` says: another one after every
/// start of the kernel.
///
/// # Errors
/// procfs cannot be read.
pub fn boot_id(root: &Root) -> io::Result<String> {
    files::attribute(&root.proc.join("sys/kernel/random/boot_id"))
}

/// Why a system call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The kernel refused.
    #[error("{call} {path:?}")]
    Failed {
        /// The operation, such as `open`.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The deadline passed; the call goes on in the kernel and may still take effect.
    #[error("{call} {path:?} did not return within {seconds} s; the device may be unreachable")]
    TimedOut {
        /// The operation.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// The deadline.
        seconds: u64,
    },
    /// So many earlier calls hang that no further one is begun.
    #[error("{call} {path:?} was not begun: {limit} earlier calls hang in the kernel")]
    TooManyHanging {
        /// The operation.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// The cap.
        limit: usize,
    },
}

impl Failure for CallError {
    /// Always one to retry: a refused call may have had part of its effect, and an I/O
    /// error says nothing about tomorrow.
    fn kind(&self) -> Kind {
        match self {
            Self::Failed { source, .. } => match source.kind() {
                io::ErrorKind::ResourceBusy => Kind::Busy,
                _ => Kind::Unreachable,
            },
            Self::TimedOut { .. } => Kind::Timeout,
            Self::TooManyHanging { .. } => Kind::Busy,
        }
    }
}

impl CallError {
    /// The kernel's reason, where it gave one.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Failed { source, .. } => Some(source),
            Self::TimedOut { .. } | Self::TooManyHanging { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
