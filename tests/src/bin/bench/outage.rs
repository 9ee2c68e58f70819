//! From the target's return to resumed I/O, by the writer's own clock.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rds_csi_tests::guest::Process;
use rds_csi_tests::volume::Claim;
use rds_csi_tests::wait::until;

use crate::{Bench, Figures, NODE};

const OUTAGES: u32 = 5;
const RECONNECT_DELAY: u32 = 2;
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(figures: &mut Figures, bench: &Bench) -> Result<()> {
    let (controller, node) = (bench.controller.plugin(), bench.plugin.plugin());
    let claim =
        Claim::block("pvc-outage", 64).parameter("reconnectDelay", &RECONNECT_DELAY.to_string());
    let volume = claim.create(controller).await?;
    let context = volume.attach(controller, NODE).await?;
    volume.stage(node, &context).await?;
    let target = volume.publish(node, &context, "pod", false).await?;
    let script = format!(
        "while [ ! -e /run/stop ]; do
           dd if=/dev/zero of={target} bs=4096 count=1 conv=notrunc,fsync status=none && echo $EPOCHREALTIME
         done"
    );
    let writer = bench
        .node
        .spawn("outage-writer", &["bash", "-c", &script], &[])
        .await?;
    let mut worst: f64 = 0.0;
    for number in 0..OUTAGES {
        worst = worst.max(outage(bench, &writer, number).await?);
    }
    bench.node.write("/run/stop", "").await?;
    writer.wait(DEADLINE).await?.context("the writer goes on")?;
    let what = format!(
        "target back to I/O resumed, worst of {OUTAGES}, reconnect delay {RECONNECT_DELAY} s"
    );
    figures.at_most(&what, worst, f64::from(RECONNECT_DELAY) + 1.0, "s");
    volume.unpublish(node, "pod").await?;
    volume.unstage(node).await?;
    volume.detach(controller, NODE).await?;
    volume.delete(controller).await?;
    Ok(())
}

/// One outage; the seconds from the link's return to the next record.
async fn outage(bench: &Bench, writer: &Process, number: u32) -> Result<f64> {
    let times = || -> Vec<f64> {
        writer
            .output()
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect()
    };
    until("the writer writes", DEADLINE, async || {
        Ok((!times().is_empty()).then_some(()))
    })
    .await?;
    bench.lab.cut(bench.appliance.guest())?;
    until("the session has noticed", DEADLINE, async || {
        let states = bench.node.script("cat /sys/class/nvme/nvme*/state").await?;
        Ok(states.contains("connecting").then_some(()))
    })
    .await?;
    // Each outage ends in another phase of the kernel's attempts.
    tokio::time::sleep(Duration::from_millis(u64::from(number) * 700)).await;
    let now: f64 = bench
        .node
        .script("echo $EPOCHREALTIME")
        .await?
        .trim()
        .parse()?;
    bench.lab.restore(bench.appliance.guest())?;
    let resumed = until("the writer goes on", DEADLINE, async || {
        Ok(times().into_iter().find(|time| *time > now))
    })
    .await?;
    Ok(resumed - now)
}
