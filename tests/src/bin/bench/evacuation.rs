//! A node is emptied: how long each of a hundred machines waits for its disk, and then for the
//! node that it left to let go of it, as many asked for at once as the chart's external-attacher
//! asks for. All are of one namespace, and as large as machines are: each disk is judged by the
//! list of them.

use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rds_csi_tests::api_server::objects::whole_machine;
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
        whole_machine(&api, &machine.name);
        machine.arrives(&api, "node-b");
    }
    latency(bench, LATENCY_MS).await?;
    let arrived = slowest(&machines, async |machine| {
        machine.volume.attach(plugin, "node-b").await.map(drop)
    });
    let arrived = arrived.await?;
    for machine in &machines {
        machine.moves(&api, "Succeeded");
    }
    let left = slowest(&machines, async |machine| {
        machine.leaves(&api, plugin, "node-a").await
    });
    let left = left.await?;
    latency(bench, 0).await?;
    for (what, slowest) in [("arrive", arrived), ("leave", left)] {
        let what = format!("{MACHINES} machines {what}, {LATENCY_MS} ms a round trip, slowest");
        figures.at_most(&what, slowest.as_secs_f64(), 1.0, "s");
    }
    for machine in machines {
        api.delete("volumeattachments", &machine.wish("node-b"));
        machine.volume.delete(plugin).await?;
    }
    controller.stop().await
}

/// The longest that a call about one of the machines takes.
async fn slowest(
    machines: &[Machine],
    call: impl AsyncFn(&Machine) -> Result<(), tonic::Status>,
) -> Result<Duration> {
    let calls = stream::iter(machines).map(async |machine| {
        let began = Instant::now();
        call(machine).await?;
        Ok::<_, tonic::Status>(began.elapsed())
    });
    let slowest = calls
        .buffer_unordered(WORKERS)
        .try_fold(Duration::ZERO, async |slowest, took| Ok(slowest.max(took)));
    Ok(slowest.await?)
}
