//! The network is cut while writers write, the appliance loses power and comes back:
//! the same mount and the same device go on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rds_csi_tests::agent::Status;
use rds_csi_tests::guest::{Guest, Process};
use rds_csi_tests::wait::until;
use tokio::time::Instant;

use crate::Stage;
use crate::provision::{Used, Volumes, reread};
use crate::story::Story;

const DEADLINE: Duration = Duration::from_secs(60);
/// `reconnect_delay` of the demo's volumes (the driver's default) and a second, which is
/// how long the kernel's attempt under way can take to fail when the link is restored
/// right after its last SYN; then the writer's own time for a record.
const RESUMED_WITHIN: Duration = Duration::from_millis(5000 + 1000 + 250);

/// A program in the pod's place that writes and syncs numbered records without end.
struct Writer {
    process: Process,
}

impl Writer {
    async fn start(node: &Guest, used: &Used) -> Result<Self> {
        let (name, write) = match used.volume.claim.filesystem {
            Some(_) => (
                "writer-filesystem",
                format!("of={}/records oflag=append", used.target),
            ),
            // Behind the probe, a record a block.
            None => (
                "writer-block",
                format!("of={} seek=$((7000 + i)) bs=4096", used.target),
            ),
        };
        let script = format!(
            "set -e; i=0
             while [ ! -e /run/stop-writers ]; do
               i=$((i + 1))
               printf '%-4095d\\n' $i | dd {write} conv=notrunc,fsync status=none
               echo $i
             done"
        );
        let process = node.spawn(name, &["bash", "-c", &script], &[]).await?;
        let writer = Self { process };
        writer.wait_beyond(0).await?;
        Ok(writer)
    }

    /// The last record that was reported as written.
    fn written(&self) -> u64 {
        let output = self.process.output();
        let whole = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
        whole
            .lines()
            .last()
            .and_then(|line| line.parse().ok())
            .unwrap_or(0)
    }

    async fn wait_beyond(&self, record: u64) -> Result<()> {
        until("the writer gets on", DEADLINE, async || {
            Ok((self.written() > record).then_some(()))
        })
        .await
    }

    /// Waits for the end after `/run/stop-writers` and checks every record.
    async fn finish(&self, node: &Guest, used: &Used) -> Result<u64> {
        let status = self.process.wait(DEADLINE).await?;
        ensure!(
            status == Some(Status::Exited(0)),
            "the writer ended with {status:?}: {}",
            self.process.output()
        );
        let count = self.written();
        let read = match used.volume.claim.filesystem {
            Some(_) => format!("cat {}/records", used.target),
            None => format!(
                "dd if={} bs=4096 skip=7001 count={count} iflag=direct status=none",
                used.target
            ),
        };
        let missing = node
            .script(&format!(
                "{read} | awk '$1 != NR {{ bad++ }} END {{ print NR, bad + 0 }}'"
            ))
            .await?;
        ensure!(
            missing.trim() == format!("{count} 0"),
            "records on the volume: {missing}, written: {count}"
        );
        Ok(count)
    }
}

pub(crate) async fn chapter(story: &mut Story, stage: &mut Stage, volumes: &Volumes) -> Result<()> {
    story
        .chapter("The network is cut and the appliance loses power while both volumes are written");
    let before = device_and_mount(stage, volumes).await?;
    let writers = [
        Writer::start(&stage.node, &volumes.filesystem).await?,
        Writer::start(&stage.node, &volumes.block).await?,
    ];
    story.step("two writers write and sync without pause");

    stage.lab.cut(stage.appliance.guest())?;
    stage.appliance.power_off()?;
    let last = writers.each_ref().map(Writer::written);
    stage.appliance.power_on().await?;
    until("both sessions have noticed", DEADLINE, async || {
        let states = stage.node.script("cat /sys/class/nvme/nvme*/state").await?;
        Ok((states.matches("connecting").count() == 2).then_some(()))
    })
    .await?;
    story.step("link cut, power cut, booted again: exports are back, the link is not; both sessions are connecting");
    stage.lab.restore(stage.appliance.guest())?;
    let back = Instant::now();
    for (writer, last) in writers.iter().zip(last) {
        // One record may have been on its way when the link went.
        writer.wait_beyond(last + 1).await?;
    }
    let resumed = back.elapsed();
    story.step("link restored: both writers go on by themselves");
    Story::detail(&format!(
        "target back to I/O resumed: {:.2} s (reconnect delay is 5 s)",
        resumed.as_secs_f64()
    ));
    ensure!(
        resumed <= RESUMED_WITHIN,
        "I/O resumed only after {resumed:?}"
    );

    stage.node.write("/run/stop-writers", "").await?;
    let filesystem = writers[0]
        .finish(&stage.node, &volumes.filesystem)
        .await
        .context("filesystem writer")?;
    let block = writers[1]
        .finish(&stage.node, &volumes.block)
        .await
        .context("block writer")?;
    story.step(&format!(
        "writers ended without one error; all {filesystem} + {block} records are there, in order"
    ));
    for used in [&volumes.filesystem, &volumes.block] {
        let now = stage.node.script(&reread(used)).await?;
        ensure!(
            now.trim() == used.checksum,
            "checksum is {now}, was {}",
            used.checksum
        );
    }
    let after = device_and_mount(stage, volumes).await?;
    ensure!(before == after, "before: {before}, after: {after}");
    story.step("both checksums hold; the same mount on the same device");
    Ok(())
}

/// The mount of the filesystem volume and the number of the block volume.
async fn device_and_mount(stage: &Stage, volumes: &Volumes) -> Result<String> {
    let (mount, node) = (&volumes.filesystem.target, &volumes.block.target);
    let script = format!("grep -F ' {mount} ' /proc/self/mountinfo; stat -c %t:%T {node}");
    stage.node.script(&script).await
}
