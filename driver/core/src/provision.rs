//! Plans for making, growing and removing a volume on the device.
//!
//! Each plan is a function of one complete reading: what is there, and what is wanted,
//! give the steps that are missing. Taken, the same plan over a new reading is empty;
//! that is all there is to idempotency, to retries after an unknown outcome, and to
//! volumes that a crash left half-made.
//!
//! Nothing here ever names an item without our ownership marker as something to change
//! or remove, and an existing file is never taken for a fresh one.

use crate::appliance::{DiskItem, FileDisk, Inventory, Pool, VolumeState};
use crate::backing_file::BackingFile;
use crate::bytes::Bytes;
use crate::cluster_id::ClusterId;
use crate::volume_id::{Form, VolumeId};

mod admit;
mod create;
mod delete;
mod error;
mod expand;
mod recall;
mod renew;

pub use admit::{admit, enforceable};
pub use create::{Desired, create, created};
pub use delete::{Removal, delete};
pub use error::ProvisionError;
pub use expand::{Growth, expand};
pub use recall::{Told, forgotten, recall};
pub use renew::{Renewal, renew, renewed};

/// What may still be promised from a pool: its size times the over-commit ratio, less
/// everything promised already, and no more than its free space times the ratio, because
/// files that are no disks take space too. What is `reserved` has taken no space yet, so
/// it counts against both. The ratio is in hundredths: 100 is 1.0.
#[must_use]
pub fn available(
    inventory: &Inventory,
    pool: &Pool,
    reserved: Bytes,
    overcommit_percent: u32,
) -> Bytes {
    let share = |bytes: Bytes| {
        let share = u128::from(bytes.get()) * u128::from(overcommit_percent) / 100;
        Bytes::new(u64::try_from(share).unwrap_or(u64::MAX))
    };
    share(pool.size)
        .saturating_sub(inventory.promised(pool))
        .min(share(pool.free))
        .saturating_sub(reserved)
}

/// The volume that an item is by its own marker, where it is one of this cluster's: an
/// item that carries the marker of another slot is none.
#[must_use]
pub fn marked<'a>(item: &'a DiskItem, cluster: &ClusterId) -> Option<(VolumeId, &'a FileDisk)> {
    let id: VolumeId = item.slot.parse().ok()?;
    item.owner()?;
    owned_file(item, &id, cluster).ok()?;
    Some((id, item.file()?))
}

/// The volume that an item is if it is one of this cluster's, by its marker or as one of the
/// older driver. The latter say nothing of their cluster: it is this one's if it has attachments
/// of it.
#[must_use]
pub fn named(item: &DiskItem, cluster: &ClusterId) -> Option<VolumeId> {
    let id: VolumeId = item.slot.parse().ok()?;
    owned_file(item, &id, cluster).is_ok().then_some(id)
}

/// The space rules of a create: promises beyond the reading, and how far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Promised by calls under way and not in the reading.
    pub reserved: Bytes,
    /// How much may be promised, in hundredths of the pool's size.
    pub overcommit_percent: u32,
}

/// The item in a state read back, if it is a volume of this cluster.
pub fn ours<'a>(
    state: &'a VolumeState,
    id: &VolumeId,
    cluster: &ClusterId,
) -> Result<&'a DiskItem, ProvisionError> {
    let item = state
        .item
        .as_ref()
        .ok_or_else(|| ProvisionError::Missing { id: id.clone() })?;
    owned_file(item, id, cluster).map(|_| item)
}

/// The item in a state read back, if it is a volume of this cluster that nodes can use:
/// exported, from a file that exists.
pub fn usable<'a>(
    state: &'a VolumeState,
    id: &VolumeId,
    cluster: &ClusterId,
) -> Result<&'a FileDisk, ProvisionError> {
    let item = ours(state, id, cluster)?;
    match item.file() {
        Some(disk) if item.exported && state.file_exists => Ok(disk),
        _ => Err(ProvisionError::NotReady {
            id: id.clone(),
            exported: item.exported,
            file_exists: state.file_exists,
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
    let marked = item
        .owner()
        .is_some_and(|owner| owner.cluster == *cluster && id.is_for(cluster, owner.name.as_str()));
    let taken_over = id.form() == Form::Long && item.comment.is_empty();
    let stem = format!("/{id}.img");
    match item.backing_file() {
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

/// The mounted pool of this mount point.
fn mounted_pool<'a>(
    inventory: &'a Inventory,
    mount_point: &str,
) -> Result<&'a Pool, ProvisionError> {
    let pool = inventory
        .pools
        .iter()
        .find(|pool| pool.mount_point.trim_start_matches('/') == mount_point);
    pool.ok_or_else(|| ProvisionError::PoolMissing {
        pool: mount_point.to_owned(),
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
