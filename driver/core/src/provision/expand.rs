//! Growing a volume. It never shrinks: the device may cut data off.

use super::{ProvisionError, Space, check_space, mounted_pool, owned_file};
use crate::appliance::{DiskItem, Inventory, Step};
use crate::backing_file::BackingFile;
use crate::bytes::{Bytes, CapacityRange};
use crate::cluster_id::ClusterId;
use crate::volume_id::VolumeId;
use crate::volume_name::Owner;

/// What is to be done for a volume to satisfy a larger range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Its backing file.
    pub file: BackingFile,
    /// The marker of its item, where it has one.
    pub owner: Option<Owner>,
    /// The step, unless it is large enough.
    pub step: Option<Step>,
    /// The size that it has or will have.
    pub size: Bytes,
    /// By how much it grows.
    pub added: Bytes,
}

/// What is to be done for a volume of ours to satisfy a larger range.
pub fn expand(
    inventory: &Inventory,
    id: &VolumeId,
    cluster: &ClusterId,
    range: CapacityRange,
    space: Space,
) -> Result<Growth, ProvisionError> {
    let item = inventory
        .item(id)
        .ok_or_else(|| ProvisionError::Missing { id: id.clone() })?;
    let file = owned_file(item, id, cluster)?;
    let found = item.file().map(|disk| disk.size).unwrap_or_default();
    if let Some(limit) = range.limit.filter(|limit| found > *limit) {
        return Err(ProvisionError::CannotShrink {
            id: id.clone(),
            found,
            limit,
        });
    }
    let owner = DiskItem::owner(item);
    if range.required.is_none_or(|required| required <= found) {
        return Ok(Growth {
            file,
            owner,
            step: None,
            size: found,
            added: Bytes::default(),
        });
    }
    let size = range.choose(found)?;
    let added = size.saturating_sub(found);
    check_space(
        inventory,
        mounted_pool(inventory, file.pool())?,
        added,
        space,
    )?;
    Ok(Growth {
        file,
        owner,
        step: Some(Step::Grow { size }),
        size,
        added,
    })
}
