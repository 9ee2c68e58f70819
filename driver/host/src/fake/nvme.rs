//! [`NvmeHost`] of the model.

use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Controller, ControllerState, Subsystem, Target};
use tokio::time::Instant;

use crate::fake::{Attached, FakeHost, Kernel};
use crate::nvme::{ConnectError, NvmeError, NvmeHost};

#[async_trait]
impl NvmeHost for FakeHost {
    async fn connect(&self, target: &Target) -> Result<String, ConnectError> {
        self.call("connect", |kernel| self.attach(kernel, target))
            .await
    }

    async fn others(&self, known: &[Nqn]) -> Result<Vec<Subsystem>, NvmeError> {
        let is_known = |found: &Subsystem| known.iter().any(|nqn| nqn.as_str() == found.nqn);
        self.call("others", |kernel| {
            let mut found = kernel.subsystems();
            found.retain(|found| !is_known(found));
            Ok(found)
        })
        .await
    }

    async fn subsystem(&self, nqn: &Nqn) -> Result<Option<Subsystem>, NvmeError> {
        self.call("subsystem", |kernel| {
            Ok(kernel
                .subsystems()
                .into_iter()
                .find(|subsystem| subsystem.nqn == nqn.as_str()))
        })
        .await
    }

    /// Tells of every one every time, which is allowed and makes no test depend on what
    /// was asked before.
    async fn changed(&self, nqns: &[Nqn]) -> Result<Vec<(Nqn, Option<Subsystem>)>, NvmeError> {
        self.call("changed", |kernel| {
            let mut found = kernel.subsystems();
            let mut reading = |nqn: &Nqn| {
                let at = found.iter().position(|found| found.nqn == nqn.as_str())?;
                Some(found.swap_remove(at))
            };
            Ok(nqns.iter().map(|nqn| (nqn.clone(), reading(nqn))).collect())
        })
        .await
    }

    async fn answers(&self, target: &Target, _within: Duration) -> bool {
        let target = self.array.get(target.nqn.as_str());
        target.is_some_and(|target| target.is_reachable)
    }

    async fn disconnect(&self, nqn: &Nqn) -> Result<(), NvmeError> {
        self.call("disconnect", |kernel| {
            kernel
                .attached
                .retain(|attached| attached.nqn != nqn.as_str());
            Ok(())
        })
        .await
    }

    async fn rescan(&self, nqn: &Nqn) -> Result<(), NvmeError> {
        self.call("rescan", |kernel| {
            for attached in kernel.of(nqn)? {
                if let Some(target) = self.array.get(nqn.as_str()) {
                    attached.namespace.size = target.size;
                    attached.appears = Instant::now();
                }
            }
            Ok(())
        })
        .await
    }

    /// What has no loss time is gone with the next attempt to connect it, here at once.
    async fn set_loss_time(&self, nqn: &Nqn, seconds: Option<u32>) -> Result<(), NvmeError> {
        self.call("set_loss_time", |kernel| {
            for attached in kernel.of(nqn)? {
                attached.loss_time = seconds;
            }
            kernel.attached.retain(|attached| {
                let is_away = attached.controller.state == ControllerState::Connecting;
                !(is_away && attached.loss_time == Some(0))
            });
            Ok(())
        })
        .await
    }
}

impl FakeHost {
    fn attach(&self, kernel: &mut Kernel, target: &Target) -> Result<String, ConnectError> {
        let nqn = target.nqn.clone();
        let place = (target.address, target.port);
        let address = format!("{}:{}", target.address, target.port);
        if let Some(present) = kernel.attached.iter().find(|attached| {
            attached.nqn == nqn.as_str()
                && attached.controller.address == Some(place)
                && attached.controller.host_nqn.as_deref() == Some(target.host.nqn.as_str())
        }) {
            return Ok(present.controller.name.clone());
        }
        let exported = match self.array.get(nqn.as_str()) {
            Some(exported) if !exported.is_reachable => {
                return Err(ConnectError::NoAnswer { nqn, address });
            }
            Some(exported) if exported.is_exported => exported,
            Some(_) | None => return Err(ConnectError::Rejected { nqn, address }),
        };
        let controller = Controller {
            name: format!("nvme{}", kernel.free_instance()),
            state: ControllerState::Live,
            address: Some(place),
            host_nqn: Some(target.host.nqn.to_string()),
        };
        let name = controller.name.clone();
        let mut attached = Attached::new(kernel, controller, &nqn, &exported);
        attached.loss_time = target.tuning.ctrl_loss_tmo;
        kernel.attached.push(attached);
        Ok(name)
    }
}

impl Kernel {
    fn of(&mut self, nqn: &Nqn) -> Result<Vec<&mut Attached>, NvmeError> {
        let found: Vec<_> = self
            .attached
            .iter_mut()
            .filter(|attached| attached.nqn == nqn.as_str())
            .collect();
        if found.is_empty() {
            Err(NvmeError::NotConnected { nqn: nqn.clone() })
        } else {
            Ok(found)
        }
    }

    /// Two connections to one NQN are two paths of one device, as with multipath.
    fn subsystems(&self) -> Vec<Subsystem> {
        let mut found: Vec<Subsystem> = Vec::new();
        for attached in &self.attached {
            match found.iter_mut().find(|other| other.nqn == attached.nqn) {
                Some(subsystem) => subsystem.controllers.push(attached.controller.clone()),
                None => found.push(Subsystem {
                    nqn: attached.nqn.clone(),
                    controllers: vec![attached.controller.clone()],
                    namespaces: if attached.appears <= Instant::now() {
                        vec![attached.namespace.clone()]
                    } else {
                        Vec::new()
                    },
                }),
            }
        }
        found
    }
}
