//! While no webhook runs: the cluster goes on, the driver refuses the same things a little
//! later, and whoever wants it stricter says so, kind by kind.

use rds_csi_tests::cluster::claim::{Claim, pod};
use serde_json::{Map, Value, json};

use crate::ground::{
    BY_WEBHOOK, DESTROYED, DRIVER, LONG, await_refusal, clone_of_another, dry_run, install, open,
    refusal, scale_webhook, shared_filesystem,
};

const NO_OPTION: &str = "admission-no-option";

/// A class by which no volume can be mounted.
fn class_of_no_option() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": NO_OPTION}, "provisioner": DRIVER,
        "mountOptions": ["nobarrier"],
    })
}

#[tokio::test]
async fn without_a_webhook_claims_are_served_and_the_driver_refuses_what_it_would_have() {
    let (cluster, namespace) = open("admission-away").await;
    install(&cluster, &json!({"admissionPolicy": {"enabled": false}})).await;
    await_refusal(&namespace).await;
    let said = refusal(&namespace, &shared_filesystem("shared")).await;
    assert!(
        said.contains(BY_WEBHOOK) && said.contains(DESTROYED),
        "{said}"
    );

    scale_webhook(&cluster, 0).await;
    for admitted in [
        shared_filesystem("shared"),
        clone_of_another("copy"),
        class_of_no_option(),
        Claim::filesystem("option").of_class(NO_OPTION).manifest(),
        Claim::filesystem("good").manifest(),
    ] {
        namespace.apply(&admitted).await.unwrap();
    }
    namespace.bound("good").await.unwrap();
    for (name, words) in [
        ("shared", DESTROYED),
        // The provisioner does not even ask a driver that has not said that it copies.
        ("copy", "does not support clone operations"),
        (
            "option",
            "mount option \"nobarrier\" is not allowed for ext4",
        ),
    ] {
        let event = namespace.event(name, words, LONG).await.unwrap();
        assert!(event.starts_with("ProvisioningFailed"), "{event}");
        let claim = namespace.get("pvc", name).await.unwrap();
        assert_eq!(claim["status"]["phase"], "Pending");
    }

    // What was admitted meanwhile can go, and comes no second time.
    scale_webhook(&cluster, 2).await;
    await_refusal(&namespace).await;
    for name in ["shared", "copy", "option"] {
        namespace.remove("pvc", name).await.unwrap();
    }
    namespace.remove("storageclass", NO_OPTION).await.unwrap();
    let said = refusal(&namespace, &class_of_no_option()).await;
    assert!(said.contains("is invalid: mountOptions[0]"), "{said}");
    let said = refusal(&namespace, &shared_filesystem("shared")).await;
    assert!(said.contains(BY_WEBHOOK), "{said}");
    namespace.delete().await.unwrap();
}

fn class_of(driver: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "admission-strict"}, "provisioner": driver,
    })
}

/// Nor does it stop what attaches a volume that is there, or the upgrade that mends it.
#[tokio::test]
async fn an_absent_webhook_stops_the_kinds_whose_failure_policy_says_so_and_no_other() {
    let (cluster, namespace) = open("admission-strict").await;
    let strict = [
        "persistentVolumeClaims",
        "persistentVolumes",
        "storageClasses",
    ];
    let strict: Map<String, Value> = strict
        .map(|kind| (kind.to_owned(), json!("Fail")))
        .into_iter()
        .collect();
    let mut values = json!({"webhook": {"failurePolicy": strict}});
    install(&cluster, &values).await;
    await_refusal(&namespace).await;
    let (going, used) = (Claim::filesystem("going"), Claim::filesystem("used"));
    for claim in [&going, &used] {
        namespace.apply(&claim.manifest()).await.unwrap();
        namespace.bound(&claim.name).await.unwrap();
    }
    scale_webhook(&cluster, 0).await;

    // A claim that was there goes, finalizers and all, and one is used.
    namespace.remove("pvc", "going").await.unwrap();
    namespace.apply(&pod("pod", None, &used)).await.unwrap();
    namespace.running("pod").await.unwrap();
    let claim = Claim::filesystem("good");
    for refused in [claim.manifest(), class_of(DRIVER)] {
        let said = refusal(&namespace, &refused).await;
        assert!(said.contains("failed calling webhook"), "{said}");
    }
    let theirs = claim.of_class("of-somebody-else").manifest();
    for admitted in [theirs, class_of("of-somebody-else")] {
        dry_run(&namespace, &admitted).await.unwrap();
    }

    // The upgrade that brings the webhook back labels the classes anew.
    values["labels"] = json!({"rds-csi.test/release": "mended"});
    install(&cluster, &values).await;
    await_refusal(&namespace).await;
    let class = cluster.get(&["storageclass", "rds-csi"]).await.unwrap();
    let label = &class["metadata"]["labels"]["rds-csi.test/release"];
    assert_eq!(label, "mended");
    let claim = Claim::filesystem("good").manifest();
    namespace.apply(&claim).await.unwrap();
    namespace.bound("good").await.unwrap();
    namespace.delete().await.unwrap();
}
