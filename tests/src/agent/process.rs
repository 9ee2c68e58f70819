//! Programs in the guest: run to the end, or started and kept by a handle.
//!
//! A program that hangs in the kernel cannot be killed, and faults of storage make
//! such programs; nothing here may wait for one longer than it was told to.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command as Program};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{BODY_LIMIT, Command, Status};

/// How long a killed program gets to go away.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// What a program that ran to its end left behind.
pub(super) struct Finished {
    pub(super) status: Status,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the agent is the runner of programs in a guest; it holds no product code"
)]
fn program(command: &Command) -> io::Result<Program> {
    let Some((name, arguments)) = command.argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    };
    let mut program = Program::new(name);
    program.args(arguments).envs(&command.env).process_group(0);
    Ok(program)
}

fn status(exit: ExitStatus) -> Status {
    match (exit.code(), exit.signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, signal) => Status::Signaled(signal.unwrap_or_default()),
    }
}

/// Sends a signal to a process group, by the shell's own `kill`.
async fn signal_group(pid: u32, signal: &str) -> io::Result<()> {
    let command = Command {
        argv: ["bash", "-c", "kill -s \"$1\" -- -\"$2\"", "kill", signal]
            .map(str::to_owned)
            .into_iter()
            .chain([pid.to_string()])
            .collect(),
        env: BTreeMap::new(),
    };
    let output = program(&command)?.output().await?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(reason))
}

async fn capture(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    if let Some(pipe) = pipe {
        pipe.take(BODY_LIMIT as u64 / 2).read_to_end(into).await?;
    }
    Ok(())
}

/// Runs a program to its end, or to the deadline; then what it had said by then.
pub(super) async fn run(
    command: &Command,
    input: &[u8],
    deadline: Duration,
) -> io::Result<Finished> {
    let mut child = program(command)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().unwrap_or_default();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        match stdin {
            // A program may end without having read its input.
            Some(mut stdin) => stdin.write_all(input).await.or(Ok(())),
            None => Ok(()),
        }
    };
    let ended = timeout(deadline, async {
        tokio::try_join!(
            child.wait(),
            feed,
            capture(out, &mut stdout),
            capture(err, &mut stderr)
        )
    })
    .await;
    let status = match ended {
        Ok(ended) => status(ended?.0),
        Err(_elapsed) => {
            signal_group(pid, "KILL").await.ok();
            timeout(KILL_GRACE, child.wait()).await.ok();
            Status::TimedOut
        }
    };
    Ok(Finished {
        status,
        stdout,
        stderr,
    })
}

/// A started program: its process group, and its status once it has ended.
#[derive(Debug)]
struct Background {
    pid: u32,
    status: watch::Receiver<Option<Status>>,
}

/// The programs that were started and are kept by handle.
#[derive(Debug)]
pub(super) struct Processes {
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, Background>>,
    tasks: TaskTracker,
}

impl Processes {
    /// None yet. Handles begin at the clock, so that one from before a reboot is
    /// unknown afterwards instead of naming another program.
    pub(super) fn new() -> Self {
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first = u64::try_from(clock.as_micros()).unwrap_or_default();
        Self {
            next: AtomicU64::new(first),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Starts a program; its outputs are appended to `output`.
    pub(super) fn start(&self, command: &Command, output: &Path) -> io::Result<(u64, u32)> {
        let output = OpenOptions::new().create(true).append(true).open(output)?;
        let child = program(command)?
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let (told, status) = watch::channel(None);
        self.tasks.spawn(report_end(child, told));
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(handle, Background { pid, status });
        Ok((handle, pid))
    }

    /// The status of a program, awaited for at most `wait`; none while it runs.
    pub(super) async fn poll(&self, handle: u64, wait: Duration) -> io::Result<Option<Status>> {
        let (_, mut status) = self.find(handle)?;
        match timeout(wait, status.wait_for(Option::is_some)).await {
            Ok(Ok(status)) => Ok(*status),
            Ok(Err(_)) => Err(io::Error::other("its status was lost")),
            Err(_elapsed) => Ok(None),
        }
    }

    /// Signals a program's group; an error once it has ended.
    pub(super) async fn signal(&self, handle: u64, signal: &str) -> io::Result<()> {
        let (pid, status) = self.find(handle)?;
        if status.borrow().is_some() {
            return Err(io::Error::other("it has ended"));
        }
        signal_group(pid, signal).await
    }

    fn find(&self, handle: u64) -> io::Result<(u32, watch::Receiver<Option<Status>>)> {
        self.lock()
            .get(&handle)
            .map(|process| (process.pid, process.status.clone()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such process handle"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Background>> {
        self.running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn report_end(mut child: Child, told: watch::Sender<Option<Status>>) {
    if let Ok(exit) = child.wait().await {
        told.send_replace(Some(status(exit)));
    }
}
