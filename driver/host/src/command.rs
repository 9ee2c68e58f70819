//! External programs: the only place that starts any.
//!
//! A program is started from a fixed list of directories, with an empty environment but
//! `PATH` and `LC_ALL=C`, no standard input, bounded output and a deadline, in its own
//! process group, which is killed with it. Never through a shell, and never with
//! arguments that could be read as options unless they are meant so.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::sys::process::kill_group;

mod error;

pub use error::{CommandError, MissingPrograms};

/// A program that this driver may start, by the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program(&'static str);

impl Program {
    /// The name of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// Makes ext4.
pub const MKFS_EXT4: Program = Program("mkfs.ext4");
/// Makes XFS.
pub const MKFS_XFS: Program = Program("mkfs.xfs");
/// Recognises signatures.
pub const BLKID: Program = Program("blkid");
/// Grows ext4.
pub const RESIZE2FS: Program = Program("resize2fs");
/// Grows XFS.
pub const XFS_GROWFS: Program = Program("xfs_growfs");
/// Sets a device read-only.
pub const BLOCKDEV: Program = Program("blockdev");

/// Everything that a node needs.
pub const NODE: &[Program] = &[MKFS_EXT4, MKFS_XFS, BLKID, RESIZE2FS, XFS_GROWFS, BLOCKDEV];

/// How a program ended.
#[derive(Debug)]
pub struct Output {
    /// Its status.
    pub status: ExitStatus,
    /// The beginning of its standard output.
    pub stdout: String,
    /// The beginning of its standard error.
    pub stderr: String,
}

/// Starts programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    directories: Vec<PathBuf>,
}

impl Default for Runner {
    fn default() -> Self {
        Self::new(
            ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                .map(PathBuf::from)
                .to_vec(),
        )
    }
}

impl Runner {
    /// Of each stream so much is kept; the rest is read and dropped.
    const OUTPUT_LIMIT: usize = 64 * 1024;
    /// How long a killed program may take to go before it is left to the kernel: one
    /// that sleeps on a dead device goes only when the device does.
    const GRACE: Duration = Duration::from_secs(2);

    /// Looks for programs in these directories, in this order.
    #[must_use]
    pub const fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// Says which of the programs are missing, all at once.
    pub fn verify(&self, programs: &[Program]) -> Result<(), MissingPrograms> {
        let missing: Vec<_> = programs
            .iter()
            .filter(|program| self.find(**program).is_err())
            .map(|program| program.0)
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(MissingPrograms {
                missing,
                directories: self.directories.clone(),
            })
        }
    }

    fn find(&self, program: Program) -> Result<PathBuf, CommandError> {
        self.directories
            .iter()
            .map(|directory| directory.join(program.0))
            .find(|path| path.is_file())
            .ok_or_else(|| CommandError::Missing {
                program: program.0,
                directories: self.directories.clone(),
            })
    }

    /// Runs a program to its end, whatever its status. Dropping the future kills it.
    pub async fn run(
        &self,
        program: Program,
        arguments: &[&str],
        within: Duration,
    ) -> Result<Output, CommandError> {
        let deadline = Instant::now() + within;
        let late = || CommandError::TimedOut {
            program: program.0,
            arguments: owned(arguments),
            seconds: within.as_secs(),
        };
        // A program that starts after its time is dropped there, and killed by that.
        let started = timeout_at(deadline, self.start(program, arguments)).await;
        let mut running = started.map_err(|_| late())??;
        match timeout_at(deadline, running.finish()).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(source)) => Err(CommandError::Wait {
                program: program.0,
                source,
            }),
            Err(_) => {
                running.kill();
                let _ = timeout(Self::GRACE, running.child.wait()).await;
                Err(late())
            }
        }
    }

    /// [`Runner::run`], where any status but 0 is an error.
    pub async fn succeed(
        &self,
        program: Program,
        arguments: &[&str],
        within: Duration,
    ) -> Result<Output, CommandError> {
        let output = self.run(program, arguments, within).await?;
        if output.status.success() {
            Ok(output)
        } else {
            Err(CommandError::failed(program, arguments, &output))
        }
    }

    /// Off the runtime: finding and executing a program reads the disk that it lies on.
    async fn start(&self, program: Program, arguments: &[&str]) -> Result<Running, CommandError> {
        let (runner, arguments) = (self.clone(), owned(arguments));
        tokio::task::spawn_blocking(move || runner.spawn(program, &arguments))
            .await
            .unwrap_or_else(|failed| {
                Err(CommandError::Start {
                    program: program.0,
                    source: io::Error::other(failed),
                })
            })
    }

    fn spawn(&self, program: Program, arguments: &[String]) -> Result<Running, CommandError> {
        let path = self.find(program)?;
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| CommandError::Start {
            program: program.0,
            source,
        })?;
        Ok(Running { child })
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect()
}

/// A started program; goes with its whole process group.
#[derive(Debug)]
struct Running {
    child: Child,
}

impl Running {
    async fn finish(&mut self) -> io::Result<Output> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (stdout, stderr, status) = tokio::join!(keep(stdout), keep(stderr), self.child.wait());
        Ok(Output {
            status: status?,
            stdout: stdout?,
            stderr: stderr?,
        })
    }

    /// `id` is `None` once the program was reaped: its number may be another's then.
    fn kill(&mut self) {
        if let Some(leader) = self.child.id() {
            kill_group(leader);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads a stream to its end and keeps its beginning.
async fn keep(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut stream) = stream else {
        return Ok(String::new());
    };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 8 * 1024];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        let room = Runner::OUTPUT_LIMIT - kept.len();
        kept.extend_from_slice(&chunk[..length.min(room)]);
    }
}

#[cfg(test)]
mod tests;
