//! Round trips to the device, and a burst of claims.

use anyhow::{Context as _, Result, ensure};
use rds_csi_tests::volume::{Claim, Volume};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{Bench, Figures, NODE};

const BURST: u32 = 100;
pub(crate) const LATENCY_MS: u32 = 50;
const PUBLISHES: usize = 200;

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let controller = bench.controller.plugin();
    let before = executions(bench).await?;
    let volume = Claim::block("pvc-bench", 64).create(controller).await?;
    let created = executions(bench).await?;
    figures.at_most("CreateVolume, round trips", created - before, 2.0, "");

    let mut times = Vec::new();
    for _ in 0..PUBLISHES {
        let began = Instant::now();
        volume.attach(controller, NODE).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        volume.detach(controller, NODE).await?;
    }
    times.sort_by(f64::total_cmp);
    figures.at_most(
        "ControllerPublishVolume, p99",
        times[PUBLISHES * 99 / 100],
        50.0,
        "ms",
    );

    let before = executions(bench).await?;
    volume.delete(controller).await?;
    figures.at_most(
        "DeleteVolume, round trips",
        executions(bench).await? - before,
        2.0,
        "",
    );

    latency(bench, LATENCY_MS).await?;
    let began = Instant::now();
    let volumes = burst(bench).await?;
    let what = format!("{BURST} CreateVolume at once, {LATENCY_MS} ms a round trip");
    figures.at_most(&what, began.elapsed().as_secs_f64(), 12.0, "s");
    latency(bench, 0).await?;
    for volume in volumes {
        volume.delete(controller).await?;
    }
    Ok(())
}

async fn burst(bench: &Bench) -> Result<Vec<Volume>> {
    let mut calls = JoinSet::new();
    for number in 0..BURST {
        let plugin = bench.controller.plugin().clone();
        calls.spawn(async move {
            Claim::block(&format!("pvc-burst-{number}"), 64)
                .create(&plugin)
                .await
        });
    }
    let volumes: Vec<Volume> = calls
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    ensure!(volumes.len() == BURST as usize, "{} volumes", volumes.len());
    Ok(volumes)
}

pub(crate) async fn latency(bench: &Bench, ms: u32) -> Result<()> {
    bench
        .appliance
        .control(&json!({ "op": "inject", "fault": "latency", "ms": ms }))
        .await?;
    Ok(())
}

/// How many scripts the device has run.
async fn executions(bench: &Bench) -> Result<f64> {
    let counters = bench
        .appliance
        .control(&json!({ "op": "counters" }))
        .await?;
    counters["counters"]["executions"]
        .as_f64()
        .with_context(|| format!("no executions in {counters}"))
}
