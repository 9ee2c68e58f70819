//! What the webhook adds to a claim's creation, through the API server.
//!
//! What is added is said twice. By the client: the slowest of a hundred with a review, less the
//! slowest of a hundred without one, which is what the bound is on. And by the API server's own
//! histogram of what it waits for the webhook. What a claim costs the API server's processors is
//! beside them: where those are nearly busy, both are times in its queues.

use std::time::Duration;

use k8s_openapi::ByteString;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::cluster::layout::State;
use rds_csi_tests::cluster::mend::{BESIDE, PAST, WEBHOOKS};
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::metrics;
use rds_csi_tests::wait::until;
use rds_csi_tests::webhook::WebhookProcess;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::DryRun;
use crate::ground::{NEW_CLAIMS, REVIEWS, new_claims, open};

const RATE: u32 = 300;
const ROUND: Duration = Duration::from_secs(5);
/// What a review may add at the 99th percentile.
const BOUND: Duration = Duration::from_millis(10);
/// Where this is set, that bound holds, and the pace of the client, on a machine that has nothing
/// else to do: `hack/bench cluster` sets it.
const BOUNDS_HOLD: &str = "RDS_CSI_BOUNDS";
/// The webhook of claims.
const OF_CLAIMS: &str = "persistentvolumeclaims.webhook.rds.csi.srvlab.io";
/// How long the API server waits for webhooks, and the bounds of its counts, in seconds.
const WAITS: &str = "apiserver_admission_webhook_admission_duration_seconds_bucket";
/// The processor time of the API server, in seconds.
const BUSY: &str = "process_cpu_seconds_total";
const WITHIN: [&str; 5] = ["0.005", "0.025", "0.1", "0.5", "+Inf"];

/// Asks for the claim at the rate, whatever the answers take: how long each took since it was due.
async fn round(requests: &DryRun, claim: &Value) -> Vec<Duration> {
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    let count = u64::from(RATE) * ROUND.as_secs();
    let round_began = Instant::now();
    for _ in 0..count {
        let began = ticks.tick().await;
        let (requests, claim) = (requests.clone(), claim.clone());
        asked.spawn(async move {
            requests.create(&claim).await.unwrap();
            began.elapsed()
        });
    }
    let asked_in = round_began.elapsed();
    assert!(
        !bounds_hold() || asked_in <= ROUND * 11 / 10,
        "{count} requests were asked in {asked_in:?}"
    );
    asked.join_all().await
}

fn bounds_hold() -> bool {
    std::env::var_os(BOUNDS_HOLD).is_some()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// How long claims take that are reviewed and that are not.
struct Figures {
    /// So many of each came before.
    first: usize,
    without: Vec<Duration>,
    with: Vec<Duration>,
    /// The processor time of the API server for all without a review, and for all with one.
    busy: [Duration; 2],
}

impl Figures {
    /// A claim of ours and the same of a foreign class, in turns, so that whatever else the
    /// machine does falls on both. Every request must be answered.
    async fn measure(cluster: &Cluster, requests: &DryRun, ours: &Claim, rounds: u32) -> Self {
        let foreign = ours.clone().of_class("of-somebody-else").manifest();
        let ours = labelled(ours.manifest());
        let (mut without, mut with) = (Vec::new(), Vec::new());
        // The first find connections to be made, and all else that happens once.
        let mut first = 0;
        for claim in [&foreign, &ours] {
            first = round(requests, claim).await.len();
        }
        let mut busy = [Duration::ZERO; 2];
        for _ in 0..rounds {
            let begun = busy_for(cluster).await;
            without.extend(round(requests, &foreign).await);
            let turned = busy_for(cluster).await;
            with.extend(round(requests, &ours).await);
            busy[0] += turned - begun;
            busy[1] += busy_for(cluster).await - turned;
        }
        Self {
            first,
            without,
            with,
            busy,
        }
    }

    /// How many were reviewed.
    fn reviewed(&self) -> u64 {
        (self.first + self.with.len()) as u64
    }

    /// Prints what the review added, by the webhook that is meant, at the median and at the 99th
    /// percentile: the latter.
    #[expect(clippy::print_stdout, reason = "the figures go to a person")]
    fn print(mut self, by: &str) -> Duration {
        let [without, with] = [(0, &self.without), (1, &self.with)].map(|(side, asked)| {
            let count = u32::try_from(asked.len()).unwrap();
            self.busy[side] / count
        });
        println!(
            "of a processor, the API server takes {without:.1?} for a claim without a review, {with:.1?} with one"
        );
        let [_, slowest] = [50, 99].map(|percent| {
            let without = percentile(&mut self.without, percent);
            let with = percentile(&mut self.with, percent);
            let added = with.saturating_sub(without);
            println!(
                "claim through the API server, {RATE} a second, webhook {by}, p{percent}: \
                 {without:.1?} without a review, {with:.1?} with one; added {added:.1?}"
            );
            added
        });
        slowest
    }
}

/// The API server's processor time since it began.
async fn busy_for(cluster: &Cluster) -> Duration {
    let page = cluster.api_metrics().await.unwrap();
    Duration::from_secs_f64(metrics::sum(&page, BUSY, &[]).unwrap())
}

/// How many creations of claims the API server has had reviewed within each of the times.
async fn waits(cluster: &Cluster) -> [u64; WITHIN.len()] {
    let page = cluster.api_metrics().await;
    let page = page.unwrap();
    let name = format!("name=\"{OF_CLAIMS}\"");
    WITHIN.map(|within| {
        let labels = [&*name, "operation=\"CREATE\"", &format!("le=\"{within}\"")];
        metrics::sum(&page, WAITS, &labels).unwrap()
    })
}

/// Past the product's webhook, while there is a passage.
fn labelled(mut claim: Value) -> Value {
    claim["metadata"]["labels"] = json!({PAST: "yes"});
    claim
}

/// The webhook of the release, in guests, where each system call costs many times what it costs
/// on a machine: all of one kind are reviewed and none of the other.
#[tokio::test]
async fn a_review_through_the_api_server_takes_its_time_at_300_a_second() {
    let (cluster, namespace) = open("admission-figures").await;
    let requests = DryRun::new(&namespace).await;
    let before = new_claims(&cluster).await;
    let figures = Figures::measure(&cluster, &requests, &Claim::filesystem("claim"), 1).await;
    assert_eq!(new_claims(&cluster).await - before, figures.reviewed());
    figures.print("in guests");
    let added = if bounds_hold() {
        beside(&cluster, &requests).await
    } else {
        Duration::ZERO
    };
    namespace.delete().await.unwrap();
    assert!(added < BOUND, "a review is to add less than {BOUND:?}");
}

/// The same with the webhook as a process of the machine that the API server runs on: what a
/// review adds at the 99th percentile.
async fn beside(cluster: &Cluster, requests: &DryRun) -> Duration {
    let kubeconfig = std::fs::read_to_string(State::of_this_machine().kubeconfig()).unwrap();
    let webhook = WebhookProcess::in_cluster(&kubeconfig).await.unwrap();
    let configuration = configuration(cluster, &webhook).await;
    cluster.open_passage().await.unwrap();
    cluster.apply(&configuration.to_string()).await.unwrap();
    let reviews = async || {
        let page = webhook.metrics().await.unwrap();
        metrics::sum::<u64>(&page, REVIEWS, &NEW_CLAIMS).unwrap()
    };
    // Nodes as guests take what is measured here from the processors.
    for node in cluster.node_names() {
        cluster.node(node).unwrap().kill().await.unwrap();
    }
    let claim = Claim::filesystem("claim");
    until("the webhook is asked", DEADLINE, async || {
        requests.create(&labelled(claim.manifest())).await.unwrap();
        Ok((reviews().await > 0).then_some(()))
    })
    .await
    .unwrap();
    let (before, waited) = (reviews().await, waits(cluster).await);
    let figures = Figures::measure(cluster, requests, &claim, 4).await;
    assert_eq!(reviews().await - before, figures.reviewed());
    let now = waits(cluster).await;
    let waited = std::array::from_fn(|at| now[at] - waited[at]);
    assert_eq!(waited.last().copied(), Some(figures.reviewed()));
    for node in cluster.node_names() {
        cluster.node(node).unwrap().boot().await.unwrap();
    }
    let words = ["delete", "validatingwebhookconfiguration", BESIDE];
    cluster.kubectl(&words).await.unwrap();
    cluster.close_passage().await.unwrap();
    webhook.stop().await.unwrap();
    print_waits(&waited);
    figures.print("beside it")
}

#[expect(clippy::print_stdout, reason = "the figures go to a person")]
fn print_waits(waited: &[u64; WITHIN.len()]) {
    let [.., all] = *waited;
    for (within, count) in WITHIN.iter().zip(waited) {
        println!("the API server waits for a review at most {within} s: {count} of {all}");
    }
}

/// What the release says of claims, for another webhook.
async fn configuration(cluster: &Cluster, webhook: &WebhookProcess) -> Value {
    let ours = cluster.get(&[WEBHOOKS]).await.unwrap();
    let mut all = ours["webhooks"].as_array().unwrap().iter();
    let mut entry = all
        .find(|entry| entry["name"] == OF_CLAIMS)
        .unwrap()
        .clone();
    entry["clientConfig"] = json!({
        "url": format!("https://{}/validate", webhook.address()),
        "caBundle": ByteString(webhook.certificate().unwrap().into_bytes()),
    });
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": BESIDE},
        "webhooks": [entry],
    })
}
