//! The one runner of kubectl, and of the other programs that talk to the cluster.
//!
//! It must run in the network namespace of the cluster.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::layout::State;

/// How long a command may take by itself; those that wait have a limit of their own.
const DEADLINE: Duration = Duration::from_secs(180);

/// kubectl as the administrator of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    pub(super) fn new(program: PathBuf, state: &State) -> Self {
        Self {
            program,
            kubeconfig: state.kubeconfig(),
            cache: state.path("kubectl-cache"),
        }
    }

    /// Runs it to its end: what it wrote.
    ///
    /// # Errors
    /// It failed; its own words are in the error.
    pub(super) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_with(arguments, "").await
    }

    /// [`Kubectl::run`] with a standard input.
    pub(super) async fn run_with(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        run(
            &self.program,
            &self.kubeconfig,
            &self.cache,
            arguments,
            input,
        )
        .await
    }

    /// Another program for the same cluster, such as helm.
    pub(super) async fn run_other(
        &self,
        program: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<String> {
        run(program, &self.kubeconfig, &self.cache, arguments, "").await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the product's runner is not for tests; time is bounded here, and output is small"
)]
async fn run(
    program: &Path,
    kubeconfig: &Path,
    cache: &Path,
    arguments: &[&str],
    input: &str,
) -> anyhow::Result<String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let words = || format!("{name} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let stdin = child.stdin.take();
    // Beside its end: a program that does not read, or writes much before it does, must not
    // hold this up.
    let written = async {
        if let Some(mut stdin) = stdin {
            // A program may end without having read its input.
            stdin.write_all(input.as_bytes()).await.ok();
        }
    };
    let ended = async { tokio::join!(written, child.wait_with_output()).1 };
    let output = timeout(DEADLINE, ended)
        .await
        .with_context(|| format!("{} took longer than {DEADLINE:?}", words()))?
        .with_context(|| format!("awaiting {}", words()))?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            words(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of a log file.
pub(super) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let from = text.lines().count().saturating_sub(lines);
    let last: Vec<_> = text.lines().skip(from).collect();
    format!("the end of {}:\n{}", path.display(), last.join("\n"))
}
