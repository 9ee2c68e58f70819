//! The array: targets with a size and content that outlive every connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_csi_core::bytes::Bytes;
use rds_csi_core::filesystem::FsType;
use rds_csi_core::nqn::Nqn;
use uuid::Uuid;

use crate::block::Superblock;

/// What lies on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// Zeros.
    Blank,
    /// A filesystem.
    Filesystem {
        /// Its type.
        fs: FsType,
        /// Its UUID.
        uuid: Uuid,
        /// How much of the target it covers.
        size: Bytes,
    },
    /// Anything else.
    Foreign(String),
    /// Every read fails.
    Unreadable,
}

impl Medium {
    /// What its beginning shows.
    pub(super) fn superblock(&self) -> Option<Superblock> {
        match *self {
            Self::Filesystem { fs, uuid, size } => Some(Superblock { fs, uuid, size }),
            Self::Blank | Self::Foreign(_) | Self::Unreadable => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) size: Bytes,
    pub(super) medium: Medium,
    pub(super) is_exported: bool,
    pub(super) is_reachable: bool,
    pub(super) delay: Duration,
    /// How often another namespace was put in this one's place.
    pub(super) replaced: u32,
}

/// The targets that hosts can connect to. Clones are the same array.
#[derive(Debug, Clone, Default)]
pub struct Array {
    targets: Arc<Mutex<BTreeMap<String, Target>>>,
}

impl Array {
    /// Without targets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exports a target, in the place of one of the same NQN.
    pub fn export(&self, nqn: &Nqn, size: Bytes, medium: Medium) {
        let target = Target {
            size,
            medium,
            is_exported: true,
            is_reachable: true,
            delay: Duration::ZERO,
            replaced: 0,
        };
        self.lock().insert(nqn.to_string(), target);
    }

    fn change(&self, nqn: &Nqn, change: impl FnOnce(&mut Target)) {
        if let Some(target) = self.lock().get_mut(nqn.as_str()) {
            change(target);
        }
    }

    /// Whether new connections are accepted; where not, the array rejects them.
    pub fn set_exported(&self, nqn: &Nqn, is_exported: bool) {
        self.change(nqn, |target| target.is_exported = is_exported);
    }

    /// Whether new connections are answered at all.
    pub fn set_reachable(&self, nqn: &Nqn, is_reachable: bool) {
        self.change(nqn, |target| target.is_reachable = is_reachable);
    }

    /// Puts a namespace of another identity in the place of this one, for connections from
    /// now on.
    pub fn replace(&self, nqn: &Nqn) {
        self.change(nqn, |target| target.replaced += 1);
    }

    /// How long after a connection the namespace appears.
    pub fn set_namespace_delay(&self, nqn: &Nqn, delay: Duration) {
        self.change(nqn, |target| target.delay = delay);
    }

    /// A new size; hosts see it after a rescan.
    pub fn resize(&self, nqn: &Nqn, size: Bytes) {
        self.change(nqn, |target| target.size = size);
    }

    /// Other content, whoever has it connected.
    pub fn set_medium(&self, nqn: &Nqn, medium: Medium) {
        self.change(nqn, |target| target.medium = medium);
    }

    /// The content; `None` without such a target.
    #[must_use]
    pub fn medium(&self, nqn: &Nqn) -> Option<Medium> {
        self.get(nqn.as_str()).map(|target| target.medium)
    }

    pub(super) fn get(&self, nqn: &str) -> Option<Target> {
        self.lock().get(nqn).cloned()
    }
}
