//! A shell that waits for what is typed.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running shell; ends with this value.
#[derive(Debug)]
pub(crate) struct Shell {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    /// Starts it and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "a person's shell, in a guest")]
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut shell = Self {
            input: child.stdin.take().context("no input")?,
            output: BufReader::new(child.stdout.take().context("no output")?).lines(),
            _child: child,
        };
        shell.run(":").await?;
        Ok(shell)
    }

    /// Types a command and waits for its end.
    pub(crate) async fn run(&mut self, command: &str) -> Result<()> {
        let line = format!("{command}; echo $?\n");
        self.input.write_all(line.as_bytes()).await?;
        let status = self.output.next_line().await?;
        ensure!(status.as_deref() == Some("0"), "{command}: {status:?}");
        Ok(())
    }
}
