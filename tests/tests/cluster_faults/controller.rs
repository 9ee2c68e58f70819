//! The controller killed and killed again, and one of two taking over.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::{Claim, pod};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::wait::until;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::books::{balanced, differences};
use crate::ground::{LONG, all_bound, apply_claims, bound, numbered, on_whole_cluster};
use crate::leaders::{Work, creations, leader, leads, node_of, other, works};
use crate::processes::{Chance, controllers};

const ROUNDS: usize = 10;
const CLAIMS: usize = 10;
const KILLS: usize = 2;
/// Kills fall into the first moments of a round's work, or of what the kill before has left.
const WITHIN: u64 = 1500;
/// A round's twenty changes take several seconds then.
const ROUND_TRIP: Duration = Duration::from_millis(150);
const TAKEOVER: Duration = Duration::from_secs(20);
/// Until the work that is left of a round goes on, on another controller or a new process.
const WORK: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_controller_killed_twenty_times_loses_no_volume_and_leaves_none() {
    on_whole_cluster(async |cluster| {
        let mut chance = Chance::from_environment();
        let before = differences(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-kills").await?;
        let (mut last, mut met) = (Vec::new(), 0);
        cluster.appliance().latency(ROUND_TRIP).await?;
        for round in 0..ROUNDS {
            let new = numbered(&format!("claim-{round}"), CLAIMS);
            let (changed, killed) =
                tokio::join!(change(&namespace, &new, &last), kill(cluster, &mut chance));
            changed?;
            met += killed?;
            all_bound(&namespace, &new).await?;
            last = new;
        }
        cluster.appliance().latency(Duration::ZERO).await?;
        println!("{met} of {} kills met work under way", ROUNDS * KILLS);
        ensure!(met >= ROUNDS, "{met} kills met work under way");
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

/// Kills the controller that works at random moments, each once there is work under way, if
/// any is left; how many met some. The other controller would not be missed.
async fn kill(cluster: &Cluster, chance: &mut Chance) -> anyhow::Result<usize> {
    let mut met = 0;
    for _ in 0..KILLS {
        let worked = until("the leading controller was killed", LONG, async || {
            let leader = leader(cluster).await?;
            let node = node_of(cluster, &leader).await?;
            let mut there = controllers(cluster).await?.into_iter();
            let Some(victim) = there.find(|process| process.node() == node) else {
                return Ok(None);
            };
            let busy = async || Ok(works(cluster, &leader).await.then_some(()));
            until("it works", WORK, busy).await.ok();
            sleep(Duration::from_millis(chance.below(WITHIN))).await;
            let works = works(cluster, &leader).await;
            Ok(victim.kill(cluster).await?.then_some(works))
        })
        .await?;
        met += usize::from(worked);
    }
    Ok(met)
}

#[tokio::test]
async fn one_of_two_controllers_works_and_the_other_takes_over_within_20_seconds() {
    on_whole_cluster(async |cluster| {
        fresh(cluster).await?;
        let namespace = Namespace::new(cluster, "faults-takeover").await?;
        let leader = leader(cluster).await?;
        let other = other(cluster, &leader).await?;
        let idle = creations(cluster, &other).await?;
        let worked = creations(cluster, &leader).await?;
        let mut volumes = Vec::new();
        for name in ["used", "grown"] {
            namespace.apply(&Claim::filesystem(name).manifest()).await?;
            volumes.push(namespace.bound(name).await?);
        }
        let other_worked = creations(cluster, &other).await? != idle;
        ensure!(!other_worked, "{other} worked too");
        let leader_worked = creations(cluster, &leader).await? > worked;
        ensure!(leader_worked, "{leader} was idle");

        for work in [
            Work::Provisions,
            Work::Attaches,
            Work::Grows,
            Work::LooksAfter,
        ] {
            let took = match takeover(cluster, &namespace, &volumes, work).await {
                Ok(took) => took,
                Err(error) => return Err(error.context(namespace.report().await)),
            };
            println!("leader killed, another {work:?} after {took:.1?}");
            cluster.product_is_ready().await?;
        }
        namespace.running("pod").await?;
        namespace.delete().await
    })
    .await;
}

/// Begins both controllers anew. Kubelet has whoever was killed before wait, the longer the
/// more often, and a sidecar that waits takes nothing over.
async fn fresh(cluster: &Cluster) -> anyhow::Result<()> {
    let deployment = "deployment/rds-csi-controller";
    for words in [
        &["rollout", "restart", deployment][..],
        &["rollout", "status", deployment, "--timeout=170s"],
    ] {
        let words = [&["--namespace", NAMESPACE], words].concat();
        cluster.kubectl(&words).await?;
    }
    Ok(())
}

/// Kills who does a kind of work and at once asks for some: how long that took.
async fn takeover(
    cluster: &Cluster,
    namespace: &Namespace,
    volumes: &[String],
    work: Work,
) -> anyhow::Result<Duration> {
    let [used, grown] = volumes else {
        bail!("not two volumes: {volumes:?}");
    };
    let leader = leads(cluster, work).await?;
    kill_pod(cluster, &leader).await?;
    let began = Instant::now();
    match work {
        Work::Provisions => {
            let claim = Claim::filesystem("after");
            namespace.apply(&claim.manifest()).await?;
            taken_over(began, "the next claim was bound", async || {
                let claim = namespace.get("pvc", "after").await?;
                Ok(claim["status"]["phase"] == "Bound")
            })
            .await
        }
        Work::Attaches => {
            let pod = pod("pod", None, &Claim::filesystem("used"));
            namespace.apply(&pod).await?;
            taken_over(began, "the next volume was attached", async || {
                attached(cluster, used).await
            })
            .await
        }
        Work::Grows => {
            let size = json!({"spec": {"resources": {"requests": {"storage": "128Mi"}}}});
            let grow = ["patch", "pvc", "grown", "--patch", &size.to_string()];
            namespace.kubectl(&grow).await?;
            taken_over(began, "the next volume had grown", async || {
                let volume = cluster.get(&["pv", grown]).await?;
                Ok(volume["spec"]["capacity"]["storage"] == "128Mi")
            })
            .await
        }
        Work::LooksAfter => {
            taken_over(began, "another driver led", async || {
                Ok(leads(cluster, work).await? != leader)
            })
            .await
        }
    }
}

/// Takes a pod away without waiting for its end.
async fn kill_pod(cluster: &Cluster, pod: &str) -> anyhow::Result<()> {
    let words = ["delete", "pod", pod, "--force", "--grace-period=0"];
    let words = [&["--namespace", NAMESPACE], &words[..]].concat();
    cluster.kubectl(&words).await.map(drop)
}

/// Waits for something that only a leader does, as long as a takeover may last: how long.
async fn taken_over(
    began: Instant,
    what: &str,
    mut is_done: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    until(what, LONG, async || Ok(is_done().await?.then_some(()))).await?;
    let took = began.elapsed();
    ensure!(took <= TAKEOVER, "leader killed, {what} after {took:?}");
    Ok(took)
}

/// Whether a PersistentVolume is attached.
async fn attached(cluster: &Cluster, volume: &str) -> anyhow::Result<bool> {
    let all = cluster.get(&["volumeattachments"]).await?;
    let all = all["items"].as_array().context("no list")?;
    Ok(all.iter().any(|found| {
        found["spec"]["source"]["persistentVolumeName"] == volume
            && found["status"]["attached"] == true
    }))
}
