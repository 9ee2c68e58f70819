//! Faults at a chosen call, and how each port's errors say so.

use std::future::pending;
use std::io;
use std::path::Path;

use crate::block::{DeviceError, FormatError, GrowError, StatsError};
use crate::fake::{FakeHost, Kernel};
use crate::mounter::MountError;
use crate::nvme::{ConnectError, NvmeError};
use crate::sys::CallError;

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and changes nothing.
    Before,
    /// It takes effect and then reports a timeout: the caller cannot know.
    After,
    /// It never returns and changes nothing.
    Hang,
}

/// An error that can carry a failed system call.
pub(super) trait Carries: Sized {
    fn carry(source: CallError) -> Self;
}

impl Carries for NvmeError {
    fn carry(source: CallError) -> Self {
        Self::Read(source)
    }
}

impl Carries for ConnectError {
    fn carry(source: CallError) -> Self {
        Self::Look {
            nqn: injected_nqn(),
            source: NvmeError::Read(source),
        }
    }
}

impl Carries for MountError {
    fn carry(source: CallError) -> Self {
        Self::Table(source)
    }
}

impl Carries for DeviceError {
    fn carry(source: CallError) -> Self {
        Self::Call {
            device: "injected".to_owned(),
            source,
        }
    }
}

impl Carries for FormatError {
    fn carry(source: CallError) -> Self {
        Self::Examine {
            device: "injected".to_owned(),
            source: Box::new(DeviceError::carry(source)),
        }
    }
}

impl Carries for GrowError {
    fn carry(source: CallError) -> Self {
        Self::Mount {
            path: "injected".into(),
            source,
        }
    }
}

impl Carries for StatsError {
    fn carry(source: CallError) -> Self {
        Self::Statvfs {
            path: "injected".into(),
            source,
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant that is an NQN")]
fn injected_nqn() -> rds_csi_core::nqn::Nqn {
    "nqn.2014-08.org.example:injected".parse().expect("an NQN")
}

/// A refusal of the model itself, with the number that Linux would give.
pub(super) fn refused(call: &'static str, path: &Path, errno: crate::sys::Errno) -> CallError {
    CallError::failed(call, path, io::Error::from_raw_os_error(errno as i32))
}

impl FakeHost {
    /// Counts a call and lets it meet its fault.
    pub(super) async fn call<T: Send, E: Carries + Send>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut Kernel) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let fault = {
            let mut kernel = self.kernel();
            kernel.calls += 1;
            kernel.log.push(name.to_owned());
            let call = kernel.calls;
            kernel.faults.remove(&call)
        };
        match fault {
            None => work(&mut self.kernel()),
            Some(Fault::Before) => Err(E::carry(CallError::failed(
                name,
                Path::new("injected"),
                io::Error::other("injected fault"),
            ))),
            Some(Fault::After) => {
                // Not in one expression: what is dropped may want the kernel too.
                let done = work(&mut self.kernel());
                drop(done?);
                Err(E::carry(CallError::TimedOut {
                    call: name,
                    path: "injected".into(),
                    seconds: 0,
                }))
            }
            Some(Fault::Hang) => pending().await,
        }
    }
}
