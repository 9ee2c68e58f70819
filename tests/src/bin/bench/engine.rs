//! The node's watch over staged volumes: what it costs while all is well, and how soon a
//! volume is back that the kernel had given up.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::{Bench, Figures, NODE};

const VOLUMES: usize = 100;
/// How long the plugin is watched: once a minute it looks at more than at others.
const WATCH: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(90);
/// The engine's first delay, stretched, and what is allowed beyond it.
const RETURN: f64 = 1.25 + 2.0;
const OUTAGES: u32 = 3;

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    given_up(figures, bench).await?;
    idle(figures, bench).await
}

/// Outages that last until the kernel has removed the session.
async fn given_up(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let (controller, node) = (bench.controller.plugin(), bench.plugin.plugin());
    let claim = Claim::block("pvc-given-up", 64)
        .parameter("reconnectDelay", "1")
        .parameter("ctrlLossTmo", "3");
    let volume = claim.create(controller).await?;
    let context = volume.attach(controller, NODE).await?;
    volume.stage(node, &context).await?;
    let target = volume.publish(node, &context, "pod", false).await?;
    let script = format!(
        "rm -f /run/stop
         while [ ! -e /run/stop ]; do
           if dd if=/dev/zero of={target} bs=4096 count=1 conv=nocreat,notrunc,fsync status=none 2>/dev/null
           then echo $EPOCHREALTIME; else sleep 0.02; fi
         done"
    );
    let argv = ["bash", "-c", &script];
    let writer = bench.node.spawn("given-up-writer", &argv, &[]).await?;
    let mut worst: f64 = 0.0;
    for _ in 0..OUTAGES {
        bench.lab.cut(bench.appliance.guest())?;
        until(
            "the kernel has given the session up",
            DEADLINE,
            async || {
                let left = bench.node.script("ls /sys/class/nvme | wc -l").await?;
                Ok((left.trim() == "0").then_some(()))
            },
        )
        .await?;
        let now = bench.node.script("echo $EPOCHREALTIME").await?;
        let now: f64 = now.trim().parse()?;
        bench.lab.restore(bench.appliance.guest())?;
        let resumed = until("the writer goes on", DEADLINE, async || {
            let output = writer.output();
            let mut times = output.lines().filter_map(|line| line.parse::<f64>().ok());
            Ok(times.find(|time| *time > now))
        })
        .await?;
        worst = worst.max(resumed - now);
    }
    bench.node.write("/run/stop", "").await?;
    writer.wait(DEADLINE).await?.context("the writer goes on")?;
    let what = format!("target back to I/O, the kernel had given up, worst of {OUTAGES}");
    figures.at_most(&what, worst, RETURN, "s");
    volume.unpublish(node, "pod").await?;
    end(bench, &volume).await
}

/// A hundred volumes staged, and nothing happens.
async fn idle(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let (controller, node) = (bench.controller.plugin(), bench.plugin.plugin());
    let claims = (0..VOLUMES).map(|number| Claim::block(&format!("pvc-idle-{number}"), 4));
    let volumes: Vec<Volume> = futures::stream::iter(claims.map(|claim| claim.create(controller)))
        .buffered(20)
        .try_collect()
        .await?;
    for volume in &volumes {
        let context = volume.attach(controller, NODE).await?;
        volume.stage(node, &context).await?;
    }
    // Whatever staging has set off is over.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let pid = bench.plugin.process().pid();
    let running = busy().await?;
    bench.node.script(&format!("kill -STOP {pid}")).await?;
    let stopped = busy().await?;
    bench.node.script(&format!("kill -CONT {pid}")).await?;
    let share = (running - stopped) / WATCH.as_secs_f64() * 100.0;
    let what = format!("node plugin, {VOLUMES} volumes staged, of one processor");
    figures.at_most(&what, share, 1.0, "%");
    let status = bench.node.read(&format!("/proc/{pid}/status")).await?;
    let what = format!("node plugin, {VOLUMES} volumes staged, resident");
    figures.at_most(&what, crate::memory::resident(&status)?, 12.0, "MiB");
    for volume in &volumes {
        end(bench, volume).await?;
    }
    Ok(())
}

/// How many seconds of this machine's processors the node's guest uses in [`WATCH`]. Its own
/// account is of no use: whoever a tick of its clock wakes is charged for the whole tick.
async fn busy() -> Result<f64> {
    let before = guest_time()?;
    tokio::time::sleep(WATCH).await;
    Ok(guest_time()? - before)
}

/// The processor time of the guest's processes on this machine, of which its kernel has one
/// for each of its own, and of those that have ended: fields 14 to 17 of `/proc/<pid>/stat`
/// (proc(5)), in hundredths of a second.
fn guest_time() -> Result<f64> {
    let name = format!("umid={NODE}");
    let mut hundredths = 0;
    for process in std::fs::read_dir("/proc")? {
        let process = process?.path();
        let Ok(line) = std::fs::read(process.join("cmdline")) else {
            continue;
        };
        let mut words = line.split(|byte| *byte == 0);
        if !words.any(|word| word == name.as_bytes()) {
            continue;
        }
        let stat = std::fs::read_to_string(process.join("stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("no process state")?;
        for field in fields.split_whitespace().skip(14 - 3).take(4) {
            hundredths += field.parse::<u64>()?;
        }
    }
    anyhow::ensure!(hundredths > 0, "no process has {name} on its command line");
    Ok(hundredths as f64 / 100.0)
}

async fn end(bench: &Bench, volume: &Volume) -> Result<()> {
    volume.unstage(bench.plugin.plugin()).await?;
    volume.detach(bench.controller.plugin(), NODE).await?;
    // Again, as the cluster does: an outage may have ended the controller's session too.
    until("the volume is deleted", DEADLINE, async || {
        Ok(volume.delete(bench.controller.plugin()).await.ok())
    })
    .await
}
