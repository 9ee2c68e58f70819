//! A program that is not of this workspace, such as helm, run to its end.
//!
//! It is looked for in the directory that `RDS_CSI_TOOLS` names, then on the PATH. It
//! gets no kubeconfig: nothing that is run here may find a cluster by accident.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// Whether its exit status was 0.
    pub success: bool,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs `name` with `arguments` until it ends.
///
/// # Errors
/// It is not there, or cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "the product's runner knows only the programs of a node"
)]
pub fn run(name: &str, arguments: &[String]) -> anyhow::Result<Ended> {
    let program = path(name);
    let output = Command::new(&program)
        .args(arguments)
        .env("KUBECONFIG", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}; hack/test builds it", program.display()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended {
        success: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}

fn path(name: &str) -> PathBuf {
    env::var_os("RDS_CSI_TOOLS")
        .map(|directory| PathBuf::from(directory).join(name))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}
