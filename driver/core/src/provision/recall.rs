//! Offering a volume again under the name that its nodes were told, where the device has
//! forgotten it: a device that loses power may come back with a configuration of before.

use super::{ProvisionError, Renewal, ours, owned_file};
use crate::appliance::{DiskItem, Step, VolumeState};
use crate::cluster_id::ClusterId;
use crate::nqn::Nqn;
use crate::parameters::DEFAULT_NVME_PORT;
use crate::volume_id::VolumeId;

/// What a VolumeAttachment of a volume says of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Whether the volume is attached, and nobody is about to take it away.
    pub settled: bool,
    /// The name of an epoch that the node was told; `None` where it goes by the PersistentVolume.
    pub nqn: Option<&'a Nqn>,
}

/// The name that the device has forgotten. `told` are all VolumeAttachments of the volume that
/// are attached or were granted: what was only wished for changes no export.
///
/// `None` unless all of them are settled and were told one name, of an epoch, and the volume is
/// offered under another that differs in its epoch alone. So a name is never taken back to one
/// without an epoch, which whoever was shut out may know, and nothing is recalled while
/// somebody else is about to get the volume.
#[must_use]
pub fn forgotten(item: &DiskItem, id: &VolumeId, told: &[Told<'_>]) -> Option<Nqn> {
    let wanted = told.first()?.nqn?;
    let agree = |told: &Told<'_>| told.settled && told.nqn == Some(wanted);
    let shown: Nqn = item.nqn.as_deref()?.parse().ok()?;
    let base = wanted.without_epoch(id)?;
    let is_forgotten = item.exported
        && told.iter().all(agree)
        && shown != *wanted
        && base != *wanted
        && shown.without_epoch(id)? == base;
    is_forgotten.then(|| wanted.clone())
}

/// What is to be done for the export of a volume of ours to have the name that was forgotten;
/// `None` where none was.
pub fn recall(
    state: &VolumeState,
    id: &VolumeId,
    cluster: &ClusterId,
    told: &[Told<'_>],
) -> Result<Option<Renewal>, ProvisionError> {
    let item = ours(state, id, cluster)?;
    let shown = item.nqn.as_deref().and_then(|nqn| nqn.parse().ok());
    let (Some(from), Some(nqn)) = (shown, forgotten(item, id, told)) else {
        return Ok(None);
    };
    let renewal = Step::Renew {
        from,
        nqn: nqn.clone(),
        port: item.port.unwrap_or(DEFAULT_NVME_PORT),
    };
    Ok(Some(Renewal {
        file: owned_file(item, id, cluster)?,
        owner: DiskItem::owner(item),
        nqn,
        steps: vec![renewal],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::DiskKind;
    use crate::nqn::{Epoch, NqnPrefix};

    fn id() -> VolumeId {
        VolumeId::for_name(&"lab".parse().unwrap(), "pvc-1")
    }

    fn name(epoch: Option<&str>) -> Nqn {
        let base = NqnPrefix::default().nqn(&id());
        let of = |epoch| base.in_epoch(&id(), &Epoch::of(epoch)).unwrap();
        epoch.map_or_else(|| base.clone(), of)
    }

    fn offered(nqn: &Nqn, exported: bool) -> DiskItem {
        DiskItem {
            slot: id().to_string(),
            comment: String::new(),
            kind: DiskKind::Other("file".into()),
            exported,
            nqn: Some(nqn.to_string()),
            port: None,
            allowed_host: None,
        }
    }

    #[test]
    fn only_the_one_name_that_every_node_was_told_is_recalled() {
        let [base, first, second] = [None, Some("first"), Some("second")].map(name);
        let told = |nqn| Told { settled: true, nqn };
        let one = [told(Some(&second))];
        let find = |item: &DiskItem, told: &[Told<'_>]| forgotten(item, &id(), told);
        for old in [&base, &first] {
            assert_eq!(find(&offered(old, true), &one), Some(second.clone()));
            let both = [one[0], one[0]];
            assert_eq!(find(&offered(old, true), &both), Some(second.clone()));
            assert_eq!(find(&offered(old, false), &one), None, "not offered");
            let leaving = Told {
                settled: false,
                ..one[0]
            };
            for others in [told(None), told(Some(&first)), leaving] {
                assert_eq!(find(&offered(old, true), &[one[0], others]), None);
                assert_eq!(find(&offered(old, true), &[others, one[0]]), None);
            }
            assert_eq!(find(&offered(old, true), &[]), None);
        }
        assert_eq!(find(&offered(&second, true), &one), None, "it is so");
        assert_eq!(find(&offered(&first, true), &[told(None)]), None);
        assert_eq!(find(&offered(&first, true), &[told(Some(&base))]), None);
        let foreign = "nqn.2000-02.com.mikrotik:other".parse().unwrap();
        assert_eq!(find(&offered(&foreign, true), &one), None);
    }
}
