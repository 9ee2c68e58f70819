//! Writers through a cut link and a power cut of the appliance.

use rds_csi_core::names::parameter::RECONNECT_DELAY;
use rds_csi_tests::agent::Status;
use rds_csi_tests::guest::Process;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

/// How long the kernel's attempt under way can take to fail after the link is back.
const ATTEMPT: f64 = 1.0;

struct Writer {
    volume: Volume,
    pod: Pod,
    delay: f64,
    process: Process,
    /// The pod's mount, or its device.
    place: String,
}

impl Writer {
    /// Starts a program that writes and syncs numbered records without end, and tells
    /// the guest's clock after each.
    async fn start(cluster: &Cluster, claim: Claim, delay: f64) -> Self {
        let node = cluster.node();
        let volume = claim.create(cluster.controller()).await.unwrap();
        let pod = Pod::start(cluster.controller(), node, &volume, "pod").await;
        let write = match volume.claim.filesystem {
            Some(_) => format!("of={}/records oflag=append", pod.target),
            None => format!("of={} seek=$i bs=4096", pod.target),
        };
        let script = format!(
            "set -e; i=0
             while [ ! -e /run/stop ]; do
               printf '%-4095d\\n' $i | dd {write} conv=notrunc,fsync status=none
               i=$((i + 1)); echo $i $EPOCHREALTIME
               sleep 0.05
             done"
        );
        let name = format!("writer-{}", volume.claim.name);
        let process = node
            .guest
            .spawn(&name, &["bash", "-c", &script], &[])
            .await
            .unwrap();
        let place = place(node, &pod).await;
        let writer = Self {
            volume,
            pod,
            delay,
            process,
            place,
        };
        writer.wait_until("writes", |times| times.len() > 5).await;
        writer
    }

    /// When each record was written, by the guest's clock.
    fn times(&self) -> Vec<f64> {
        let output = self.process.output();
        let whole = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let time = |line: &str| line.split_once(' ')?.1.parse().ok();
        whole.lines().map(|line| time(line).unwrap()).collect()
    }

    async fn wait_until(&self, what: &str, reached: impl Fn(&[f64]) -> bool) {
        let what = format!("{} {what}", self.volume.claim.name);
        until(&what, DEADLINE, async || {
            assert_eq!(
                self.process.status().await?,
                None,
                "{}",
                self.process.output()
            );
            Ok(reached(&self.times()).then_some(()))
        })
        .await
        .unwrap();
    }

    /// The longest time that one record took before the outage.
    fn record(&self, before: f64) -> f64 {
        let times = self.times();
        times
            .windows(2)
            .filter(|pair| pair[1] < before)
            .map(|pair| pair[1] - pair[0])
            .fold(0.0, f64::max)
    }

    /// Asserts that the writer had no error and every record is there, on the same mount.
    async fn finish(&self, cluster: &Cluster) {
        let node = cluster.node();
        let ended = self.process.wait(DEADLINE).await.unwrap();
        assert_eq!(ended, Some(Status::Exited(0)), "{}", self.process.output());
        let count = self.times().len();
        assert_eq!(place(node, &self.pod).await, self.place);
        let read = match self.volume.claim.filesystem {
            Some(_) => format!("cat {}/records", self.pod.target),
            None => format!(
                "dd if={} bs=4096 count={count} iflag=direct status=none",
                self.pod.target
            ),
        };
        let check = format!("{read} | awk '$1 != NR - 1 {{ bad++ }} END {{ print NR, bad + 0 }}'");
        assert_eq!(node.script(&check).await, format!("{count} 0"));
        self.pod
            .stop(cluster.controller(), node, &self.volume)
            .await;
        self.volume.delete(cluster.controller()).await.unwrap();
    }
}

async fn place(node: &Node, pod: &Pod) -> String {
    let target = &pod.target;
    let script = format!("grep -F ' {target} ' /proc/self/mountinfo || stat -c %t:%T {target}");
    node.script(&script).await
}

#[tokio::test]
async fn writers_outlive_an_outage_and_go_on_in_time() {
    let mut cluster = Cluster::boot(&["node-a"]).await;
    let ext4 = Claim::filesystem("default-ext4", 128, "ext4");
    let fast = Claim::filesystem("fast-xfs", 320, "xfs").parameter(RECONNECT_DELAY, "2");
    let block = Claim::block("fast-block", 128).parameter(RECONNECT_DELAY, "2");
    let writers = [
        Writer::start(&cluster, ext4, 5.0).await,
        Writer::start(&cluster, fast, 2.0).await,
        Writer::start(&cluster, block, 2.0).await,
    ];
    cluster.lab.cut(cluster.appliance.guest()).unwrap();
    let cut = cluster.node().clock().await;
    cluster.appliance.power_off().unwrap();
    cluster.appliance.power_on().await.unwrap();
    until("all sessions have noticed", DEADLINE, async || {
        let states = cluster.node().script("cat /sys/class/nvme/nvme*/state");
        Ok((states.await.matches("connecting").count() == writers.len()).then_some(()))
    })
    .await
    .unwrap();

    // Before and not after: what the restoring takes counts too.
    let back = cluster.node().clock().await;
    cluster.lab.restore(cluster.appliance.guest()).unwrap();
    for writer in &writers {
        let goes_on = |times: &[f64]| times.iter().filter(|time| **time > back).count() > 5;
        writer.wait_until("goes on", goes_on).await;
        let resumed = writer.times().into_iter().find(|time| *time > back);
        let (resumed, record) = (resumed.unwrap() - back, writer.record(cut));
        println!(
            "{}: target back to I/O resumed: {resumed:.2} s (reconnect delay {} s, a record {record:.2} s)",
            writer.volume.claim.name, writer.delay
        );
        assert!(resumed <= writer.delay + ATTEMPT + record);
    }
    cluster.node().script("touch /run/stop").await;
    for writer in &writers {
        writer.finish(&cluster).await;
    }
    cluster.assert_clean().await;
}
