//! The process that a guest is, and its files on the host.
//!
//! The kernel's main process traces all the others, so killing it ends the guest at
//! once and whole. Killing anything else, or its wrapper, would leave processes. Those
//! that carry out its input and output die a moment after it; until then the disks are
//! locked, and the next boot would be refused.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::time::Instant;

use crate::lab::MEMORY;

/// How long what is left of a killed guest may take to end, on a busy machine.
const END: Duration = Duration::from_secs(60);

/// The host's side of a guest.
#[derive(Debug)]
pub(super) struct Machine {
    directory: PathBuf,
    share: PathBuf,
    kernel: Mutex<Option<Child>>,
}

impl Machine {
    /// Makes the guest's directory, which must not exist: it is what makes names unique.
    pub(super) fn new(directory: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir(&directory)
            .with_context(|| format!("making the guest's directory {}", directory.display()))?;
        let share = directory.join("share");
        fs::create_dir(&share).context("making the guest's share")?;
        Ok(Self {
            directory,
            share,
            kernel: Mutex::new(None),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn share(&self) -> &Path {
        &self.share
    }

    pub(super) fn console_file(&self) -> PathBuf {
        self.directory.join("console")
    }

    pub(super) fn console(&self) -> String {
        fs::read(self.console_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a guest is ended in Drop, which the asynchronous runner cannot do"
    )]
    pub(super) fn start(&self, kernel: &Path, arguments: &[String]) -> anyhow::Result<()> {
        let mut running = self.lock();
        ensure!(running.is_none(), "the guest runs already");
        match fs::remove_file(self.share.join("agent.ready")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("removing the mark of the last boot");
            }
            _ => {}
        }
        let console = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.console_file())
            .context("opening the console")?;
        let child = std::process::Command::new(kernel)
            .args(arguments)
            // The guest's memory is an unlinked file in this directory.
            .env("TMPDIR", MEMORY)
            .stdin(Stdio::null())
            .stdout(console.try_clone().context("opening the console")?)
            .stderr(console)
            .spawn()
            .with_context(|| format!("starting {}", kernel.display()))?;
        *running = Some(child);
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let mut running = self.lock();
        let child = running.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Ends the guest. No process of it is left, and its disks are free, when this returns.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        let mut running = self.lock();
        if let Some(child) = running.as_mut() {
            // They have their command line in common, but not to the very end: one that is
            // dying has none and may still hold a lock. One that is new is seen only after.
            let word = format!("uml_dir={}/", self.directory.display());
            let mut all = processes_with(&word);
            child.kill().context("ending the guest")?;
            child.wait().context("awaiting the guest's end")?;
            all.extend(processes_with(&word));
            // Its helpers end with it, if nothing else has their pipes open.
            for left in all.iter().filter(|&&pid| is_alive(pid)) {
                let pid = Pid::from_raw(i32::try_from(*left).context("a process id")?);
                // One that has ended meanwhile is what is wanted.
                signal::kill(pid, Signal::SIGKILL).ok();
            }
            let end = Instant::now() + END;
            while let Some(left) = all.iter().find(|&&pid| is_alive(pid)) {
                ensure!(Instant::now() < end, "process {left} outlives its guest");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        *running = None;
        Ok(())
    }

    /// The last lines of the console and of every log in the share.
    pub(super) fn report(&self, name: &str, lines: usize) -> String {
        let mut report = String::new();
        let mut add = |title: &str, text: &str| {
            report.push_str(&format!("--- {name}: {title}\n{}\n", tail(text, lines)));
        };
        add("console", &self.console());
        let logs = fs::read_dir(&self.share).into_iter().flatten().flatten();
        for log in logs.map(|entry| entry.path()) {
            if log.extension() == Some(OsStr::new("log")) {
                let text = fs::read(&log).unwrap_or_default();
                add(&log.display().to_string(), &String::from_utf8_lossy(&text));
            }
        }
        report
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The processes whose command line has this text.
fn processes_with(text: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
    .collect()
}

/// Whether a process has not ended: one that waits to be reaped holds no file any more.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything.
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines.get(from..).unwrap_or_default().join("\n")
}
