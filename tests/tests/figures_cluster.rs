//! Figures of the product in a real cluster: what a person waits for, and whose time it is.
//!
//! `hack/bench cluster` runs this. Figures of time mean little on a busy machine. When
//! something happened is what the API server's audit log says, to the microsecond.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::jiff::Timestamp;
use rds_csi_tests::cluster::claim::{Claim, pod};
use rds_csi_tests::cluster::component::Component;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::{AuditLog, Cluster};
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

const BURST: usize = 100;
const ROUND_TRIP: Duration = Duration::from_millis(50);
const BURST_BOUND: f64 = 30.0;
const REPEATS: usize = 20;
const NODE: &str = "node-a";
const DEADLINE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_hundred_claims_at_once_are_bound_in_under_thirty_seconds() {
    let cluster = Cluster::whole().await.unwrap();
    let result = burst(&cluster).await;
    let appliance = cluster.appliance();
    appliance.latency(Duration::ZERO).await.unwrap();
    let (seconds, driver, share) = result.unwrap();
    println!(
        "{BURST} claims at once, {ROUND_TRIP:?} a round trip: {seconds:.1} s (at most {BURST_BOUND} s)"
    );
    println!("    of a claim's own way, {share:.0} % was CreateVolume: {driver:.1} s on average");
    assert!(seconds <= BURST_BOUND);
}

/// Seconds from the first claim to the last bound one, those of the average CreateVolume, and how
/// much of a hundred of a claim's time until it was bound that is.
async fn burst(cluster: &Cluster) -> anyhow::Result<(f64, f64, f64)> {
    let log = from_now_on(cluster)?;
    let namespace = Namespace::new(cluster, "figures-burst").await?;
    let before = durations(cluster, Component::Controller, "CreateVolume").await?;
    cluster.appliance().latency(ROUND_TRIP).await?;
    let claims: Vec<Value> = (0..BURST)
        .map(|number| Claim::filesystem(&format!("claim-{number}")).manifest())
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": claims});
    namespace.apply(&list).await?;
    until("all are bound", DEADLINE, async || {
        let list = cluster
            .get(&["--namespace", namespace.name(), "pvc"])
            .await?;
        let claims = list["items"].as_array().context("no list of claims")?;
        let bound = |claim: &&Value| claim["status"]["phase"] == "Bound";
        Ok((claims.iter().filter(bound).count() == BURST).then_some(()))
    })
    .await?;
    let after = durations(cluster, Component::Controller, "CreateVolume").await?;
    let audit = Audit::read(&log, namespace.name())?;
    let began = audit.first("create", "persistentvolumeclaims", None)?;
    let ended = audit.last("update", "persistentvolumeclaims", Some("status"))?;
    let calls = after.calls - before.calls;
    ensure!(calls > 0.0, "no CreateVolume was counted");
    let ways = audit.ways(BURST)?;
    namespace.delete().await?;
    let driver = (after.seconds - before.seconds) / calls;
    let average = ways.iter().sum::<f64>() / ways.len() as f64;
    Ok((seconds(began, ended), driver, 100.0 * driver / average))
}

#[tokio::test]
async fn a_pod_with_a_new_claim_runs_soon() {
    let cluster = Cluster::whole().await.unwrap();
    let mut stages = BTreeMap::<&str, Vec<f64>>::new();
    for _ in 0..REPEATS {
        for (stage, seconds) in stages_of_a_pod(&cluster).await.unwrap() {
            stages.entry(stage).or_default().push(seconds);
        }
    }
    println!("claim created to pod running, median of {REPEATS}, seconds:");
    for stage in ["bind", "attach", "stage", "publish", "start", "all"] {
        println!(
            "    {stage:<8} {:6.2}",
            median(stages.remove(stage).unwrap())
        );
    }
}

/// A pod with a new claim, and how long each stage of its way took.
async fn stages_of_a_pod(cluster: &Cluster) -> anyhow::Result<[(&'static str, f64); 6]> {
    let log = from_now_on(cluster)?;
    let namespace = Namespace::new(cluster, "figures-pod").await?;
    let claim = Claim::filesystem("claim");
    let before = (
        durations(cluster, Component::Node, "NodeStageVolume").await?,
        durations(cluster, Component::Node, "NodePublishVolume").await?,
    );
    let pod = pod("pod", Some(NODE), &claim);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [claim.manifest(), pod]});
    namespace.apply(&list).await?;
    let volume = namespace.bound("claim").await?;
    namespace.running("pod").await?;
    let stage = durations(cluster, Component::Node, "NodeStageVolume")
        .await?
        .seconds
        - before.0.seconds;
    let publish = durations(cluster, Component::Node, "NodePublishVolume")
        .await?
        .seconds
        - before.1.seconds;
    let attachment = attachment(cluster, &volume).await?;
    let audit = Audit::read(&log, namespace.name())?;
    let created = audit.first("create", "persistentvolumeclaims", None)?;
    let bound = audit.last("update", "persistentvolumeclaims", Some("status"))?;
    let running = audit.last("patch", "pods", Some("status"))?;
    let attached =
        Audit::of_object(&log, &attachment)?.last("patch", "volumeattachments", Some("status"))?;
    namespace.delete().await?;
    let all = seconds(created, running);
    Ok([
        ("bind", seconds(created, bound)),
        ("attach", seconds(bound, attached)),
        ("stage", stage),
        ("publish", publish),
        ("start", seconds(attached, running) - stage - publish),
        ("all", all),
    ])
}

async fn attachment(cluster: &Cluster, volume: &str) -> anyhow::Result<String> {
    let list = cluster.get(&["volumeattachments"]).await?;
    let all = list["items"].as_array().into_iter().flatten();
    let mut ours = all.filter(|one| one["spec"]["source"]["persistentVolumeName"] == volume);
    let ours = ours.next().context("the volume is not attached")?;
    let name = ours["metadata"]["name"].as_str().context("no name")?;
    Ok(name.to_owned())
}

/// The log of what comes from now on: a namespace of the same name may have been there before.
fn from_now_on(cluster: &Cluster) -> anyhow::Result<AuditLog> {
    let mut log = cluster.audit();
    log.skip()?;
    Ok(log)
}

/// What the API server wrote down of requests that succeeded.
struct Audit(Vec<Value>);

impl Audit {
    /// Of what is in a namespace.
    fn read(log: &AuditLog, namespace: &str) -> anyhow::Result<Self> {
        Self::of(log, namespace, |object| object["namespace"] == namespace)
    }

    fn of_object(log: &AuditLog, name: &str) -> anyhow::Result<Self> {
        Self::of(log, name, |object| object["name"] == name)
    }

    fn of(log: &AuditLog, text: &str, is_ours: impl Fn(&Value) -> bool) -> anyhow::Result<Self> {
        let ours = log.clone().pick(text, |line| {
            let succeeded = line["responseStatus"]["code"].as_u64() < Some(300);
            (succeeded && is_ours(&line["objectRef"])).then(|| line.clone())
        });
        ours.map(Self)
    }

    /// Seconds from each claim's creation until it was bound.
    fn ways(&self, count: usize) -> anyhow::Result<Vec<f64>> {
        let mut ways = BTreeMap::<&str, (Option<Timestamp>, Option<Timestamp>)>::new();
        for line in &self.0 {
            let name = line["objectRef"]["name"].as_str().unwrap_or_default();
            let is = |verb, part| is_request(line, verb, "persistentvolumeclaims", part);
            if is("create", None) {
                ways.entry(name).or_default().0 = Some(time(line)?);
            } else if is("update", Some("status")) {
                ways.entry(name).or_default().1 = Some(time(line)?);
            }
        }
        let whole = ways
            .values()
            .filter_map(|(made, bound)| Some(seconds((*made)?, (*bound)?)));
        let whole: Vec<f64> = whole.collect();
        ensure!(
            whole.len() == count,
            "{} of {count} claims are in the log",
            whole.len()
        );
        Ok(whole)
    }

    fn first(&self, verb: &str, kind: &str, part: Option<&str>) -> anyhow::Result<Timestamp> {
        let times = self.times(verb, kind, part)?;
        times
            .first()
            .copied()
            .with_context(|| format!("no {verb} of {kind}"))
    }

    fn last(&self, verb: &str, kind: &str, part: Option<&str>) -> anyhow::Result<Timestamp> {
        let times = self.times(verb, kind, part)?;
        times
            .last()
            .copied()
            .with_context(|| format!("no {verb} of {kind}"))
    }

    /// When such requests were answered, in order.
    fn times(&self, verb: &str, kind: &str, part: Option<&str>) -> anyhow::Result<Vec<Timestamp>> {
        let is_one = |line: &&Value| is_request(line, verb, kind, part);
        let ours = self.0.iter().filter(is_one);
        let mut times = ours.map(time).collect::<anyhow::Result<Vec<_>>>()?;
        times.sort_unstable();
        Ok(times)
    }
}

/// Whether a line is of a request of this verb for this kind, or for a part of it.
fn is_request(line: &Value, verb: &str, kind: &str, part: Option<&str>) -> bool {
    line["verb"] == verb
        && line["objectRef"]["resource"] == kind
        && line["objectRef"]["subresource"].as_str() == part
}

/// When a request was answered.
fn time(line: &Value) -> anyhow::Result<Timestamp> {
    let time = line["stageTimestamp"].as_str().context("no time")?;
    Ok(time.parse()?)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// What the driver measured of one kind of call, over all pods of a component.
struct Durations {
    calls: f64,
    seconds: f64,
}

async fn durations(
    cluster: &Cluster,
    component: Component,
    rpc: &str,
) -> anyhow::Result<Durations> {
    let rpc = format!("rpc=\"{rpc}\"");
    let of_it = async |part| {
        let metric = format!("rds_csi_rpc_duration_seconds_{part}");
        cluster.counted(component, &metric, &[&rpc]).await
    };
    Ok(Durations {
        calls: of_it("count").await?,
        seconds: of_it("sum").await?,
    })
}
