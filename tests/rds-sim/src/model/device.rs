//! What the device keeps: its configuration, as it is saved.

use serde::{Deserialize, Serialize};

use crate::variants::NamespaceIds;

/// A disk item with what is behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Number of its internal id, printed as `*2B`.
    pub id: u32,
    /// Its name.
    pub slot: String,
    /// Free text.
    pub comment: String,
    /// Whether it is switched off.
    pub disabled: bool,
    /// What it is.
    pub kind: Kind,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `type=file`.
    File(FileBacked),
    /// `type=raid` with a mounted filesystem.
    Pool(Pool),
    /// Something that is only printed: its type and its model.
    Other {
        /// Value of `type`.
        type_name: String,
        /// Value of `model`.
        model: String,
    },
}

/// Properties of a file-backed item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBacked {
    /// The file, with a leading slash.
    pub file_path: String,
    /// Bytes.
    pub size: u64,
    /// Where in the file the disk starts.
    pub file_offset: u64,
    /// Whether the device mounts what it recognises inside; its default is yes (doc).
    pub mount_filesystem: bool,
    /// Whether that mount is read-only.
    pub mount_read_only: bool,
    /// Whether it is used for swap.
    pub swap: bool,
    /// Whether it is served.
    pub export: bool,
    /// Port to serve it on, if set.
    pub port: Option<u16>,
    /// NQN to serve it as, if set.
    pub nqn: Option<String>,
    /// Host that may connect, if set.
    pub allow_host: Option<String>,
    /// Password, if set. Never printed, never enforced (its protocol is undocumented).
    pub password: Option<String>,
    /// Identity of the namespace.
    pub uuid: String,
}

/// The pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Filesystem.
    pub fs: String,
    /// Label of the filesystem.
    pub fs_label: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Bytes.
    pub size: u64,
    /// `clean`, `degraded`, … as printed.
    pub state: String,
    /// Value of `raid-type`.
    pub raid_type: String,
    /// Number of drives.
    pub raid_devices: u32,
    /// What `model` says.
    pub model: String,
    /// Whether nothing fits any more, whatever the files say.
    pub full: bool,
    /// Whether the filesystem is mounted now.
    #[serde(skip, default = "yes")]
    pub mounted: bool,
}

fn yes() -> bool {
    true
}

/// Configuration of the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Items in the order in which they print.
    pub items: Vec<Item>,
    /// Id of the next item.
    pub next_id: u32,
    /// What makes its generated identities its own.
    pub seed: String,
    /// Times it was started.
    pub boots: u64,
}

impl Device {
    /// A device with one pool in slot `slot`, mounted at `mount_point`, and nothing else.
    #[must_use]
    pub fn with_pool(slot: &str, mount_point: &str, size: u64, seed: &str) -> Self {
        let pool = Pool {
            fs: "btrfs".to_owned(),
            fs_label: mount_point.to_owned(),
            mount_point: mount_point.to_owned(),
            size,
            state: "clean".to_owned(),
            raid_type: "6".to_owned(),
            raid_devices: 10,
            model: "RAID6 dual parity".to_owned(),
            full: false,
            mounted: true,
        };
        let mut device = Self {
            items: Vec::new(),
            next_id: 0x1A,
            seed: seed.to_owned(),
            boots: 0,
        };
        device.push(slot, Kind::Pool(pool));
        device
    }

    /// Adds an item and gives it the next id.
    pub fn push(&mut self, slot: &str, kind: Kind) -> &mut Item {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.items.push(Item {
            id,
            slot: slot.to_owned(),
            comment: String::new(),
            disabled: false,
            kind,
        });
        let last = self.items.len() - 1;
        &mut self.items[last]
    }

    /// The item of a slot.
    #[must_use]
    pub fn item(&self, slot: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.slot == slot)
    }

    /// The pools.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.items.iter().filter_map(|item| match &item.kind {
            Kind::Pool(pool) => Some(pool),
            Kind::File(_) | Kind::Other { .. } => None,
        })
    }

    /// The first pool; a device always has one.
    #[expect(
        clippy::expect_used,
        reason = "with_pool makes one and no command removes it"
    )]
    pub fn pool_mut(&mut self) -> &mut Pool {
        let mut pools = self
            .items
            .iter_mut()
            .filter_map(|item| match &mut item.kind {
                Kind::Pool(pool) => Some(pool),
                Kind::File(_) | Kind::Other { .. } => None,
            });
        pools.next().expect("a device has a pool")
    }

    /// A uuid that belongs to item `id` of this device and, if `boot`, to this start of it.
    #[must_use]
    pub fn uuid(&self, id: u32, boot: Option<u64>) -> String {
        let name = format!("{}/{id}/{}", self.seed, boot.unwrap_or(0));
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
    }
}

impl Device {
    /// Counts a start; gives namespaces new identities if asked to.
    pub(crate) fn boot(&mut self, ids: NamespaceIds) {
        self.boots += 1;
        if ids == NamespaceIds::Stable {
            return;
        }
        let uuids: Vec<String> = self
            .items
            .iter()
            .map(|item| self.uuid(item.id, Some(self.boots)))
            .collect();
        for (item, uuid) in self.items.iter_mut().zip(uuids) {
            if let Kind::File(file) = &mut item.kind {
                file.uuid = uuid;
            }
        }
    }
}

impl Item {
    /// Its internal id as printed (hw).
    #[must_use]
    pub fn printed_id(&self) -> String {
        format!("*{:X}", self.id)
    }

    /// The file-backed part, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileBacked> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Pool(_) | Kind::Other { .. } => None,
        }
    }

    /// The NQN it is served as: the set one, or the one derived from the slot (inf, after
    /// the documented default of iSCSI).
    #[must_use]
    pub fn nqn(&self) -> Option<String> {
        let file = self.file()?;
        let derived = || format!("nqn.2000-02.com.mikrotik:{}", self.slot);
        Some(file.nqn.clone().unwrap_or_else(derived))
    }
}
