//! Resident memory of both roles, idle, the controller with its session open.

use anyhow::{Context as _, Result};

use crate::{Bench, Figures};

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    // One call each, so that what a first call allocates is counted.
    bench
        .controller
        .plugin()
        .controller()
        .get_capacity(csi_proto::v1::GetCapacityRequest::default())
        .await?;
    bench
        .plugin
        .plugin()
        .node()
        .node_get_info(csi_proto::v1::NodeGetInfoRequest::default())
        .await?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.controller.pid()))?;
    figures.at_most(
        "controller, idle, resident",
        resident(&status)?,
        20.0,
        "MiB",
    );
    let status = bench
        .node
        .read(&format!("/proc/{}/status", bench.plugin.process().pid()))
        .await?;
    figures.at_most(
        "node plugin, idle, resident",
        resident(&status)?,
        12.0,
        "MiB",
    );
    Ok(())
}

/// `VmRSS` in MiB.
pub(crate) fn resident(status: &str) -> Result<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
