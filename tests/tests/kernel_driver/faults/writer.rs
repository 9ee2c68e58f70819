//! A program in a guest that writes numbered records, each down to the device before the
//! next, and says when; after an error it opens the target again and tries the same one.

use rds_csi_tests::agent::Status;
use rds_csi_tests::guest::Process;
use rds_csi_tests::volume::{Claim, Volume};
use rds_csi_tests::wait::until;

use crate::cluster::{Cluster, DEADLINE};
use crate::pod::Pod;

pub(super) struct Writer {
    pub(super) volume: Volume,
    pod: Pod,
    process: Process,
    /// Errors that were accounted for.
    errors: usize,
}

impl Writer {
    pub(super) async fn start(cluster: &Cluster, claim: Claim) -> Self {
        let node = cluster.node();
        let volume = claim.create(cluster.controller()).await.unwrap();
        let pod = Pod::start(cluster.controller(), node, &volume, "pod").await;
        let data = data(&volume, &pod);
        if volume.claim.filesystem.is_some() {
            node.script(&format!("touch {data}; sync {data}")).await;
        }
        // nocreat: a file that is made where the volume is not mounted is no record.
        let script = format!(
            "i=0
             while [ ! -e /run/stop ]; do
               if printf '%-4095d\\n' $i | dd of={data} seek=$i bs=4096 conv=nocreat,notrunc,fsync status=none 2>/dev/null
               then i=$((i + 1)); echo $i $EPOCHREALTIME
               else echo error $EPOCHREALTIME; sleep 0.1
               fi
               sleep 0.02
             done"
        );
        let name = format!("writer-{}", volume.claim.name);
        let argv = ["bash", "-c", &script];
        let process = node.guest.spawn(&name, &argv, &[]).await.unwrap();
        let writer = Self {
            volume,
            pod,
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

    /// Ends the program, reads back every record from the device, and takes the volume
    /// down. How many bytes were read.
    pub(super) async fn finish(self, cluster: &Cluster) -> usize {
        self.end(cluster).await;
        let lost = self.lost(cluster).await;
        assert_eq!(lost, [], "{} lost records", self.name());
        self.take_down(cluster).await
    }

    pub(super) async fn end(&self, cluster: &Cluster) {
        cluster.node().script("touch /run/stop").await;
        let ended = self.process.wait(DEADLINE).await.unwrap();
        assert_eq!(ended, Some(Status::Exited(0)), "{}", self.process.output());
    }

    /// The records that were acknowledged and are not on the device, each with when the
    /// one before it and it itself was acknowledged.
    pub(super) async fn lost(&self, cluster: &Cluster) -> Vec<(usize, f64, f64)> {
        let times = self.times();
        // What was never written is zeros.
        let script = format!(
            "dd if={} bs=4096 count={} iflag=direct status=none | tr '\\0' '\\n' |
             awk 'NF {{ print $1 }}'",
            data(&self.volume, &self.pod),
            times.len()
        );
        let found = cluster.node().script(&script).await;
        let mut found = found.lines().map(|line| line.parse::<usize>().unwrap());
        let mut next = found.next();
        let mut lost = Vec::new();
        for (record, time) in times.iter().enumerate() {
            if next == Some(record) {
                next = found.next();
            } else {
                let before = record.checked_sub(1).map_or(0.0, |before| times[before]);
                lost.push((record, before, *time));
            }
        }
        assert_eq!(next, None, "{}: records out of place", self.name());
        lost
    }

    /// The volume is unpublished and deleted. How many bytes of records it had.
    pub(super) async fn take_down(self, cluster: &Cluster) -> usize {
        self.pod
            .stop(cluster.controller(), cluster.node(), &self.volume)
            .await;
        self.volume.delete(cluster.controller()).await.unwrap();
        self.times().len() * 4096
    }
}

fn data(volume: &Volume, pod: &Pod) -> String {
    match volume.claim.filesystem {
        Some(_) => format!("{}/records", pod.target),
        None => pod.target.clone(),
    }
}
