//! Plans for making, growing and removing a volume on the device.
//!
//! Each plan is a function of one complete reading: what is there, and what is wanted,
//! give the steps that are missing. Taken, the same plan over a new reading is empty;
//! that is all there is to idempotency, to retries after an unknown outcome, and to
//! volumes that a crash left half-made.
//!
//! Nothing here ever names an item without our ownership marker as something to change
//! or remove, and an existing file is never taken for a fresh one.

use crate::appliance::{DiskItem, FileDisk, Inventory, Pool, Step, VolumeState};
use crate::backing_file::{BackingFile, VolumeDirectory};
use crate::bytes::{Bytes, CapacityRange};
use crate::cluster_id::ClusterId;
use crate::kind::{Failure, Kind};
use crate::nqn::Nqn;
use crate::volume_id::{Form, VolumeId};
use crate::volume_name::Owner;

/// The volume that CreateVolume wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Its id, slot and file stem.
    pub id: VolumeId,
    /// Its marker.
    pub owner: Owner,
    /// Where its file lies.
    pub directory: VolumeDirectory,
    /// What sizes are acceptable.
    pub range: CapacityRange,
    /// What size to make where there is none yet.
    pub size: Bytes,
    /// Its subsystem.
    pub nqn: Nqn,
    /// Its TCP port.
    pub port: u16,
}

/// Why a plan cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The slot holds something that this cluster did not make.
    #[error(
        "disk item {slot:?} exists and is not ours: its comment is {comment:?}, not a marker of cluster {cluster}; it is left alone"
    )]
    ForeignItem {
        /// The slot.
        slot: String,
        /// Its comment, shortened.
        comment: String,
        /// This cluster.
        cluster: ClusterId,
    },
    /// Our item, but not the volume that is wanted.
    #[error("volume {id} exists with {property} {found}, wanted {wanted}")]
    Different {
        /// The volume.
        id: VolumeId,
        /// What differs.
        property: &'static str,
        /// What is there.
        found: String,
        /// What is wanted.
        wanted: String,
    },
    /// A file without an item: its bytes may be anybody's.
    #[error(
        "file {file} exists without a disk item and is never taken for a new volume; move it away or remove it on the device to go on"
    )]
    StrayFile {
        /// The file.
        file: BackingFile,
    },
    /// Another item uses the volume's file.
    #[error(
        "file {file} belongs to disk item {slot:?}, which is not volume {id}; it is left alone"
    )]
    FileTaken {
        /// The file.
        file: BackingFile,
        /// The other item.
        slot: String,
        /// The volume.
        id: VolumeId,
    },
    /// Another item carries the volume's NQN: hosts could reach the wrong one.
    #[error("NQN {nqn} is in use by disk item {slot:?}, which is not volume {id}")]
    NqnTaken {
        /// The NQN.
        nqn: Nqn,
        /// The other item.
        slot: String,
        /// The volume.
        id: VolumeId,
    },
    /// The pool is not there (yet): after a reboot its items come before its files.
    #[error("no mounted pool {pool:?} holds {directory}; waiting for the device to mount it")]
    PoolMissing {
        /// The mount point.
        pool: String,
        /// The directory.
        directory: VolumeDirectory,
    },
    /// The pool lost redundancy.
    #[error("pool {pool:?} is {state:?}, not clean: no new volumes until it is repaired")]
    PoolUnhealthy {
        /// The mount point.
        pool: String,
        /// What the device says.
        state: String,
    },
    /// Not enough space, promises included.
    #[error("pool {pool:?} has {available} left to promise, {asked} are needed")]
    NoSpace {
        /// The mount point.
        pool: String,
        /// What was asked.
        asked: Bytes,
        /// What can still be promised.
        available: Bytes,
    },
    /// A volume only ever grows.
    #[error("volume {id} has {found} and cannot shrink to at most {limit}")]
    CannotShrink {
        /// The volume.
        id: VolumeId,
        /// Its size.
        found: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// No such volume, and a complete reading says so.
    #[error("volume {id} does not exist on the device")]
    Missing {
        /// The volume.
        id: VolumeId,
    },
}

impl Failure for ProvisionError {
    fn kind(&self) -> Kind {
        match self {
            Self::ForeignItem { .. }
            | Self::Different { .. }
            | Self::StrayFile { .. }
            | Self::FileTaken { .. }
            | Self::NqnTaken { .. } => Kind::Exists,
            Self::PoolMissing { .. } => Kind::Unreachable,
            Self::PoolUnhealthy { .. } => Kind::Conflict,
            Self::NoSpace { .. } => Kind::Exhausted,
            Self::CannotShrink { .. } => Kind::OutOfRange,
            Self::Missing { .. } => Kind::NotFound,
        }
    }
}

/// What may still be promised from a pool: its size times the over-commit ratio, less
/// everything promised already. The ratio is in hundredths: 100 is 1.0.
#[must_use]
pub fn available(
    inventory: &Inventory,
    pool: &Pool,
    reserved: Bytes,
    overcommit_percent: u32,
) -> Bytes {
    let total = u128::from(pool.size.get()) * u128::from(overcommit_percent) / 100;
    let total = Bytes::new(u64::try_from(total).unwrap_or(u64::MAX));
    total
        .saturating_sub(inventory.promised(pool))
        .saturating_sub(reserved)
}

/// The space rules of a create: promises beyond the reading, and how far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Promised by calls under way and not in the reading.
    pub reserved: Bytes,
    /// How much may be promised, in hundredths of the pool's size.
    pub overcommit_percent: u32,
}

/// The steps that make the wanted volume; none where it is there already.
pub fn create(
    inventory: &Inventory,
    desired: &Desired,
    space: Space,
) -> Result<Vec<Step>, ProvisionError> {
    let file = desired.directory.file(&desired.id);
    let pool = mounted_pool(inventory, &desired.directory)?;
    for other in inventory
        .items
        .iter()
        .filter(|item| item.slot != desired.id.as_str())
    {
        if other.is_on(&file) {
            return Err(ProvisionError::FileTaken {
                file,
                slot: other.slot.clone(),
                id: desired.id.clone(),
            });
        }
        if other.nqn.as_deref() == Some(desired.nqn.as_str()) {
            let (nqn, slot, id) = (desired.nqn.clone(), other.slot.clone(), desired.id.clone());
            return Err(ProvisionError::NqnTaken { nqn, slot, id });
        }
    }
    if let Some(item) = inventory.item(&desired.id) {
        return complete(item, desired, &file);
    }
    if inventory.has_file(&file) {
        return Err(ProvisionError::StrayFile { file });
    }
    if !pool.is_healthy() {
        let state = pool.state.clone().unwrap_or_default();
        return Err(ProvisionError::PoolUnhealthy {
            pool: pool.mount_point.clone(),
            state,
        });
    }
    check_space(inventory, pool, desired.size, space)?;
    let offer = Step::Offer {
        nqn: desired.nqn.clone(),
        port: desired.port,
    };
    Ok(vec![
        Step::Add {
            size: desired.size,
            owner: desired.owner.clone(),
        },
        offer,
        Step::Export,
    ])
}

/// What an existing item of ours still needs.
fn complete(
    item: &DiskItem,
    desired: &Desired,
    file: &BackingFile,
) -> Result<Vec<Step>, ProvisionError> {
    let different = |property, found: String, wanted: String| {
        Err(ProvisionError::Different {
            id: desired.id.clone(),
            property,
            found,
            wanted,
        })
    };
    if item.owner().as_ref() != Some(&desired.owner) {
        return Err(foreign(item, &desired.owner.cluster));
    }
    let Some(disk) = item.file() else {
        return Err(foreign(item, &desired.owner.cluster));
    };
    if !item.is_on(file) {
        return different("file-path", disk.path.clone(), file.file_path());
    }
    if !desired.range.admits(disk.size) {
        return different("size", disk.size.to_string(), desired.size.to_string());
    }
    let offered =
        item.nqn.as_deref() == Some(desired.nqn.as_str()) && item.port == Some(desired.port);
    match (item.exported, offered && !disk.mount_filesystem) {
        (true, true) => Ok(Vec::new()),
        (false, true) => Ok(vec![Step::Export]),
        (false, false) => Ok(vec![
            Step::Offer {
                nqn: desired.nqn.clone(),
                port: desired.port,
            },
            Step::Export,
        ]),
        // Changing the offer of a running export would end its sessions.
        (true, false) if disk.mount_filesystem => {
            different("mount-filesystem", "yes".into(), "no".into())
        }
        (true, false) => different(
            "export",
            format!(
                "{} port {}",
                item.nqn.as_deref().unwrap_or("-"),
                item.port.unwrap_or_default()
            ),
            format!("{} port {}", desired.nqn, desired.port),
        ),
    }
}

/// The steps that remove a volume and its file; none where both are gone.
pub fn delete(
    inventory: &Inventory,
    id: &VolumeId,
    directory: &VolumeDirectory,
    cluster: &ClusterId,
) -> Result<Vec<Step>, ProvisionError> {
    let item = inventory.item(id);
    let file = match item {
        Some(item) => owned_file(item, id, cluster)?,
        None => directory.file(id),
    };
    // A pool that is not mounted shows no files: their absence would mean nothing.
    if !inventory
        .pools
        .iter()
        .any(|pool| pool.mount_point.trim_start_matches('/') == file.pool())
    {
        return Err(ProvisionError::PoolMissing {
            pool: file.pool().to_owned(),
            directory: directory.clone(),
        });
    }
    let other = inventory
        .items
        .iter()
        .find(|other| other.slot != id.as_str() && other.is_on(&file));
    if let Some(other) = other {
        return Err(ProvisionError::FileTaken {
            file,
            slot: other.slot.clone(),
            id: id.clone(),
        });
    }
    let mut steps = Vec::new();
    if let Some(item) = item {
        if item.exported {
            steps.push(Step::Unexport);
        }
        steps.push(Step::RemoveItem);
    }
    if item.is_some() || inventory.has_file(&file) {
        steps.push(Step::RemoveFile);
    }
    Ok(steps)
}

/// What a volume of ours needs to satisfy a larger range: at most one step, and the
/// size that it has or will have.
pub fn expand(
    inventory: &Inventory,
    id: &VolumeId,
    cluster: &ClusterId,
    range: CapacityRange,
    space: Space,
) -> Result<(Option<Step>, Bytes), ProvisionError> {
    let item = inventory
        .item(id)
        .ok_or_else(|| ProvisionError::Missing { id: id.clone() })?;
    let file = owned_file(item, id, cluster)?;
    let size = item.file().map(|disk| disk.size).unwrap_or_default();
    let limit_exceeded = range.limit.filter(|limit| size > *limit);
    if let Some(limit) = limit_exceeded {
        return Err(ProvisionError::CannotShrink {
            id: id.clone(),
            found: size,
            limit,
        });
    }
    let wanted = range.required.unwrap_or(size);
    if wanted <= size {
        return Ok((None, size));
    }
    let wanted = range.choose(size).map_err(|_| ProvisionError::NoSpace {
        pool: file.pool().to_owned(),
        asked: wanted,
        available: range.limit.unwrap_or(Bytes::MAX_VOLUME),
    })?;
    let pool = inventory
        .pools
        .iter()
        .find(|pool| pool.mount_point.trim_start_matches('/') == file.pool());
    let Some(pool) = pool else {
        return Err(ProvisionError::PoolMissing {
            pool: file.pool().to_owned(),
            directory: VolumeDirectory::default(),
        });
    };
    check_space(inventory, pool, wanted.saturating_sub(size), space)?;
    Ok((Some(Step::Grow { size: wanted }), wanted))
}

/// Whether a state read back is a volume that can be used: an item of ours in the slot,
/// exported, on its file, which exists.
pub fn usable(
    state: &VolumeState,
    id: &VolumeId,
    cluster: &ClusterId,
) -> Result<FileDisk, ProvisionError> {
    let item = state
        .item
        .as_ref()
        .ok_or_else(|| ProvisionError::Missing { id: id.clone() })?;
    owned_file(item, id, cluster)?;
    match item.file() {
        Some(disk) if item.exported => Ok(disk.clone()),
        _ => Err(ProvisionError::Different {
            id: id.clone(),
            property: "nvme-tcp-export",
            found: "no".to_owned(),
            wanted: "yes".to_owned(),
        }),
    }
}

/// The backing file of an item, if the item is this volume and this cluster's: by its
/// marker, or, for volumes of the older driver, which knew no marker, by its name and
/// the absence of any other comment.
fn owned_file(
    item: &DiskItem,
    id: &VolumeId,
    cluster: &ClusterId,
) -> Result<BackingFile, ProvisionError> {
    let marked = item.owner().is_some_and(|owner| {
        owner.cluster == *cluster && VolumeId::for_name(cluster, owner.name.as_str()) == *id
    });
    let taken_over = id.form() == Form::Long && item.comment.is_empty();
    let file = item
        .file()
        .and_then(|disk| disk.path.parse::<BackingFile>().ok());
    let stem = format!("/{id}.img");
    match file {
        Some(file) if (marked || taken_over) && file.file_path().ends_with(&stem) => Ok(file),
        _ => Err(foreign(item, cluster)),
    }
}

fn foreign(item: &DiskItem, cluster: &ClusterId) -> ProvisionError {
    let comment = item.comment.chars().take(80).collect();
    ProvisionError::ForeignItem {
        slot: item.slot.clone(),
        comment,
        cluster: cluster.clone(),
    }
}

fn mounted_pool<'a>(
    inventory: &'a Inventory,
    directory: &VolumeDirectory,
) -> Result<&'a Pool, ProvisionError> {
    inventory
        .pool(directory)
        .ok_or_else(|| ProvisionError::PoolMissing {
            pool: directory.pool().to_owned(),
            directory: directory.clone(),
        })
}

fn check_space(
    inventory: &Inventory,
    pool: &Pool,
    asked: Bytes,
    space: Space,
) -> Result<(), ProvisionError> {
    let available = available(inventory, pool, space.reserved, space.overcommit_percent);
    if asked > available {
        return Err(ProvisionError::NoSpace {
            pool: pool.mount_point.clone(),
            asked,
            available,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
