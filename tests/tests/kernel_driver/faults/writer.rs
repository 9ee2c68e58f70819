//! A program in a guest that writes numbered records, each down to the device before the
//! next, and says when (`record-writer`); after an error it tries the same one again.
//! At the end each byte of them is compared, and for a raw volume each one beyond them.

use rds_csi_tests::agent::Status;
use rds_csi_tests::guest::Process;
use rds_csi_tests::lab::program;
use rds_csi_tests::record::{SIZE, record};
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE, Node};
use crate::pod::Pod;

pub(super) struct Writer {
    pub(super) volume: Volume,
    pub(super) pod: Pod,
    /// Which of the cluster's nodes it is on.
    pub(super) node: usize,
    /// Whether that one's kernel has native multipath.
    pub(super) multipath: bool,
    process: Process,
    /// Errors that were accounted for.
    errors: usize,
}

impl Writer {
    /// On the first node.
    pub(super) async fn start(cluster: &Cluster, claim: Claim) -> Self {
        Self::start_on(cluster, 0, claim).await
    }

    pub(super) async fn start_on(cluster: &Cluster, index: usize, claim: Claim) -> Self {
        let node = &cluster.nodes[index];
        let volume = claim.create(cluster.controller()).await.unwrap();
        let pod = Pod::start(cluster.controller(), node, &volume, "pod").await;
        let data = data(&volume, &pod);
        if volume.claim.filesystem.is_some() {
            node.script(&format!("touch {data}; sync {data}")).await;
        }
        let program = program("record-writer").unwrap().display().to_string();
        let name = format!("writer-{}", volume.claim.name);
        let argv = [&*program, &*data];
        let process = node.guest.spawn(&name, &argv, &[]).await.unwrap();
        let writer = Self {
            volume,
            pod,
            node: index,
            multipath: node.multipath,
            process,
            errors: 0,
        };
        writer
            .wait_until("writes", || writer.times().len() > 5)
            .await;
        writer
    }

    pub(super) fn name(&self) -> &str {
        &self.volume.claim.name
    }

    pub(super) fn on<'a>(&self, cluster: &'a Cluster) -> &'a Node {
        &cluster.nodes[self.node]
    }

    /// Whether the kernel gives it up soon.
    pub(super) fn is_short(&self) -> bool {
        self.name().starts_with("short")
    }

    /// The volume at its pod.
    pub(super) fn target(&self) -> &str {
        &self.pod.target
    }

    fn lines(&self) -> Vec<(String, f64)> {
        let output = self.process.output();
        let whole = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let line = |line: &str| {
            let (what, time) = line.split_once(' ')?;
            Some((what.to_owned(), time.parse().ok()?))
        };
        whole.lines().map(|text| line(text).unwrap()).collect()
    }

    /// When each record was acknowledged, by the guest's clock.
    pub(super) fn times(&self) -> Vec<f64> {
        let records = self.lines().into_iter().filter(|(what, _)| what != "error");
        records.map(|(_, time)| time).collect()
    }

    /// The errors since they were last asked for.
    pub(super) fn new_errors(&mut self) -> usize {
        let errors = self
            .lines()
            .iter()
            .filter(|(what, _)| what == "error")
            .count();
        errors - std::mem::replace(&mut self.errors, errors)
    }

    /// Until it has seen an error.
    pub(super) async fn fails(&self) {
        let failed = || self.lines().iter().any(|(what, _)| what == "error");
        self.wait_until("fails", failed).await;
    }

    async fn wait_until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let what = format!("{} {what}", self.name());
        until(&what, DEADLINE, async || {
            let ended = self.process.status().await?;
            assert_eq!(ended, None, "{}", self.process.output());
            Ok(reached().then_some(()))
        })
        .await
        .unwrap();
    }

    /// When the first of some records after a moment was acknowledged.
    pub(super) async fn resumed(&self, after: f64) -> f64 {
        let since = || -> Vec<f64> {
            let times = self.times();
            times.into_iter().filter(|time| *time > after).collect()
        };
        self.wait_until("goes on", || since().len() > 5).await;
        since()[0]
    }

    /// The longest time from one record to the next of the last few before a moment: what
    /// a record costs on this machine.
    pub(super) fn slowest_before(&self, moment: f64) -> f64 {
        let times: Vec<f64> = self
            .times()
            .into_iter()
            .filter(|time| *time < moment)
            .collect();
        let last = &times[times.len().saturating_sub(50)..];
        let pairs = last.windows(2).map(|pair| pair[1] - pair[0]);
        pairs.filter(|gap| *gap < 1.0).fold(0.0, f64::max)
    }

    /// Ends the program, compares every byte on the device with what was written, and takes
    /// the volume down. How many bytes of records were compared.
    pub(super) async fn finish(self, cluster: &Cluster) -> usize {
        self.end(cluster).await;
        self.compare(cluster).await
    }

    /// [`Writer::finish`] of a program that has ended.
    pub(super) async fn compare(self, cluster: &Cluster) -> usize {
        let lost = self.lost(cluster).await;
        assert_eq!(lost, [], "{} lost records", self.name());
        self.assert_nothing_else(cluster).await;
        self.take_down(cluster).await
    }

    /// Ends the program, and those of the others on its node.
    pub(super) async fn end(&self, cluster: &Cluster) {
        self.on(cluster).script("touch /run/stop").await;
        let ended = self.process.wait(DEADLINE).await.unwrap();
        assert_eq!(ended, Some(Status::Exited(0)), "{}", self.process.output());
    }

    /// The records that were acknowledged and are not on the device, each with when the
    /// one before it and it itself was acknowledged. What is there in their place is
    /// nothing: the zeros of a place that was never written.
    pub(super) async fn lost(&self, cluster: &Cluster) -> Vec<(usize, f64, f64)> {
        let times = self.times();
        let held = self.read_back(cluster, 0, times.len()).await;
        let mut held = held.chunks(SIZE);
        let mut lost = Vec::new();
        for (number, time) in times.iter().enumerate() {
            let found = held.next().unwrap_or_default();
            if found == record(number) {
                continue;
            }
            let shown = String::from_utf8_lossy(&found[..found.len().min(64)]);
            let name = self.name();
            assert!(is_nothing(found), "{name}: {number} is {shown:?}");
            let before = number.checked_sub(1).map_or(0.0, |before| times[before]);
            lost.push((number, before, *time));
        }
        lost
    }

    /// So many records from one on, as the device has them.
    async fn read_back(&self, cluster: &Cluster, first: usize, count: usize) -> Vec<u8> {
        let node = self.on(cluster);
        let copy = node.guest.share().join(format!("{}.records", self.name()));
        let script = format!(
            "dd if={} of={} bs=1M skip={} count={} iflag=direct,skip_bytes,count_bytes conv=fsync status=none",
            data(&self.volume, &self.pod),
            copy.display(),
            first * SIZE,
            count * SIZE
        );
        node.script(&script).await;
        let held = std::fs::read(&copy).unwrap();
        std::fs::remove_file(&copy).unwrap();
        held
    }

    /// Beyond the records of a raw volume nobody has written. The one after the last may be
    /// there: where its program saw an error last, the device may have got it all the same.
    async fn assert_nothing_else(&self, cluster: &Cluster) {
        if self.volume.claim.filesystem.is_some() {
            return;
        }
        let (name, next) = (self.name(), self.times().len());
        let found = self.read_back(cluster, next, 1).await;
        let shown = String::from_utf8_lossy(&found[..64]);
        let is_its = found == record(next) || is_nothing(&found);
        assert!(is_its, "{name}: after the last record is {shown:?}");
        let script = format!(
            "size=$(blockdev --getsize64 {target})
             cmp -i {skip}:0 -n $((size - {skip})) {target} /dev/zero",
            target = self.pod.target,
            skip = (next + 1) * SIZE
        );
        self.on(cluster).script(&script).await;
    }

    /// The volume is unpublished and deleted. How many bytes of records it had.
    pub(super) async fn take_down(self, cluster: &Cluster) -> usize {
        self.pod
            .stop(cluster.controller(), self.on(cluster), &self.volume)
            .await;
        self.volume.delete(cluster.controller()).await.unwrap();
        self.times().len() * SIZE
    }
}

/// Whether it is as the device made it.
fn is_nothing(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn data(volume: &Volume, pod: &Pod) -> String {
    match volume.claim.filesystem {
        Some(_) => format!("{}/records", pod.target),
        None => pod.target.clone(),
    }
}
