//! Making a volume, or completing one that a crash left half-made.

use super::admit::is_open_or_ours;
use super::{ProvisionError, Space, check_space, foreign, mounted_pool, usable};
use crate::appliance::{DiskItem, Inventory, Step, VolumeState};
use crate::backing_file::{BackingFile, VolumeDirectory};
use crate::bytes::{Bytes, CapacityRange};
use crate::nqn::Nqn;
use crate::volume_id::VolumeId;
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

/// The steps that make the wanted volume; none where it is there already.
pub fn create(
    inventory: &Inventory,
    desired: &Desired,
    space: Space,
) -> Result<Vec<Step>, ProvisionError> {
    let file = desired.directory.file(&desired.id);
    let pool = mounted_pool(inventory, desired.directory.pool())?;
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
        let steps = complete(item, desired, &file)?;
        // Its pool is mounted, so a file that is not to be seen is gone: the volume must
        // not be given out, and whoever takes a made volume for whole would do that.
        return if inventory.has_file(&file) {
            Ok(steps)
        } else {
            Err(ProvisionError::NotReady {
                id: desired.id.clone(),
                exported: item.exported,
                file_exists: false,
            })
        };
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
    // Closed to hosts of nodes it is made all the same: whoever attaches it lets its node in.
    let host = item.allowed_host.as_deref().unwrap_or_default();
    let offered =
        is_named(item, desired) && item.port == Some(desired.port) && is_open_or_ours(item);
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
                "{} port {} for {}",
                item.nqn.as_deref().unwrap_or("-"),
                item.port.unwrap_or_default(),
                if host.is_empty() { "any host" } else { host },
            ),
            format!("{} port {} for any host", desired.nqn, desired.port),
        ),
    }
}

/// Whether the item has the volume's name, in whichever epoch.
fn is_named(item: &DiskItem, desired: &Desired) -> bool {
    let nqn = item.nqn.as_deref().and_then(|nqn| nqn.parse::<Nqn>().ok());
    nqn.and_then(|nqn| nqn.without_epoch(&desired.id)).as_ref() == Some(&desired.nqn)
}

/// The size of the wanted volume, if a state read back shows it whole.
pub fn created(state: &VolumeState, desired: &Desired) -> Result<Bytes, ProvisionError> {
    let disk = usable(state, &desired.id, &desired.owner.cluster)?;
    let file = desired.directory.file(&desired.id);
    let missing = state
        .item
        .as_ref()
        .map(|item| complete(item, desired, &file))
        .transpose()?;
    match missing.as_deref() {
        Some([]) => Ok(disk.size),
        _ => Err(ProvisionError::NotReady {
            id: desired.id.clone(),
            exported: true,
            file_exists: true,
        }),
    }
}
