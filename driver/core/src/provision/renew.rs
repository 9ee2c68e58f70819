//! Offering a volume anew, under a name that no session of before knows.

use super::{ProvisionError, ours, owned_file};
use crate::appliance::{DiskItem, Step, VolumeState};
use crate::backing_file::BackingFile;
use crate::cluster_id::ClusterId;
use crate::nqn::{Epoch, Nqn};
use crate::parameters::DEFAULT_NVME_PORT;
use crate::volume_id::VolumeId;
use crate::volume_name::Owner;

/// What is to be done for a volume's export to be of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Its backing file.
    pub file: BackingFile,
    /// The marker of its item, where it has one.
    pub owner: Option<Owner>,
    /// Its name in that epoch.
    pub nqn: Nqn,
    /// The steps; none where it is offered so already.
    pub steps: Vec<Step>,
}

/// What is to be done for the export of a volume of ours to be of `epoch`: all sessions end
/// with the old export, before the new name is set. A volume that is not exported may be one
/// whose renewal was cut short, so it is completed: as it was `made`, with the NQN and port of
/// its PersistentVolume, where the device shows neither of an item that is not exported.
pub fn renew(
    state: &VolumeState,
    id: &VolumeId,
    cluster: &ClusterId,
    epoch: &Epoch,
    made: Option<(&Nqn, u16)>,
) -> Result<Renewal, ProvisionError> {
    let item = ours(state, id, cluster)?;
    let file = owned_file(item, id, cluster)?;
    if !state.file_exists {
        return Err(ProvisionError::NotReady {
            id: id.clone(),
            exported: item.exported,
            file_exists: false,
        });
    }
    let shown = item.nqn.as_deref().filter(|nqn| !nqn.is_empty());
    let from: Option<Nqn> = shown.and_then(|nqn| nqn.parse().ok());
    let made_as = made.map(|(nqn, _)| nqn).filter(|_| shown.is_none());
    let nqn = from
        .as_ref()
        .or(made_as)
        .and_then(|nqn| nqn.in_epoch(id, epoch))
        .ok_or_else(|| ProvisionError::Different {
            id: id.clone(),
            property: "nvme-tcp-server-nqn",
            found: shown.unwrap_or_default().to_owned(),
            wanted: format!("a name that ends in :{id}"),
        })?;
    let made_at = made.map(|(_, port)| port);
    let port = item.port.or(made_at).unwrap_or(DEFAULT_NVME_PORT);
    let steps = match from {
        Some(from) if from == nqn && item.exported => Vec::new(),
        Some(from) if from == nqn => vec![Step::Export],
        Some(from) => vec![Step::Renew {
            from,
            nqn: nqn.clone(),
            port,
        }],
        None => {
            let nqn = nqn.clone();
            vec![Step::Unexport, Step::Offer { nqn, port }, Step::Export]
        }
    };
    Ok(Renewal {
        file,
        owner: DiskItem::owner(item),
        nqn,
        steps,
    })
}

/// The name under which nodes find a volume, where it is not the one that its
/// PersistentVolume says: the export is of an epoch.
#[must_use]
pub fn renewed(item: &DiskItem, id: &VolumeId) -> Option<Nqn> {
    let nqn: Nqn = item.nqn.as_deref()?.parse().ok()?;
    let base = nqn.without_epoch(id)?;
    (base != nqn).then_some(nqn)
}
