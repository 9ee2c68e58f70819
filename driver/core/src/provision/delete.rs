//! Removing a volume and its file, and nothing else.

use super::{ProvisionError, marked, mounted_pool, owned_file};
use crate::appliance::{DiskItem, Inventory, Step};
use crate::backing_file::{BackingFile, VolumeDirectory};
use crate::cluster_id::ClusterId;
use crate::volume_id::VolumeId;
use crate::volume_name::Owner;

/// What is to be removed of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its backing file, wherever it lies.
    pub file: BackingFile,
    /// The marker of its item, where there is an item that has one.
    pub owner: Option<Owner>,
    /// The steps; none where nothing is left of the volume.
    pub steps: Vec<Step>,
}

/// What is to be removed of a volume, whose file lies in `base` or below it. `begun` is
/// the file that an earlier removal of this volume set out to remove, if one is known.
pub fn delete(
    inventory: &Inventory,
    id: &VolumeId,
    base: &VolumeDirectory,
    cluster: &ClusterId,
    begun: Option<&BackingFile>,
) -> Result<Removal, ProvisionError> {
    let item = inventory.item(id);
    let file = match item {
        Some(item) => owned_file(item, id, cluster)?,
        None => left_file(inventory, id, base, cluster, begun)?,
    };
    // A pool that is not mounted shows no files: their absence would mean nothing.
    mounted_pool(inventory, file.pool())?;
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
    Ok(Removal {
        file,
        owner: item.and_then(DiskItem::owner),
        steps,
    })
}

/// The file that a deletion cut short has left: named after the volume, in the base
/// directory or, where a StorageClass chose another one, below it.
///
/// Below it a name alone proves nothing: a person may keep a copy of a volume there, and
/// a repeated deletion of a volume that is gone must not take it. So there the file is
/// one that a removal was begun for, or lies beside another volume of this cluster.
fn left_file(
    inventory: &Inventory,
    id: &VolumeId,
    base: &VolumeDirectory,
    cluster: &ClusterId,
    begun: Option<&BackingFile>,
) -> Result<BackingFile, ProvisionError> {
    let name = format!("/{id}.img");
    let is_left = |file: &BackingFile| file.file_path().ends_with(&name) && file.is_below(base);
    let mut left = inventory
        .files
        .iter()
        .filter_map(|entry| entry.name.parse::<BackingFile>().ok())
        .filter(is_left);
    match (left.next(), left.next()) {
        (None, _) => Ok(base.file(id)),
        (Some(file), None)
            if file == base.file(id)
                || begun == Some(&file)
                || is_beside_ours(inventory, &file, cluster) =>
        {
            Ok(file)
        }
        (Some(file), _) => Err(ProvisionError::StrayFile { file }),
    }
}

/// Whether a volume that carries this cluster's marker lies in the file's directory.
fn is_beside_ours(inventory: &Inventory, file: &BackingFile, cluster: &ClusterId) -> bool {
    inventory
        .items
        .iter()
        .filter_map(|item| marked(item, cluster))
        .filter_map(|(_, disk)| disk.path.parse::<BackingFile>().ok())
        .any(|other| other.directory() == file.directory())
}
