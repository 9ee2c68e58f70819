//! Operations that run to their end, whatever their caller does.
//!
//! The server drops a handler's future when the client's deadline passes or its
//! connection ends. A future dropped between two steps on a device leaves half a change
//! behind, and, worse, its guard would let the next call start while the device still
//! works on the last one. So everything that changes something runs in a task of its
//! own, which owns the volume's guard: a repeated call meets `ABORTED` until it ends.
//! Shutdown waits for these tasks. Reads need none of this.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use rds_csi_core::kind::{Failure, Kind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::{Instrument as _, error};

use crate::inflight::VolumeGuard;
use crate::status::status;

/// The operations under way. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

/// Why an operation has no result of its own.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    /// Not begun; another process will take the next call.
    #[error("{name} was not begun: the driver is shutting down")]
    ShuttingDown { name: &'static str },
    /// A defect of this program.
    #[error("{name} panicked: {message}")]
    Panicked { name: &'static str, message: String },
    /// The runtime ended under it, so nobody knows how far it came.
    #[error("{name} was cut off by the end of the driver")]
    CutOff { name: &'static str },
}

impl Failure for TaskError {
    fn kind(&self) -> Kind {
        match self {
            // A panic too may come after a step that took effect: whoever asked must
            // look again, and not forget the volume.
            Self::ShuttingDown { .. } | Self::CutOff { .. } | Self::Panicked { .. } => {
                Kind::Unreachable
            }
        }
    }
}

impl Tasks {
    /// No operations yet; none is begun once `token` is cancelled.
    pub(crate) fn new(token: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            token,
        }
    }

    /// Runs an operation that changes something. It goes on when the caller stops
    /// waiting, and holds `guard` until it has ended, by a panic too.
    ///
    /// `UNAVAILABLE` where the driver is shutting down: `op` was not polled then.
    pub(crate) async fn run<T, E, F>(
        &self,
        name: &'static str,
        guard: VolumeGuard,
        op: F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        if self.token.is_cancelled() {
            return Err(status(&TaskError::ShuttingDown { name }));
        }
        // The error is made a status, and so logged, inside: nobody may be waiting.
        let task = async move {
            let outcome = AssertUnwindSafe(op).catch_unwind().await;
            drop(guard);
            match outcome {
                Ok(result) => result.map_err(|error| status(&error)),
                Err(panic) => {
                    let message = message_of(panic.as_ref());
                    error!(
                        name,
                        "an operation panicked, which is a defect of this program"
                    );
                    Err(status(&TaskError::Panicked { name, message }))
                }
            }
        };
        let task = self.tracker.spawn(task.in_current_span());
        task.await
            .unwrap_or_else(|_| Err(status(&TaskError::CutOff { name })))
    }

    /// Awaits a read. It changes nothing, so it ends with its caller.
    pub(crate) async fn read<T, E, F>(&self, op: F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, E>> + Send,
        E: Failure,
    {
        op.await.map_err(|error| status(&error))
    }

    /// How many operations are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until every operation has ended. Cancel the token first: an operation
    /// begun while this waits is waited for too.
    pub(crate) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// What a panic said, where it said it in words.
fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

#[cfg(test)]
mod tests;
