//! What the webhook adds to a claim's creation, through the API server.

use std::time::Duration;

use rds_csi_tests::cluster::namespace::Claim;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::DryRun;
use crate::ground::{close, new_claims, open};

const RATE: u32 = 300;
const ROUND: Duration = Duration::from_secs(5);
const BOUNDS_HOLD: &str = "RDS_CSI_BOUNDS";
/// The bound on what is added, at the 99th percentile, where the machine has nothing else to
/// do: so it is held only where figures are asked for, by `hack/bench cluster`.
const BOUND: Duration = Duration::from_millis(10);

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
        asked_in <= ROUND * 11 / 10,
        "{count} requests were asked in {asked_in:?}"
    );
    asked.join_all().await
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// The same claim of a foreign class and of ours, in turns, so that whatever else the
/// machine does falls on both. Every request must be answered.
#[tokio::test]
async fn a_review_through_the_api_server_takes_its_time_at_300_a_second() {
    let (cluster, namespace) = open("admission-figures").await;
    let requests = DryRun::new(&namespace).await;
    let ours = Claim::filesystem("claim");
    let foreign = ours.clone().of_class("of-somebody-else").manifest();
    let ours = ours.manifest();
    for claim in [&foreign, &ours] {
        requests.create(claim).await.unwrap();
    }
    let before = new_claims(&cluster).await;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let hold = std::env::var_os(BOUNDS_HOLD).is_some();
    for _ in 0..if hold { 4 } else { 1 } {
        without.extend(round(&requests, &foreign).await);
        with.extend(round(&requests, &ours).await);
    }
    // All of one kind were reviewed and none of the other.
    assert_eq!(new_claims(&cluster).await - before, with.len() as u64);
    for percent in [50, 99] {
        let (bare, reviewed) = (
            percentile(&mut without, percent),
            percentile(&mut with, percent),
        );
        println!(
            "claim through the API server, {RATE} a second, p{percent}: {bare:.1?} without a review, \
             {reviewed:.1?} with one, {:.1} times; added {:.1?}",
            reviewed.as_secs_f64() / bare.as_secs_f64(),
            reviewed.saturating_sub(bare),
        );
    }
    let added = percentile(&mut with, 99).saturating_sub(percentile(&mut without, 99));
    println!("bound: p99 of what is added under {BOUND:?} on an idle machine");
    close(&cluster, namespace).await;
    assert!(!hold || added < BOUND, "{added:?}");
}
