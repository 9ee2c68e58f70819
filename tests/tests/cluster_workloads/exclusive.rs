//! ReadWriteOncePod: one pod, whoever asks.

use rds_csi_tests::cluster::claim::Claim;
use serde_json::json;

use crate::stand::{Stand, pod_with, read_word, write_word};

#[tokio::test]
async fn a_volume_for_one_pod_is_refused_to_a_second_and_free_after_the_first() {
    let stand = Stand::shared("work-exclusive").await;
    let claims = stand.cluster.kinds("").await.unwrap();
    let claims = claims.map(|claim| claim.access("ReadWriteOncePod"));
    let firsts = claims
        .each_ref()
        .map(|claim| pod_with(&format!("first-{}", claim.name), Some("node-a"), claim));
    stand.apply(&claims.each_ref().map(Claim::manifest)).await;
    stand.apply(&firsts).await;
    for claim in &claims {
        let first = format!("first-{}", claim.name);
        stand.ready(&[&first]).await;
        stand.sh(&first, &write_word(claim, "first")).await;
        refused_to_others(&stand, claim).await;
    }
    for claim in &claims {
        let name = &claim.name;
        let second = format!("second-{name}");
        stand
            .remove(&[&format!("pod/past-{name}"), &format!("pod/first-{name}")])
            .await;
        stand.ready(&[&second]).await;
        assert_eq!(stand.sh(&second, read_word(claim)).await, "first", "{name}");
    }
    stand.close().await;
}

/// By the scheduler, and past it: kubelet of the same node refuses as well.
async fn refused_to_others(stand: &Stand, claim: &Claim) {
    let (second, past) = (
        format!("second-{}", claim.name),
        format!("past-{}", claim.name),
    );
    let scheduled = pod_with(&second, Some("node-a"), claim);
    let mut placed = pod_with(&past, None, claim);
    placed["spec"]["nodeName"] = json!("node-a");
    stand.apply(&[scheduled, placed]).await;
    stand
        .told(&second, &["FailedScheduling", "ReadWriteOncePod"])
        .await;
    let words = "ReadWriteOncePod access mode and is already in use by another pod";
    stand.told(&past, &[words]).await;
    for pod in [second, past] {
        let pod = stand.namespace.get("pod", &pod).await.unwrap();
        assert_eq!(pod["status"]["phase"], "Pending");
    }
}
