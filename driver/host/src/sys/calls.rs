//! Runs blocking calls off the runtime, each with a deadline, with a cap on how many
//! may be under way at once.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::sys::CallError;

/// The cap and the way in. Clones share the cap.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    slots: Arc<Semaphore>,
    limit: usize,
}

impl Calls {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Runs one call to its end in a thread that may block. On the deadline the call
    /// goes on there, keeps its slot, and its result is dropped there.
    pub(crate) async fn run<T, F>(
        &self,
        call: &'static str,
        path: &Path,
        within: Duration,
        work: F,
    ) -> Result<T, CallError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let deadline = Instant::now() + within;
        let slot = timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            return Err(CallError::TooManyHanging {
                call,
                path: path.to_owned(),
                limit: self.limit,
            });
        };
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        match timeout_at(deadline, task).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(failed)) => Err(CallError::Failed {
                call,
                path: path.to_owned(),
                source: io::Error::other(failed),
            }),
            Err(_) => Err(CallError::TimedOut {
                call,
                path: path.to_owned(),
                seconds: within.as_secs(),
            }),
        }
    }

    /// [`Calls::run`] for a call that answers with an [`io::Error`].
    pub(crate) async fn io<T, F>(
        &self,
        call: &'static str,
        path: &Path,
        within: Duration,
        work: F,
    ) -> Result<T, CallError>
    where
        F: FnOnce() -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.run(call, path, within, work)
            .await?
            .map_err(|source| CallError::failed(call, path, source))
    }
}

impl CallError {
    pub(crate) fn failed(call: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Failed {
            call,
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rds_csi_core::kind::{Failure, Kind};

    use super::*;

    #[tokio::test]
    async fn hanging_calls_time_out_and_fill_the_cap_until_they_return() {
        let calls = Calls::new(2);
        let path = Path::new("/x");
        let short = Duration::from_millis(20);
        let mut gates = Vec::new();
        for _ in 0..2 {
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let error = calls
                .io("open", path, short, move || {
                    let _ = gate.recv();
                    Ok(())
                })
                .await
                .unwrap_err();
            assert_eq!(error.kind(), Kind::Timeout);
        }
        let error = calls.io("open", path, short, || Ok(())).await.unwrap_err();
        assert!(
            matches!(error, CallError::TooManyHanging { limit: 2, .. }),
            "{error}"
        );

        gates.clear();
        let long = Duration::from_secs(20);
        calls.io("open", path, long, || Ok(())).await.unwrap();
    }

    #[tokio::test]
    async fn a_refused_call_is_never_final() {
        let calls = Calls::new(1);
        let refused = |errno| move || Err::<(), _>(io::Error::from_raw_os_error(errno));
        for (errno, kind) in [
            (1, Kind::Unreachable),
            (5, Kind::Unreachable),
            (16, Kind::Busy),
        ] {
            let error = calls
                .io(
                    "mount",
                    Path::new("/x"),
                    Duration::from_secs(20),
                    refused(errno),
                )
                .await
                .unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.kind().is_retryable());
        }
    }
}
