//! A program that was started in a guest and goes on running.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::{Agent, AgentError, Status};

/// A started program. Dropping this value leaves it running: it ends with its guest.
#[derive(Debug)]
pub struct Process {
    agent: Agent,
    handle: u64,
    pid: u32,
    log: PathBuf,
}

impl Process {
    pub(super) fn new(agent: Agent, handle: u64, pid: u32, log: PathBuf) -> Self {
        Self {
            agent,
            handle,
            pid,
            log,
        }
    }

    /// Its process id in the guest.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its outputs go, on the host as in the guest.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written so far, to both outputs. Read on the host, so that it is
    /// there after a power cut too.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// The guest does not answer, or was rebooted since.
    pub async fn status(&self) -> Result<Option<Status>, AgentError> {
        self.agent.poll(self.handle, Duration::ZERO).await
    }

    /// Waits for its end; `None` if it runs after `deadline` still.
    ///
    /// # Errors
    /// The guest does not answer, or was rebooted since.
    pub async fn wait(&self, deadline: Duration) -> Result<Option<Status>, AgentError> {
        self.agent.poll(self.handle, deadline).await
    }

    /// Signals it and its children; `signal` as in `TERM`, `KILL`, `STOP`.
    ///
    /// # Errors
    /// The guest does not answer, or the program has ended.
    pub async fn signal(&self, signal: &str) -> Result<(), AgentError> {
        self.agent.signal(self.handle, signal).await
    }
}
