//! Round trips to the device, attachments by the cluster's rules, and a burst of claims.

use anyhow::{Context as _, Result, ensure};
use rds_csi_tests::evacuation::Machine;
use rds_csi_tests::plugin::Plugin;
use rds_csi_tests::volume::{Claim, Volume};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{Bench, Figures};

const BURST: u32 = 100;
pub(crate) const LATENCY_MS: u32 = 50;
const PUBLISHES: usize = 200;

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let controller = bench.controller.plugin();
    let before = executions(bench).await?;
    let volume = Claim::block("pvc-bench", 64).create(controller).await?;
    let created = executions(bench).await?;
    figures.at_most("CreateVolume, round trips", created - before, 2.0, "");

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
    publish(figures, bench).await
}

/// Attachments as a cluster has them: each is read, judged, and written down before it is
/// granted. The API server is in memory, so that its own time is not measured, and the
/// device is not asked to let hosts in.
async fn publish(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let (api, controller) = bench.asking(&["--fencing", "off"]).await?;
    let plugin = controller.plugin();
    let machine = Machine::start(&api, plugin, 0, "node-a").await?;
    machine.leaves(&api, plugin, "node-a").await?;
    let written = || {
        let requests = api.requests();
        let is_write = |call: &str| call == "patch persistentvolumes";
        requests
            .iter()
            .filter(|asked| is_write(&asked.call))
            .count()
    };
    let before = written();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..PUBLISHES {
        machine.begins(&api, "node-a");
        first.push(attached(&machine, plugin, "node-a").await?);
        machine.arrives(&api, "node-b");
        second.push(attached(&machine, plugin, "node-b").await?);
        machine.moves(&api, "Failed");
        for node in ["node-b", "node-a"] {
            machine.leaves(&api, plugin, node).await?;
        }
    }
    let written = written() - before;
    ensure!(
        written >= 2 * PUBLISHES,
        "{written} records of {PUBLISHES} attachments to a node and as many to a second"
    );
    for (what, times) in [
        ("ControllerPublishVolume, first node, p99", first),
        (
            "ControllerPublishVolume, second node of a migration, p99",
            second,
        ),
    ] {
        figures.at_most(what, p99(times), 50.0, "ms");
    }
    machine.volume.delete(plugin).await?;
    controller.stop().await
}

/// How many milliseconds a node waits for the disk of a machine.
async fn attached(machine: &Machine, controller: &Plugin, node: &str) -> Result<f64> {
    let began = Instant::now();
    machine.volume.attach(controller, node).await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
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
