//! The webhook's figures, each beside its bound, measured in one run of an optimised
//! build: how long a review takes, in process and over TLS, and what the process holds.
//!
//! The webhook keeps a cluster's storage classes, and of its PersistentVolumes, attachments
//! and pods what the rules need. Claims come with the review that asks about them: so many
//! as there are classes are reviewed here, and nothing of them may stay.
#![expect(clippy::print_stdout, reason = "the figures go to a person")]

mod cluster;

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster::Size;
use futures::FutureExt as _;
use futures::future::try_join_all;
use rds_csi_cluster::Watched;
use rds_csi_core::attachment::Modes;
use rds_csi_core::names::DriverName;
use rds_csi_tests::api_server::FakeApiServer;
use rds_csi_tests::wait::until;
use rds_csi_tests::webhook::{Reviews, WebhookProcess};
use rds_csi_webhook::attachments::AttachmentRules;
use rds_csi_webhook::metrics::Metrics;
use rds_csi_webhook::review::Reviewer;
use rds_csi_webhook::server::Limits;
use rds_csi_webhook::storage_classes::{StorageClassStore, StorageClasses};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

const CLASSES: usize = 5000;
const SIZE: Size = Size {
    classes: CLASSES,
    pods: 5000,
    claims: 2000,
    attachments: 1000,
};
/// Machines that move, beside all that.
const MOVING: usize = 100;
const RATE: u32 = 1000;
const CONNECTIONS: u32 = 4;
/// How long the cluster may take to be read.
const PATIENCE: Duration = Duration::from_secs(60);
const LENGTH: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let in_process = in_process()?;
    let api = FakeApiServer::start().await?;
    cluster::fill(&api, &SIZE);
    let [attaching, moving, together] = attaching(&api).await?;
    let (over_tls, resident) = as_a_process(&api).await?;
    let Size {
        classes,
        pods,
        claims,
        attachments,
    } = SIZE;
    println!(
        "webhook, {classes} storage classes, {pods} pods, {claims} volumes, {attachments} attachments"
    );
    let figures = [
        at_most("review of a claim in process, p99", in_process, 1.0, "ms"),
        at_most(
            "review of an attachment in process, p99",
            attaching,
            2.0,
            "ms",
        ),
        at_most(
            "the same of the target of a migration, which asks the API server, p99",
            moving,
            // Some requests one after the other, answered by this process.
            250.0,
            "ms",
        ),
        at_most("the same of 100 at once, slowest", together, 1000.0, "ms"),
        at_most(
            "review of a claim over TLS at 1000/s, p99",
            over_tls,
            10.0,
            "ms",
        ),
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
    let object = json!({
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
    });
    let kind = ("", "PersistentVolumeClaim", "persistentvolumeclaims");
    review(number, "statefulset-controller", kind, &object)
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
        .map(|number| serde_json::from_value(cluster::class(number)))
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

/// The volumes that nobody has are attached, one after the other, by what was watched; and then
/// those of machines that move, each to a second node, and all of them once more together: the p99
/// of both, and the slowest of the last.
async fn attaching(api: &FakeApiServer) -> Result<[f64; 3]> {
    api.know_kubevirt(&[
        "virtualmachineinstances",
        "virtualmachineinstancemigrations",
    ]);
    (SIZE.claims..SIZE.claims + MOVING).for_each(|number| cluster::moving(api, number));
    let driver = DriverName::default();
    let server = FakeApiServer::client(api.address()).await?;
    let watched = Arc::new(Watched::over(server));
    let mut tasks = JoinSet::new();
    let follower = watched.clone();
    tasks.spawn(async move { follower.follow().await });
    until("the cluster is read", PATIENCE, async || {
        Ok(watched.is_complete().then_some(()))
    })
    .await?;
    let live = watched.live();
    let limit = Limits::default().judgement();
    let rules = AttachmentRules::new(watched, live, driver.clone(), Modes::default(), limit);
    let store = StorageClassStore::of(StorageClasses::default());
    let reviewer = Reviewer::new(driver, store, Metrics::default()).with_attachments(rules);
    let before = readings(api);
    let alone = admitted(&reviewer, SIZE.attachments..SIZE.claims).await?;
    ensure!(readings(api) == before, "it asked the API server");
    let moving = admitted(&reviewer, SIZE.claims..SIZE.claims + MOVING).await?;
    ensure!(readings(api) > before, "nobody asked who migrates");
    let together = (SIZE.claims..SIZE.claims + MOVING).map(|number| admit(&reviewer, number));
    let together = try_join_all(together).await?.into_iter().max();
    let together = together.unwrap_or_default().as_secs_f64() * 1000.0;
    // That is no answer to everything: the first volumes are on nodes.
    let refused = attachment(SIZE.attachments - 1);
    let answer = serde_json::to_value(reviewer.review(refused.as_bytes()).await?)?;
    ensure!(answer["response"]["allowed"] == false, "{answer}");
    Ok([alone, moving, together])
}

/// How long it takes to admit the attachments of these volumes to another node, p99.
async fn admitted(reviewer: &Reviewer, volumes: Range<usize>) -> Result<f64> {
    let mut times = Vec::new();
    for number in volumes {
        times.push(admit(reviewer, number).await?);
    }
    p99(times)
}

async fn admit(reviewer: &Reviewer, number: usize) -> Result<Duration> {
    let body = attachment(number);
    let began = Instant::now();
    let answer = serde_json::to_value(reviewer.review(body.as_bytes()).await?)?;
    let took = began.elapsed();
    let (allowed, warnings) = (
        &answer["response"]["allowed"],
        &answer["response"]["warnings"],
    );
    ensure!(*allowed == true && warnings.is_null(), "{answer}");
    Ok(took)
}

/// A review of the attachment of a volume to a node that does not have it.
fn attachment(number: usize) -> String {
    let object = cluster::attachment(number, &cluster::node(number + 1));
    let group = "storage.k8s.io";
    review(
        number,
        "attachdetach-controller",
        (group, "VolumeAttachment", "volumeattachments"),
        &object,
    )
}

/// The review of an object that a controller of Kubernetes wants to make, of a kind by its
/// group, name and resource.
fn review(number: usize, by: &str, kind: (&str, &str, &str), object: &Value) -> String {
    let (group, kind, resource) = kind;
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": format!("8eddff48-16e0-4664-902d-{number:012}"),
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "name": metadata["name"], "namespace": namespace,
            "operation": "CREATE", "dryRun": false,
            "userInfo": {"username": format!("system:serviceaccount:kube-system:{by}")},
            "object": object,
        },
    })
    .to_string()
}

/// The program itself: latency at a steady rate on kept connections, then its memory.
async fn as_a_process(api: &FakeApiServer) -> Result<(f64, f64)> {
    let kubeconfig = FakeApiServer::kubeconfig(api.address());
    let webhook = WebhookProcess::in_cluster(&kubeconfig).await?;
    until_known(&webhook, api).await?;
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
    Ok((p99(times)?, resident))
}

/// Waits until the webhook knows the classes, since it refuses a claim, and all that it watches,
/// since for a second nothing is asked of the API server, an attachment's review included.
async fn until_known(webhook: &WebhookProcess, api: &FakeApiServer) -> Result<()> {
    let bad: Value = serde_json::from_str(&claim(CLASSES - 1))?;
    let free: Value = serde_json::from_str(&attachment(SIZE.attachments))?;
    until("the classes are read", PATIENCE, async || {
        Ok((webhook.review(&bad).await?["allowed"] == false).then_some(()))
    })
    .await?;
    until("the cluster is read", PATIENCE, async || {
        let before = readings(api);
        tokio::time::sleep(Duration::from_secs(1)).await;
        ensure!(webhook.review(&free).await?["allowed"] == true);
        Ok((readings(api) == before).then_some(()))
    })
    .await
}

/// How often the API server was asked, but for watches.
fn readings(api: &FakeApiServer) -> usize {
    let requests = api.requests();
    let is_reading = |call: &str| !call.starts_with("watch");
    requests
        .iter()
        .filter(|request| is_reading(&request.call))
        .count()
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
