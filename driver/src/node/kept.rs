//! The numbers of devices that raw targets lead to.
//!
//! While a raw volume is published, this node keeps the number of its device from being
//! given to another, also when the device itself is gone, and so a target never leads to
//! another volume. What a new process cannot keep any more is withdrawn: see `withdraw`.
//!
//! The host does that without having the block device open, where it can. The kernel writes
//! back and drops what is cached of a device when the last one closes it, and that must be
//! the pod: another node may have the volume too, and a plugin that closes it last would not
//! end before its device is back. Where it cannot, and where somebody else has it open, a
//! raw volume is flushed before its session ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rds_csi_core::nvme::DeviceNumber;
use rds_csi_core::volume_id::VolumeId;
use rds_csi_host::block::{Device, Kept};

use super::{Node, NodeError};

/// By volume: its device of now and, until all targets have that, the ones before.
#[derive(Debug, Default)]
pub(super) struct KeptDevices(Mutex<BTreeMap<VolumeId, BTreeMap<DeviceNumber, Kept>>>);

impl KeptDevices {
    fn devices(&self) -> MutexGuard<'_, BTreeMap<VolumeId, BTreeMap<DeviceNumber, Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Keeps the number of a raw volume's device, beside those that are kept of it.
    pub(super) async fn keep(&self, id: &VolumeId, device: &Device) -> Result<(), NodeError> {
        let number = device.namespace.number;
        if self.keeps_number(id, number) {
            return Ok(());
        }
        let kept = self.host.keep(device).await?;
        let mut devices = self.kept.devices();
        devices.entry(id.clone()).or_default().insert(number, kept);
        Ok(())
    }

    pub(super) fn keeps_number(&self, id: &VolumeId, number: DeviceNumber) -> bool {
        let devices = self.kept.devices();
        devices
            .get(id)
            .is_some_and(|kept| kept.contains_key(&number))
    }

    /// Lets every number of the volume go but this one, which all its targets have by now.
    pub(super) fn keep_only(&self, id: &VolumeId, number: DeviceNumber) {
        if let Some(kept) = self.kept.devices().get_mut(id) {
            kept.retain(|other, _| *other == number);
        }
    }

    /// Whether any number of the volume is kept.
    pub(super) fn keeps(&self, id: &VolumeId) -> bool {
        self.kept.devices().contains_key(id)
    }

    /// Lets the numbers of a volume go, which is about to be gone from this node. What was
    /// written to its device must have been flushed.
    pub(super) fn let_go(&self, id: &VolumeId) {
        self.kept.devices().remove(id);
    }
}
