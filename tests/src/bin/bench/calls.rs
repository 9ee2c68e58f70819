//! How many system calls a process in a guest makes, counted by strace.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rds_csi_tests::guest::Guest;
use rds_csi_tests::wait::until;

const DEADLINE: Duration = Duration::from_secs(30);

/// By all threads of the process, while `work` runs. Slows it down, so nothing is timed
/// meanwhile.
pub(crate) async fn during(
    guest: &Guest,
    pid: u32,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<u64> {
    let summary = guest.share().join("strace.summary");
    let (output, pid) = (summary.display().to_string(), pid.to_string());
    let words = [
        "strace",
        "-f",
        "-c",
        "-U",
        "calls,name",
        "-o",
        &output,
        "-p",
        &pid,
    ];
    let strace = guest.spawn("strace", &words, &[]).await?;
    let untraced = format!("grep -l '^TracerPid:.0$' /proc/{pid}/task/*/status || true");
    until("strace has every thread", DEADLINE, async || {
        Ok(guest.script(&untraced).await?.is_empty().then_some(()))
    })
    .await?;
    let worked = work().await;
    strace.signal("INT").await?;
    strace.wait(DEADLINE).await?.context("strace goes on")?;
    worked?;
    let table = std::fs::read_to_string(&summary)?;
    total(&table).with_context(|| format!("no sum in {table}"))
}

/// The line `  250 total` ends the table.
fn total(table: &str) -> Option<u64> {
    let line = table
        .lines()
        .rev()
        .find(|line| line.trim().ends_with("total"))?;
    line.split_whitespace().next()?.parse().ok()
}
