//! The controller killed and killed again, and one of two taking over.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::{Claim, Namespace};
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::wait::until;
use tokio::time::{Instant, sleep};

use crate::books::{balanced, differences};
use crate::ground::{LONG, all_bound, apply_claims, bound, numbered, on_whole_cluster};
use crate::processes::{Chance, controllers};

const ROUNDS: usize = 10;
const CLAIMS: usize = 10;
const KILLS: usize = 2;
/// Kills fall into the first moments of a round, when most is under way.
const WITHIN: u64 = 3000;
/// The Lease of external-provisioner: dots of the driver's name cannot be in it.
const LEASE: &str = "rds-csi-srvlab-io";
const TAKEOVER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_controller_killed_twenty_times_loses_no_volume_and_leaves_none() {
    on_whole_cluster(async |cluster| {
        let mut chance = Chance::from_environment();
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-kills").await?;
        let mut last = Vec::new();
        for round in 0..ROUNDS {
            let new = numbered(&format!("claim-{round}"), CLAIMS);
            let (changed, killed) =
                tokio::join!(change(&namespace, &new, &last), kill(cluster, &mut chance));
            changed?;
            killed?;
            all_bound(&namespace, &new).await?;
            last = new;
        }
        until("deleted claims are gone", LONG, async || {
            let left = bound(&namespace).await;
            Ok((left.len() == CLAIMS).then_some(()))
        })
        .await?;
        let books = balanced(cluster, &before).await?;
        ensure!(books.volumes() >= CLAIMS, "{books:?}");
        namespace.delete().await?;
        balanced(cluster, &before).await.map(drop)
    })
    .await;
}

/// Makes claims and deletes others, all at once.
async fn change(namespace: &Namespace, new: &[String], old: &[String]) -> anyhow::Result<()> {
    apply_claims(namespace, new).await?;
    if old.is_empty() {
        return Ok(());
    }
    let mut words = vec!["delete", "pvc", "--wait=false"];
    words.extend(old.iter().map(String::as_str));
    namespace.kubectl(&words).await.map(drop)
}

/// Kills controllers, whichever runs, at random moments.
async fn kill(cluster: &Cluster, chance: &mut Chance) -> anyhow::Result<()> {
    for _ in 0..KILLS {
        sleep(Duration::from_millis(chance.below(WITHIN))).await;
        until("a controller was killed", LONG, async || {
            let running = controllers(cluster).await?;
            let Some(last) = u64::try_from(running.len()).ok().filter(|&count| count > 0) else {
                return Ok(None);
            };
            let chosen = usize::try_from(chance.below(last))?;
            let process = running.get(chosen).context("chosen outside the list")?;
            Ok(process.kill(cluster).await?.then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_of_two_controllers_works_and_the_other_takes_over_within_20_seconds() {
    on_whole_cluster(async |cluster| {
        let namespace = Namespace::new(cluster, "faults-takeover").await?;
        let leader = leader(cluster).await?;
        let other = other(cluster, &leader).await?;
        let idle = creations(cluster, &other).await?;
        let worked = creations(cluster, &leader).await?;
        namespace
            .apply(&Claim::filesystem("before").manifest())
            .await?;
        namespace.bound("before").await?;
        ensure!(
            creations(cluster, &other).await? == idle,
            "{other} worked too"
        );
        ensure!(
            creations(cluster, &leader).await? > worked,
            "{leader} was idle"
        );

        let words = ["delete", "pod", &leader, "--force", "--grace-period=0"];
        let words = [&["--namespace", NAMESPACE], &words[..]].concat();
        cluster.kubectl(&words).await?;
        let began = Instant::now();
        namespace
            .apply(&Claim::filesystem("after").manifest())
            .await?;
        namespace.bound("after").await?;
        let took = began.elapsed();
        println!(
            "leader killed, next claim bound after {:.1} s",
            took.as_secs_f64()
        );
        ensure!(took <= TAKEOVER, "the takeover took {took:?}");
        namespace.delete().await
    })
    .await;
}

/// The pod that holds the provisioner's lease.
async fn leader(cluster: &Cluster) -> anyhow::Result<String> {
    until("a controller leads", LONG, async || {
        let pods = pods(cluster).await?;
        let lease = cluster
            .find(&["--namespace", NAMESPACE, "lease", LEASE])
            .await?;
        let lease = lease.unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok(pods.into_iter().find(|pod| holder.contains(pod.as_str())))
    })
    .await
}

async fn other(cluster: &Cluster, leader: &str) -> anyhow::Result<String> {
    let pods = pods(cluster).await?;
    let other = pods.into_iter().find(|pod| pod != leader);
    other.context("there is only one controller")
}

/// The controllers' pods.
async fn pods(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let selector = "app.kubernetes.io/component=controller";
    let words = ["--namespace", NAMESPACE, "pods", "--selector", selector];
    let list = cluster.get(&words).await?;
    let pods = list["items"].as_array().into_iter().flatten();
    Ok(pods
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect())
}

/// How many volumes a controller was asked to make since it started.
async fn creations(cluster: &Cluster, pod: &str) -> anyhow::Result<u64> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9808/proxy/metrics");
    let metrics = cluster.kubectl(&["get", "--raw", &path]).await?;
    metrics
        .lines()
        .filter(|line| line.starts_with("rds_csi_rpc_duration_seconds_count"))
        .filter(|line| line.contains("CreateVolume"))
        .map(|line| {
            let count = line.rsplit(' ').next().unwrap_or_default();
            count.parse::<u64>().with_context(|| line.to_owned())
        })
        .sum()
}
