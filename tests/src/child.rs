//! A program of the workspace on the test's own machine, ended with this value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::lab::program;
use crate::wait::until;

const DEADLINE: Duration = Duration::from_secs(30);

/// A running program whose outputs go to a file.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl ChildProcess {
    /// Starts `name` with arguments; its outputs are appended to `log`.
    pub(crate) fn start(name: &str, arguments: &[String], log: &Path) -> anyhow::Result<Self> {
        Self::start_at(name, &program(name)?, arguments, log)
    }

    /// Starts any program.
    #[expect(
        clippy::disallowed_methods,
        reason = "the program is ended in Drop, which the asynchronous runner cannot do"
    )]
    pub(crate) fn start_at(
        name: &str,
        path: &Path,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log of {name}"))?;
        let child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            log: log.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.lock().id()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.lock().try_wait(), Ok(None))
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until `probe` gives a value; the program's end is an error.
    pub(crate) async fn ready<T>(
        &self,
        what: &str,
        mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        until(what, DEADLINE, async || {
            if let Some(status) = self.lock().try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.output());
            }
            probe().await
        })
        .await
    }

    /// Sends it a signal, named as `kill` names them.
    #[expect(
        clippy::disallowed_methods,
        reason = "the standard library sends no signal but SIGKILL"
    )]
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid().to_string();
        let sent = Command::new("/bin/bash")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid])
            .status()
            .with_context(|| format!("sending SIG{signal}"))?;
        ensure!(sent.success(), "{} has ended already", self.name);
        Ok(())
    }

    /// Asks it to end, by SIGTERM, and waits.
    pub(crate) async fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        until("the program has ended", DEADLINE, async || {
            Ok(self.lock().try_wait()?)
        })
        .await
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let mut child = self.lock();
        child.kill().ok();
        child.wait().ok();
    }
}
