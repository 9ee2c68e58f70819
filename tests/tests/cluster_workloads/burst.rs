//! Many at once.

use std::collections::BTreeMap;

use rds_csi_tests::cluster::DEADLINE;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::stand::{Stand, pod_at, run};

const PODS: usize = 30;
/// Writes its own name, and tells again and again what the volume itself has.
const TELL: &str = "trap 'exit 0' TERM
    hostname | dd of=$at bs=4k conv=sync,fsync,notrunc 2>/dev/null
    while :; do
        dd if=$at bs=4k count=1 iflag=direct 2>/dev/null | tr -d '\\0'
        sleep 5 & wait $!
    done";

fn name(number: usize) -> String {
    format!("burst-{number:02}")
}

/// A claim and its pod; the nodes take turns, and in fives ext4, xfs and raw devices: three
/// of the first, one of each of the others.
fn pair(number: usize, [ext4, xfs, raw]: &[Claim; 3]) -> [Value; 2] {
    let (kind, path, at) = match number % 5 {
        3 => (xfs, "/data", "/data/name"),
        4 => (raw, "/dev/raw", "/dev/raw"),
        _ => (ext4, "/data", "/data/name"),
    };
    let mut claim = kind.clone();
    claim.name = name(number);
    let node = ["node-a", "node-b"][number % 2];
    let mut pod = pod_at(&name(number), Some(node), &claim, path);
    run(&mut pod, &format!("at={at}; {TELL}"));
    pod["metadata"]["labels"] = json!({"app": "burst"});
    [claim.manifest(), pod]
}

#[tokio::test]
async fn thirty_pods_with_claims_made_at_once_on_two_nodes_each_have_their_own_data() {
    let stand = Stand::open("work-burst").await;
    let kinds = stand.cluster.kinds("").await.unwrap();
    let pairs = (0..PODS).flat_map(|number| pair(number, &kinds));
    let objects: Vec<Value> = pairs.collect();
    stand.apply(&objects).await;
    let names: Vec<String> = (0..PODS).map(name).collect();
    let what = format!("{PODS} pods are ready");
    let ready = until(&what, DEADLINE * 3, async || {
        Ok((ready(&stand).await == PODS).then_some(()))
    });
    if let Err(error) = ready.await {
        panic!("{error:#}\n{}", stand.namespace.report().await);
    }
    // Who has told has written; once all have, whoever shares a volume tells another's name.
    // Not by probes: thirty of them are more than such nodes have time for.
    let before = until("every pod has told", DEADLINE, async || {
        let now = told(&stand).await;
        Ok(now.values().all(|told| !told.is_empty()).then_some(now))
    });
    let before = before.await.unwrap();
    let again = until("every pod has told again", DEADLINE, async || {
        let now = told(&stand).await;
        let again = names
            .iter()
            .all(|name| now[name].len() > before[name].len() + 1);
        Ok(again.then_some(now))
    });
    for (name, told) in again.await.unwrap() {
        assert!(told.iter().all(|word| *word == name), "{name}: {told:?}");
    }
    stand.close().await;
}

/// What each pod has told so far.
async fn told(stand: &Stand) -> BTreeMap<String, Vec<String>> {
    let words = [
        "logs",
        "-l",
        "app=burst",
        "--prefix",
        "--tail=-1",
        "--max-log-requests=40",
    ];
    let mut told: BTreeMap<_, Vec<String>> =
        (0..PODS).map(|number| (name(number), vec![])).collect();
    for line in stand.kubectl(&words).await.lines() {
        let (pod, word) = line.split_once(' ').unwrap();
        let pod = pod.trim_start_matches("[pod/").trim_end_matches("/main]");
        told.get_mut(pod).unwrap().push(word.to_owned());
    }
    told
}

async fn ready(stand: &Stand) -> usize {
    let path = "jsonpath={.items[*].status.containerStatuses[0].ready}";
    let states = stand.kubectl(&["get", "pods", "-o", path]).await;
    states
        .split_whitespace()
        .filter(|&ready| ready == "true")
        .count()
}
