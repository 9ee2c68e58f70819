//! A node is emptied: how long each of a hundred machines waits for its disk, as many asked
//! for at once as the chart's external-attacher asks for.

use anyhow::Result;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rds_csi_tests::evacuation::Machine;
use tokio::time::Instant;

use crate::controller::{LATENCY_MS, latency};
use crate::{Bench, Figures};

const MACHINES: usize = 100;
/// `sidecars.attacher.workers` of the chart.
const WORKERS: usize = 50;

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let (api, controller) = bench.asking(&[]).await?;
    let plugin = controller.plugin();
    let machines: Vec<Machine> = stream::iter(0..MACHINES)
        .map(|number| Machine::start(&api, plugin, number, "node-a"))
        .buffered(WORKERS)
        .try_collect()
        .await?;
    for machine in &machines {
        machine.arrives(&api, "node-b");
    }
    latency(bench, LATENCY_MS).await?;
    let slowest = stream::iter(&machines)
        .map(async |machine| {
            let began = Instant::now();
            machine.volume.attach(plugin, "node-b").await?;
            Ok::<_, tonic::Status>(began.elapsed())
        })
        .buffer_unordered(WORKERS)
        .try_fold(std::time::Duration::ZERO, async |slowest, took| {
            Ok(slowest.max(took))
        })
        .await?;
    latency(bench, 0).await?;
    let what = format!("{MACHINES} machines leave a node, {LATENCY_MS} ms a round trip, slowest");
    figures.at_most(&what, slowest.as_secs_f64(), 1.0, "s");
    for machine in machines {
        for node in ["node-a", "node-b"] {
            api.delete("volumeattachments", &machine.wish(node));
        }
        machine.volume.delete(plugin).await?;
    }
    controller.stop().await
}
