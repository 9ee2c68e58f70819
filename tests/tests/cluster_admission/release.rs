//! The release as helm sees it: its own test, and the way to another revision and back
//! while a pod writes.

use rds_csi_tests::cluster::claim::{Claim, MOUNT, pod};
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use rds_csi_tests::cluster::{Cluster, DEADLINE};
use rds_csi_tests::wait::until;
use serde_json::json;

use crate::ground::{DRIVER, await_webhooks, install, open};

/// The pod of the release's own test.
const TESTS: &str = "rds-csi-test";

/// Counts in a file, each number down to the appliance before the next; any error ends it.
const COUNT: &str = "trap 'exit 0' TERM
    i=0
    while :; do
        i=$((i + 1))
        echo $i >>/data/log
        sync /data/log
        usleep 100000
    done";

/// Runs the release's own test.
async fn helm_test(cluster: &Cluster, timeout: &str) -> anyhow::Result<String> {
    let words = ["test", NAMESPACE, "--namespace", NAMESPACE, "--timeout"];
    cluster.helm(&[&words[..], &[timeout]].concat()).await
}

/// After one that failed, too, whose pod is still there to be looked at.
#[tokio::test]
async fn the_test_of_the_release_passes_and_leaves_nothing() {
    let (cluster, namespace) = open("admission-release").await;
    let product = Namespace::named(&cluster, NAMESPACE);
    let absent = json!({"tests": {"storageClass": "rds-csi-absent"}});
    install(&cluster, &absent).await;
    assert!(helm_test(&cluster, "20s").await.is_err());
    assert!(product.find("pod", TESTS).await.unwrap().is_some());

    install(&cluster, &json!({})).await;
    let said = match helm_test(&cluster, "170s").await {
        Ok(said) => said,
        Err(error) => panic!("{error:#}\n{}", product.report().await),
    };
    assert!(said.contains("Succeeded"), "{said}");
    until("nothing of it is left", DEADLINE, async || {
        let pod = product.find("pod", TESTS).await?;
        let claim = product.find("pvc", &format!("{TESTS}-volume")).await?;
        Ok((pod.is_none() && claim.is_none()).then_some(()))
    })
    .await
    .unwrap();
    namespace.delete().await.unwrap();
}

/// The last number, once it is larger than another.
async fn counts_on(namespace: &Namespace, from: u64) -> u64 {
    let last = async || {
        let said = namespace.sh("writer", "tail -n 1 /data/log").await?;
        anyhow::Ok(said.parse::<u64>()?)
    };
    until("the writer counts on", DEADLINE, async || {
        Ok(Some(last().await?).filter(|last| *last > from + 5))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_pod_writes_on_through_an_upgrade_and_the_way_back() {
    let (cluster, namespace) = open("admission-rollback").await;
    let claim = Claim::filesystem("data");
    let mut writer = pod("writer", None, &claim);
    writer["spec"]["restartPolicy"] = json!("Never");
    writer["spec"]["containers"][0]["command"] = json!(["sh", "-euc", COUNT]);
    namespace.apply(&claim.manifest()).await.unwrap();
    namespace.apply(&writer).await.unwrap();
    namespace.running("writer").await.unwrap();
    until("the writer has begun", DEADLINE, async || {
        let begun = namespace.sh("writer", &format!("ls {MOUNT}")).await?;
        Ok(begun.contains("log").then_some(()))
    })
    .await
    .unwrap();
    let began = counts_on(&namespace, 0).await;

    let debug = json!({"log": {"level": "debug"}});
    cluster.install(&debug).await.unwrap();
    let upgraded = counts_on(&namespace, began).await;
    let words = [
        "rollback",
        NAMESPACE,
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout=170s",
    ];
    cluster.helm(&words).await.unwrap();
    await_webhooks(&cluster).await;
    counts_on(&namespace, upgraded).await;

    let writer = namespace.get("pod", "writer").await.unwrap();
    assert_eq!(writer["status"]["phase"], "Running");
    assert_eq!(writer["status"]["containerStatuses"][0]["restartCount"], 0);
    let gaps = "awk '$1 != NR {print \"gap at\", NR}' /data/log";
    assert_eq!(namespace.sh("writer", gaps).await.unwrap(), "");
    namespace.remove("pod", "writer").await.unwrap();
    namespace.delete().await.unwrap();
}

/// helm that dies in the middle leaves a revision that is under way for ever.
#[tokio::test]
async fn an_upgrade_that_was_interrupted_does_not_keep_the_next_from_the_release() {
    let (cluster, namespace) = open("admission-interrupted").await;
    let pending = async || {
        let words = ["status", NAMESPACE, "--namespace", NAMESPACE];
        let said = cluster.helm(&words).await?;
        Ok(said.contains("STATUS: pending-upgrade").then_some(()))
    };
    let debug = json!({"log": {"level": "debug"}});
    tokio::select! {
        installed = cluster.install(&debug) => panic!("not interrupted: {installed:?}"),
        interrupted = until("the upgrade is under way", DEADLINE, pending) => interrupted.unwrap(),
    }
    pending().await.unwrap().unwrap();
    cluster.ensure_installed().await.unwrap();
    await_webhooks(&cluster).await;
    assert_eq!(pending().await.unwrap(), None);
    namespace.delete().await.unwrap();
}

/// Volumes on the device, PersistentVolumes and what nodes keep all go by these.
#[tokio::test]
async fn an_upgrade_to_what_never_changes_is_refused_with_what_it_was() {
    let (cluster, namespace) = open("admission-unchangeable").await;
    let others = json!({
        "clusterId": "another",
        "driverName": "another.example.com",
        "nqnPrefix": "nqn.2014-08.com.example:",
        "node": {"stateDir": "/var/lib/another"},
    });
    let refused = cluster.install(&others).await.unwrap_err();
    let said = format!("{refused:#}");
    for (value, was) in [
        ("driverName", DRIVER),
        ("nqnPrefix", "nqn.2000-02.com.mikrotik:"),
        ("node.stateDir", "/var/lib/rds-csi"),
    ] {
        assert!(said.contains(&format!("--set {value}={was}")), "{said}");
    }
    assert!(said.contains("- clusterId is another, and was "), "{said}");
    // Nothing is rendered, so nothing is begun.
    cluster.ensure_installed().await.unwrap();
    namespace.delete().await.unwrap();
}
