//! The webhook's figures, each beside its bound, measured in one run of an optimised
//! build: how long a review takes, in process and over TLS, and what the process holds.
//!
//! The webhook keeps the storage classes of a cluster and nothing else: claims, volumes
//! and pods come with the review that asks about them. So many claims as there are classes
//! are reviewed here, and nothing of them may stay.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures go to a person"
)]

mod api;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use rds_csi_tests::webhook::{Reviews, WebhookProcess};
use rds_csi_webhook::metrics::Metrics;
use rds_csi_webhook::review::Reviewer;
use rds_csi_webhook::storage_classes::{StorageClassStore, StorageClasses};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

const CLASSES: usize = 5000;
const RATE: u32 = 1000;
const CONNECTIONS: u32 = 4;
const LENGTH: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let in_process = in_process()?;
    let (over_tls, resident) = as_a_process().await?;
    println!("webhook, {CLASSES} storage classes, reviews of {CLASSES} claims");
    let figures = [
        at_most("review in process, p99", in_process, 1.0, "ms"),
        at_most("review over TLS at 1000/s, p99", over_tls, 10.0, "ms"),
        at_most("resident after that", resident, 32.0, "MiB"),
    ];
    Ok(ExitCode::from(u8::from(
        !figures.iter().all(|within| *within),
    )))
}

/// Prints a figure and its bound.
fn at_most(what: &str, measured: f64, bound: f64, unit: &str) -> bool {
    let verdict = if measured <= bound { "" } else { "  OVER" };
    println!("{what:<64} {measured:>9.3} {unit:<5} (at most {bound} {unit}){verdict}");
    measured <= bound
}

/// A review of a claim of a class of ours, refused if its number is odd.
fn claim(number: usize) -> String {
    let fields = json!({"f:spec": {"f:accessModes": {}, "f:resources": {"f:requests":
        {".": {}, "f:storage": {}}}, "f:storageClassName": {}, "f:volumeMode": {}}});
    let mode = ["ReadWriteOnce", "ReadWriteMany"][number % 2];
    let name = format!("claim-{number}");
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": format!("8eddff48-16e0-4664-902d-{number:012}"),
            "kind": {"group": "", "version": "v1", "kind": "PersistentVolumeClaim"},
            "resource": {"group": "", "version": "v1", "resource": "persistentvolumeclaims"},
            "name": name, "namespace": "shop", "operation": "CREATE", "dryRun": false,
            "userInfo": {"username": "system:serviceaccount:kube-system:statefulset-controller"},
            "object": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": name, "namespace": "shop", "labels": {"app": "shop"},
                    "finalizers": ["kubernetes.io/pvc-protection"],
                    "managedFields": [{"manager": "kube-controller-manager", "apiVersion": "v1",
                        "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}],
                },
                "spec": {
                    "storageClassName": format!("class-{}", number % CLASSES),
                    "accessModes": [mode], "volumeMode": "Filesystem",
                    "resources": {"requests": {"storage": "20Gi"}},
                },
            },
        },
    })
    .to_string()
}

/// The 99th of a hundred, in milliseconds.
fn p99(mut times: Vec<Duration>) -> Result<f64> {
    times.sort_unstable();
    let time = times.get(times.len() * 99 / 100).context("no times")?;
    Ok(time.as_secs_f64() * 1000.0)
}

/// From body to encoded answer, one review after the other.
fn in_process() -> Result<f64> {
    let classes: Vec<_> = (0..CLASSES)
        .map(|number| serde_json::from_value(api::class(number)))
        .collect::<Result<_, _>>()?;
    let classes: StorageClasses = classes.iter().collect();
    let store = StorageClassStore::of(classes);
    let reviewer = Reviewer::new("rds.csi.srvlab.io".parse()?, store, Metrics::default());
    let times = (0..2 * CLASSES).map(|number| {
        let body = claim(number);
        let began = Instant::now();
        let answer = serde_json::to_vec(
            &reviewer
                .review(body.as_bytes())
                .now_or_never()
                .context("it waited")??,
        )?;
        let took = began.elapsed();
        ensure!(!answer.is_empty(), "an empty answer");
        Ok(took)
    });
    p99(times.collect::<Result<_>>()?)
}

/// The program itself: latency at a steady rate on kept connections, then its memory.
async fn as_a_process() -> Result<(f64, f64)> {
    let mut tasks = JoinSet::new();
    let address = api::start(CLASSES, &mut tasks).await?;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    let webhook = WebhookProcess::in_cluster(&kubeconfig.to_string()).await?;
    until_refused(&webhook).await?;
    let mut clients = JoinSet::new();
    for client in 0..CONNECTIONS {
        clients.spawn(ask(webhook.connect().await?, client as usize));
    }
    let mut times = Vec::new();
    while let Some(asked) = clients.join_next().await {
        times.extend(asked??);
    }
    let resident = resident(webhook.pid())?;
    webhook.stop().await?;
    tasks.shutdown().await;
    Ok((p99(times)?, resident))
}

/// Waits until the classes are known: before that nothing is refused.
async fn until_refused(webhook: &WebhookProcess) -> Result<()> {
    let bad: Value = serde_json::from_str(&claim(CLASSES - 1))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while webhook.review(&bad).await?["allowed"] != false {
        ensure!(Instant::now() < deadline, "the classes are not read");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Asks at this connection's share of the rate.
async fn ask(mut reviews: Reviews, client: usize) -> Result<Vec<Duration>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) * CONNECTIONS / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < LENGTH {
        ticks.tick().await;
        let body = claim(client + times.len() * CONNECTIONS as usize);
        let asked = Instant::now();
        let answer = reviews.review(&body).await?;
        times.push(asked.elapsed());
        ensure!(answer["response"]["uid"].is_string(), "no answer: {answer}");
    }
    Ok(times)
}

/// `VmRSS` in MiB.
fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()?;
    Ok(kib / 1024.0)
}
