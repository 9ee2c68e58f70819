//! ReadWriteOncePod: one pod, whoever asks.

use rds_csi_tests::cluster::namespace::Claim;
use serde_json::json;

use crate::stand::{Stand, pod_at};

#[tokio::test]
async fn a_volume_for_one_pod_is_refused_to_a_second_and_free_after_the_first() {
    let stand = Stand::open("work-exclusive").await;
    let claim = Claim::filesystem("claim").access("ReadWriteOncePod");
    let first = pod_at("first", Some("node-a"), &claim, "/data");
    stand.apply(&[claim.manifest(), first]).await;
    stand.ready(&["first"]).await;
    stand.sh("first", "echo first >/data/file; sync").await;

    // By the scheduler, and past it: kubelet of the same node refuses as well.
    let second = pod_at("second", Some("node-a"), &claim, "/data");
    let mut past = pod_at("past", None, &claim, "/data");
    past["spec"]["nodeName"] = json!("node-a");
    stand.apply(&[second, past]).await;
    stand
        .told("second", &["FailedScheduling", "ReadWriteOncePod"])
        .await;
    stand
        .told(
            "past",
            &["ReadWriteOncePod access mode and is already in use by another pod"],
        )
        .await;
    for pod in ["second", "past"] {
        let pod = stand.namespace.get("pod", pod).await.unwrap();
        assert_eq!(pod["status"]["phase"], "Pending");
    }
    stand.remove(&["pod/past", "pod/first"]).await;
    stand.ready(&["second"]).await;
    assert_eq!(stand.sh("second", "cat /data/file").await, "first");
    stand.close().await;
}
