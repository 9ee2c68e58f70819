//! A node is emptied: how long each of a hundred machines waits for its disk, and then for the
//! node that it left to let go of it. All are of one namespace, and they and their pods are as
//! large as they are in a cluster.
//!
//! With the array open to all, all are asked for together, as many at a time as the chart's
//! external-attacher asks for. With the array closed to all others each is a command on the
//! device, and these go one after the other: as many move at a time as KubeVirt lets leave a node
//! by default, and once more all together, which has no bound.

use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::api_server::objects::swell;
use rds_csi_tests::evacuation::Machine;
use rds_csi_tests::plugin::ControllerProcess;
use rds_csi_tests::wait::until;
use tokio::time::Instant;

use crate::controller::{LATENCY_MS, latency};
use crate::{Bench, Figures};

const MACHINES: usize = 100;
/// `sidecars.attacher.workers` of the chart.
const WORKERS: usize = 50;
/// `parallelOutboundMigrationsPerNode` of KubeVirt.
const MIGRATIONS: usize = 2;
/// How long the controller tries the device at most, and waits for its turn before.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the controller logs once it knows what the device does.
const KNOWN: &str = "seen what the device does about hosts and sessions";

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let (api, controller) = bench.asking(&["--fencing", "off"]).await?;
    let words = "machines of a node at once, open array";
    let all = empty(bench, (&api, &controller), WORKERS).await?;
    hold(figures, words, all);
    controller.stop().await?;

    let (api, controller) = bench.asking(&["--fencing", "enforce"]).await?;
    until("the device is known", PATIENCE, async || {
        Ok(controller.output().contains(KNOWN).then_some(()))
    })
    .await?;
    let words = format!("machines of a node, {MIGRATIONS} at a time, closed array");
    let some = empty(bench, (&api, &controller), MIGRATIONS).await?;
    hold(figures, &words, some);
    let [arrived, left] = empty(bench, (&api, &controller), WORKERS).await?;
    Figures::detail(&format!(
        "all at once, closed array: slowest to arrive {arrived:.2?}, to leave {left:.2?}"
    ));
    controller.stop().await
}

fn hold(figures: &mut Figures, words: &str, slowest: [Duration; 2]) {
    for (what, slowest) in ["arrive", "leave"].into_iter().zip(slowest) {
        let what = format!("{MACHINES} {words}, {LATENCY_MS} ms, slowest to {what}");
        figures.at_most(&what, slowest.as_secs_f64(), 1.0, "s");
    }
}

/// Empties node-a, so many machines at a time: how long the slowest took to arrive and to leave.
async fn empty(
    bench: &Bench,
    (api, controller): (&FakeApiServer, &ControllerProcess),
    at_once: usize,
) -> Result<[Duration; 2]> {
    let plugin = controller.plugin();
    let machines: Vec<Machine> = stream::iter(0..MACHINES)
        .map(|number| Machine::start(api, plugin, number, "node-a"))
        .buffered(WORKERS)
        .try_collect()
        .await?;
    for machine in &machines {
        machine.arrives(api, "node-b");
        grow(api, &machine.name);
    }
    latency(bench, LATENCY_MS).await?;
    let arrived = slowest(&machines, at_once, async |machine| {
        machine.volume.attach(plugin, "node-b").await.map(drop)
    });
    let arrived = arrived.await?;
    for machine in &machines {
        machine.moves(api, "Succeeded");
    }
    let left = slowest(&machines, at_once, async |machine| {
        machine.leaves(api, plugin, "node-a").await
    });
    let left = left.await?;
    latency(bench, 0).await?;
    for machine in machines {
        machine.leaves(api, plugin, "node-b").await?;
        machine.volume.delete(plugin).await?;
    }
    Ok([arrived, left])
}

/// Makes what there is of a machine as large as it is in a cluster.
fn grow(api: &FakeApiServer, machine: &str) {
    let launcher = |node| format!("virt-launcher-{machine}-{node}");
    for (kind, name, kilobytes) in [
        ("VirtualMachineInstance", machine.to_owned(), 20),
        (
            "VirtualMachineInstanceMigration",
            format!("evacuation-{machine}"),
            2,
        ),
        ("Pod", launcher("node-a"), 15),
        ("Pod", launcher("node-b"), 15),
    ] {
        swell(api, kind, &name, kilobytes);
    }
}

/// The longest that a call about one of the machines takes.
async fn slowest(
    machines: &[Machine],
    at_once: usize,
    call: impl AsyncFn(&Machine) -> Result<(), tonic::Status>,
) -> Result<Duration> {
    let calls = stream::iter(machines).map(async |machine| {
        let began = Instant::now();
        call(machine).await?;
        Ok::<_, tonic::Status>(began.elapsed())
    });
    let slowest = calls
        .buffer_unordered(at_once)
        .try_fold(Duration::ZERO, async |slowest, took| Ok(slowest.max(took)));
    Ok(slowest.await?)
}
