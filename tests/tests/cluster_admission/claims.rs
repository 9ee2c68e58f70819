//! What a person is told at `kubectl apply`, and by whom: the policy that needs no pod,
//! or the webhook, which knows more.

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::claim::Claim;
use rds_csi_tests::wait::until;
use serde_json::{Value, json};

use crate::ground::{
    BY_POLICY, BY_WEBHOOK, DENIED_BY_WEBHOOK, DESTROYED, DRIVER, LONG, NO_CLONES, await_refusal,
    clone_of_another, counted, dry_run, install, make_default, new_claims, open, refusal,
    refused_with, share, shared_filesystem, without_class,
};

const SNAPSHOT_CLASSES: &str = "volumesnapshotclasses.snapshot.storage.k8s.io";
/// A class that no chart makes.
const LATER: &str = "admission-later";
const DENIED: [&str; 2] = ["kind=\"PersistentVolumeClaim\"", "verdict=\"Denied\""];

#[tokio::test]
async fn the_policy_refuses_what_it_can_and_the_webhook_is_not_even_asked() {
    let (cluster, namespace) = open("admission-policy").await;
    let before = new_claims(&cluster).await;
    let said = refusal(&namespace, &shared_filesystem("shared")).await;
    assert!(said.contains(BY_POLICY), "{said}");
    assert!(said.contains(DESTROYED), "{said}");
    assert!(said.contains("volumeMode: Block for a VM disk"), "{said}");
    assert_eq!(new_claims(&cluster).await, before);

    let said = refusal(&namespace, &clone_of_another("copy")).await;
    assert!(
        said.contains(BY_WEBHOOK) && said.contains(NO_CLONES),
        "{said}"
    );
    assert!(said.contains("spec.dataSourceRef"), "{said}");
    assert_eq!(new_claims(&cluster).await, before + 1);
    namespace.delete().await.unwrap();
}

/// The webhook is asked for classes that the chart knew when it was installed; the policy goes by
/// the classes that there are.
#[tokio::test]
async fn the_policy_goes_by_the_classes_of_the_moment() {
    let (cluster, namespace) = share("admission-moment").await;
    let class = |provisioner: &str| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": LATER}, "provisioner": provisioner,
        })
    };
    let claim = Claim::filesystem("shared").access("ReadWriteMany");
    let claim = claim.of_class(LATER).manifest();
    let removal = ["delete", "storageclass", LATER];
    cluster.apply(&class(DRIVER).to_string()).await.unwrap();
    refused_with(&namespace, &claim, &[BY_POLICY]).await;
    cluster.kubectl(&removal).await.unwrap();
    cluster
        .apply(&class("nfs.example.com").to_string())
        .await
        .unwrap();
    until("the class is somebody else's", LONG, async || {
        Ok(dry_run(&namespace, &claim).await.ok())
    })
    .await
    .unwrap();
    cluster.kubectl(&removal).await.unwrap();
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn without_the_policy_the_webhook_refuses_the_same_with_the_same_way_out() {
    let (cluster, namespace) = open("admission-webhook").await;
    install(&cluster, &json!({"admissionPolicy": {"enabled": false}})).await;
    await_refusal(&namespace).await;
    let before = counted(&cluster, "rds_csi_webhook_reviews_total", &DENIED).await;
    let said = refusal(&namespace, &shared_filesystem("shared")).await;
    assert!(
        said.contains(BY_WEBHOOK) && said.contains(DESTROYED),
        "{said}"
    );
    assert!(said.contains("volumeMode: Block for a VM disk"), "{said}");
    assert!(said.contains("spec.accessModes[0]"), "{said}");
    let after = counted(&cluster, "rds_csi_webhook_reviews_total", &DENIED).await;
    assert_eq!(after, before + 1);
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn classes_and_volumes_that_cannot_work_are_refused_too() {
    let (_, namespace) = share("admission-kinds").await;
    let class = |name: &str, parameters: Value, options: Value| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name}, "provisioner": DRIVER,
            "parameters": parameters, "mountOptions": options,
        })
    };
    let misspelt = class(
        "admission-misspelt",
        json!({"nvmeAdress": "10.0.0.1"}),
        json!([]),
    );
    let said = refusal(&namespace, &misspelt).await;
    assert!(
        said.contains("ValidatingAdmissionPolicy 'rds-csi-classes'"),
        "{said}"
    );
    assert!(said.contains("nvmeAddress"), "{said}");

    let options = class("admission-options", json!({}), json!(["nobarrier"]));
    let said = refusal(&namespace, &options).await;
    assert!(said.contains("is invalid: mountOptions[0]"), "{said}");

    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "admission-volume"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "64Mi"},
            "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "",
            "csi": {"driver": DRIVER, "volumeHandle": "not-one-of-ours"},
        },
    });
    let said = refusal(&namespace, &volume).await;
    assert!(said.contains("spec.csi.volumeHandle"), "{said}");

    let mut shared = volume;
    shared["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    let said = refusal(&namespace, &shared).await;
    assert!(
        said.contains("ValidatingAdmissionPolicy 'rds-csi-volumes'") && said.contains(DESTROYED),
        "{said}"
    );
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_claim_without_a_class_is_judged_by_the_default_one() {
    let (cluster, namespace) = open("admission-default").await;
    make_default(&cluster, true).await;
    // The API server notices a new default by a watch.
    let copy = without_class(clone_of_another("copy"));
    let said = refused_with(&namespace, &copy, &[BY_WEBHOOK, NO_CLONES]).await;
    assert!(said.contains("storage class \"rds-csi\""), "{said}");
    let said = refusal(&namespace, &without_class(shared_filesystem("shared"))).await;
    assert!(said.contains(BY_POLICY), "{said}");
    make_default(&cluster, false).await;
    namespace.delete().await.unwrap();
}

/// A claim that waits for a default class gets it by an update of the controller manager,
/// which is refused as its creation would have been.
#[tokio::test]
async fn a_class_that_is_given_later_is_judged_when_it_is_given() {
    let (cluster, namespace) = open("admission-later").await;
    let good = without_class(Claim::filesystem("good").manifest());
    let bad = [shared_filesystem("shared"), clone_of_another("copy")].map(without_class);
    for claim in [&good, &bad[0], &bad[1]] {
        namespace.apply(claim).await.unwrap();
    }
    let mut log = cluster.audit();
    log.skip().unwrap();
    make_default(&cluster, true).await;
    namespace.bound("good").await.unwrap();
    for (name, by) in [("shared", BY_POLICY), ("copy", DENIED_BY_WEBHOOK)] {
        let what = format!("the update of {name} is refused");
        let mut log = log.clone();
        let said = until(&what, LONG, async || {
            let updates = log.pick("admission-later", |line| {
                let is_it = line["verb"] == "update" && line["objectRef"]["name"] == name;
                is_it.then(|| line["responseStatus"].to_string())
            });
            Ok(updates?.pop())
        });
        let said = said.await.unwrap();
        let by = by.replace('"', "\\\"");
        assert!(said.contains(&by) && said.contains("422"), "{said}");
        let claim = namespace.get("pvc", name).await.unwrap();
        assert_eq!(claim["spec"]["storageClassName"], Value::Null);
        assert_eq!(claim["status"]["phase"], "Pending");
    }
    make_default(&cluster, false).await;
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_and_a_claim_without_a_name_are_judged_like_any_other() {
    let (cluster, namespace) = open("admission-forms").await;
    let before = new_claims(&cluster).await;
    let dry = ["create", "--dry-run=server", "--output=name"];
    let good = Claim::filesystem("good").manifest();
    let made = namespace.kubectl_with(&dry, &good).await.unwrap();
    assert_eq!(made.trim(), "persistentvolumeclaim/good");
    let refused = namespace
        .kubectl_with(&dry, &clone_of_another("copy"))
        .await;
    let said = format!("{:#}", refused.unwrap_err());
    assert!(said.contains(BY_WEBHOOK), "{said}");
    assert_eq!(namespace.find("pvc", "good").await.unwrap(), None);
    assert_eq!(new_claims(&cluster).await, before + 2);

    let nameless = |mut claim: Value| {
        claim["metadata"] = json!({"generateName": "nameless-"});
        claim
    };
    let create = ["create", "--output=name"];
    let refused = nameless(clone_of_another(""));
    let refused = namespace.kubectl_with(&create, &refused).await;
    let said = format!("{:#}", refused.unwrap_err());
    assert!(
        said.contains(BY_WEBHOOK) && said.contains(NO_CLONES),
        "{said}"
    );
    let good = nameless(good);
    let made = namespace.kubectl_with(&create, &good).await.unwrap();
    let name = made.trim().strip_prefix("persistentvolumeclaim/").unwrap();
    assert!(name.starts_with("nameless-"), "{name}");
    namespace.bound(name).await.unwrap();
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn kubectl_shows_the_warnings_of_an_admitted_claim() {
    let (_, namespace) = share("admission-warnings").await;
    let mut disk = Claim::block("disk").manifest();
    disk["metadata"]["labels"] = json!({"kubevirt.io/created-by": "a-test"});
    // kubectl's way to make its own success a failure, which says what it has shown.
    let words = ["create", "--dry-run=server", "--warnings-as-errors"];
    let shown = namespace.kubectl_with(&words, &disk).await.unwrap_err();
    let shown = format!("{shown:#}");
    assert!(shown.contains("Warning: "), "{shown}");
    assert!(shown.contains("cannot follow a live migration"), "{shown}");
    assert!(shown.contains("1 warning received"), "{shown}");
    namespace.delete().await.unwrap();
}

/// The kind of snapshot classes in two versions, by schemas that take everything.
async fn install_snapshot_classes(cluster: &Cluster) {
    let version = |name: &str| {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({"name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": anything}})
    };
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": SNAPSHOT_CLASSES,
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "snapshot.storage.k8s.io",
            "scope": "Cluster",
            "names": {"kind": "VolumeSnapshotClass", "plural": "volumesnapshotclasses",
                "singular": "volumesnapshotclass"},
            "versions": [version("v1"), version("v1beta1")],
        },
    });
    cluster.apply(&kind.to_string()).await.unwrap();
    let crd = format!("crd/{SNAPSHOT_CLASSES}");
    let established = ["wait", "--for=condition=Established", &crd, "--timeout=60s"];
    cluster.kubectl(&established).await.unwrap();
}

/// The rule for snapshot classes names v1: what is sent as v1beta1 is converted and reviewed.
#[tokio::test]
async fn a_class_of_another_version_is_reviewed_as_the_version_that_the_rule_names() {
    let (cluster, namespace) = share("admission-converted").await;
    install_snapshot_classes(&cluster).await;
    let class = |version: &str, driver: &str| {
        json!({
            "apiVersion": format!("snapshot.storage.k8s.io/{version}"),
            "kind": "VolumeSnapshotClass",
            "metadata": {"name": "converted"},
            "driver": driver, "deletionPolicy": "Delete",
        })
    };
    let words = "is invalid: driver: rds.csi.srvlab.io offers no snapshots";
    let mut said = Vec::new();
    for version in ["v1", "v1beta1"] {
        let ours = class(version, DRIVER);
        // The API server learns of a new kind a moment after it serves it.
        said.push(refused_with(&namespace, &ours, &[words]).await);
    }
    assert_eq!(said[0], said[1]);
    let theirs = class("v1beta1", "of-somebody-else");
    dry_run(&namespace, &theirs).await.unwrap();
    let words = ["delete", "crd", SNAPSHOT_CLASSES];
    cluster.kubectl(&words).await.unwrap();
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn the_older_word_for_a_class_is_reviewed() {
    let (cluster, namespace) = share("admission-versions").await;
    // The older word for the class of a claim, which is no version but means the same.
    let mut copy = without_class(clone_of_another("copy"));
    copy["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": "rds-csi"});
    let said = refusal(&namespace, &copy).await;
    assert!(said.contains(BY_WEBHOOK), "{said}");

    let words = ["validatingwebhookconfiguration", "rds-csi-webhook"];
    let configuration = cluster.get(&words).await.unwrap();
    let entries = configuration["webhooks"].as_array().unwrap();
    assert_eq!(entries.len(), 7);
    for entry in entries {
        assert_eq!(entry["matchPolicy"], "Equivalent");
        assert_eq!(entry["sideEffects"], "None");
    }
    namespace.delete().await.unwrap();
}
