//! [`NvmeHost`] by `/dev/nvme-fabrics` and sysfs.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rds_csi_core::nqn::Nqn;
use rds_csi_core::nvme::{Controller, ControllerState, Subsystem, Target};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::linux::Linux;
use crate::nvme::{ConnectError, NvmeError, NvmeHost, fabrics, sysfs};
use crate::sys::{Root, files};

/// For reading sysfs.
const SHORT: Duration = Duration::from_secs(10);
/// For a connection: the kernel itself gives up after some 11 s.
const CONNECT: Duration = Duration::from_secs(30);
/// For deleting a controller: the kernel waits for its requests to fail.
const DELETE: Duration = Duration::from_secs(45);

#[async_trait]
impl NvmeHost for Linux {
    async fn connect(&self, target: &Target) -> Result<String, ConnectError> {
        let _one_at_a_time = self.connections.lock().await;
        let path = self.root.dev.join("nvme-fabrics");
        let (root, owned) = (self.root.clone(), target.clone());
        self.calls
            .run("write", &path, CONNECT, move || connect(&root, &owned))
            .await
            .map_err(|source| ConnectError::Call {
                nqn: target.nqn.clone(),
                source,
            })?
    }

    async fn others(&self, known: &[Nqn]) -> Result<Vec<Subsystem>, NvmeError> {
        let (root, known) = (self.root.clone(), known.to_vec());
        let path = root.sys.join("class/nvme-subsystem");
        self.looks
            .run("read", &path, SHORT, move || sysfs::others(&root, &known))
            .await
            .map_err(NvmeError::Read)?
    }

    async fn subsystem(&self, nqn: &Nqn) -> Result<Option<Subsystem>, NvmeError> {
        let (root, owned) = (self.root.clone(), nqn.clone());
        let path = root.sys.join("class/nvme-subsystem");
        self.looks
            .run("read", &path, SHORT, move || {
                sysfs::subsystem(&root, &owned)
            })
            .await
            .map_err(NvmeError::Read)?
    }

    async fn changed(&self, nqns: &[Nqn]) -> Result<Vec<(Nqn, Option<Subsystem>)>, NvmeError> {
        let (root, pulse, nqns) = (self.root.clone(), self.pulse.clone(), nqns.to_vec());
        let path = self.root.sys.join("class/nvme");
        self.looks
            .run("read", &path, SHORT, move || pulse.changed(&root, &nqns))
            .await
            .map_err(NvmeError::Read)?
    }

    async fn answers(&self, target: &Target, within: Duration) -> bool {
        let connecting = TcpStream::connect((target.address, target.port));
        matches!(timeout(within, connecting).await, Ok(Ok(_)))
    }

    async fn disconnect(&self, nqn: &Nqn) -> Result<(), NvmeError> {
        let _one_at_a_time = self.connections.lock().await;
        let deadline = Instant::now() + DELETE;
        for controller in self.controllers(nqn).await? {
            self.control(nqn, &controller.name, "delete_controller", "1", DELETE)
                .await?;
        }
        let mut pause = Duration::from_millis(5);
        loop {
            let left = self.controllers(nqn).await?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(NvmeError::StillThere {
                    nqn: nqn.clone(),
                    names: left.into_iter().map(|controller| controller.name).collect(),
                    seconds: DELETE.as_secs(),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    async fn rescan(&self, nqn: &Nqn) -> Result<(), NvmeError> {
        self.control_all(nqn, "rescan_controller", "1").await
    }

    async fn set_loss_time(&self, nqn: &Nqn, seconds: Option<u32>) -> Result<(), NvmeError> {
        self.control_all(nqn, "ctrl_loss_tmo", &fabrics::seconds(seconds))
            .await
    }
}

impl Linux {
    async fn controllers(&self, nqn: &Nqn) -> Result<Vec<Controller>, NvmeError> {
        Ok(self
            .subsystem(nqn)
            .await?
            .map(|subsystem| subsystem.controllers)
            .unwrap_or_default())
    }

    async fn control_all(&self, nqn: &Nqn, file: &str, value: &str) -> Result<(), NvmeError> {
        let controllers = self.controllers(nqn).await?;
        if controllers.is_empty() {
            return Err(NvmeError::NotConnected { nqn: nqn.clone() });
        }
        for controller in controllers {
            self.control(nqn, &controller.name, file, value, SHORT)
                .await?;
        }
        Ok(())
    }

    /// Writes an attribute of a controller of this NQN; of one that is gone, or another's by now,
    /// nothing is written.
    async fn control(
        &self,
        nqn: &Nqn,
        controller: &str,
        file: &str,
        value: &str,
        within: Duration,
    ) -> Result<(), NvmeError> {
        let directory = sysfs::controller_directory(&self.root, controller);
        let (proof, attribute) = (directory.join("subsysnqn"), directory.join(file));
        let (expected, file, value) = (nqn.clone(), attribute.clone(), value.to_owned());
        self.calls
            .io("write", &attribute, within, move || {
                write_if_owned(expected.as_str(), &proof, &file, &value)
            })
            .await
            .map(drop)
            .map_err(|source| NvmeError::Write {
                nqn: nqn.clone(),
                source,
            })
    }
}

/// Connects, unless a connection is there. Blocks until the kernel has answered.
fn connect(root: &Root, target: &Target) -> Result<String, ConnectError> {
    if let Some(name) = connected(root, target)? {
        return Ok(name);
    }
    let path = root.dev.join("nvme-fabrics");
    match fabrics::write(&path, &fabrics::options(target)) {
        Ok(reply) => fabrics::controller(&reply).ok_or_else(|| ConnectError::Reply {
            nqn: target.nqn.clone(),
            reply,
        }),
        Err(refusal) => {
            if fabrics::is_connected(&refusal)
                && let Some(name) = connected(root, target)?
            {
                return Ok(name);
            }
            Err(fabrics::meaning(&path, target, refusal))
        }
    }
}

/// A controller for exactly this target, unless it is on its way out.
fn connected(root: &Root, target: &Target) -> Result<Option<String>, ConnectError> {
    let subsystem = sysfs::subsystem(root, &target.nqn).map_err(|source| ConnectError::Look {
        nqn: target.nqn.clone(),
        source,
    })?;
    Ok(subsystem
        .into_iter()
        .flat_map(|subsystem| subsystem.controllers)
        .find(|controller| {
            controller.address == Some((target.address, target.port))
                && controller.host_nqn.as_deref() == Some(target.host.nqn.as_str())
                && !matches!(
                    controller.state,
                    ControllerState::Deleting | ControllerState::Dead
                )
        })
        .map(|controller| controller.name))
}

/// The file is opened before its owner is asked: names are given anew, but an open
/// attribute stays that of the device that it was opened for and fails once that is gone.
fn write_if_owned(nqn: &str, proof: &Path, attribute: &Path, value: &str) -> io::Result<bool> {
    let written = (|| {
        let mut file = OpenOptions::new().write(true).open(attribute)?;
        if files::attribute(proof)? != nqn {
            return Ok(false);
        }
        file.write_all(value.as_bytes())?;
        Ok(true)
    })();
    match written {
        Err(error) if sysfs::is_gone(&error) => Ok(false),
        other => other,
    }
}

#[cfg(test)]
mod tests;
