//! The one runner of `ip`.

use anyhow::{Context as _, bail};

/// Runs `ip` with these arguments.
///
/// # Errors
/// The program is missing, or failed; its own words are in the error.
#[expect(
    clippy::disallowed_methods,
    reason = "cleaning up happens in Drop, where the bounded, asynchronous runner cannot be used"
)]
pub(super) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let output = std::process::Command::new("ip")
        .args(arguments)
        .output()
        .context("running ip")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), reason.trim());
    }
    Ok(())
}
