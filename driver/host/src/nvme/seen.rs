//! What a reading of a subsystem means for the volume behind it.
//!
//! Pure. A device counts only with a live controller and a size: before that the kernel
//! lists a block device that cannot do I/O yet.

use rds_csi_core::bytes::Bytes;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::Subsystem;

use crate::block::Device;
use crate::nvme::NvmeError;

/// What the kernel shows of a volume's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No controller.
    Absent,
    /// Controllers, but no device that does I/O; the text says what there is.
    Waiting(String),
    /// The device.
    Live(Device),
}

impl Seen {
    /// What a reading of the subsystem shows. More than one namespace is an error: no
    /// volume of this driver has that.
    pub fn of(nqn: &Nqn, subsystem: Option<&Subsystem>) -> Result<Self, NvmeError> {
        // Without controllers a subsystem lingers only because its device is still held.
        let Some(subsystem) = subsystem.filter(|found| !found.controllers.is_empty()) else {
            return Ok(Self::Absent);
        };
        match subsystem.namespaces.as_slice() {
            [namespace] if subsystem.is_live() && namespace.size > Bytes::default() => {
                Ok(Self::Live(Device {
                    nqn: nqn.clone(),
                    namespace: namespace.clone(),
                }))
            }
            namespaces @ ([] | [_]) => {
                let states: Vec<_> = subsystem
                    .controllers
                    .iter()
                    .map(|controller| format!("{} {}", controller.name, controller.state))
                    .collect();
                let namespace = match namespaces {
                    [] => "no namespace".to_owned(),
                    [namespace, ..] => format!("{} of {}", namespace.name, namespace.size),
                };
                Ok(Self::Waiting(format!("{}, {namespace}", states.join(", "))))
            }
            more => Err(NvmeError::Ambiguous {
                nqn: nqn.clone(),
                names: more.iter().map(|found| found.name.clone()).collect(),
            }),
        }
    }

    /// The device, or in words why there is none to work with.
    pub fn live(self) -> Result<Device, String> {
        match self {
            Self::Live(device) => Ok(device),
            Self::Waiting(seen) => Err(seen),
            Self::Absent => Err("no session".to_owned()),
        }
    }
}
