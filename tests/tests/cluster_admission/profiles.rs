//! What CDI is told of the chart's classes, where the cluster has CDI.
//!
//! CDI itself does not run: its kind is there, and the object that it makes of each class.

use rds_csi_tests::cluster::Cluster;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use serde_json::json;

use crate::ground::{close, install, open};

const KIND: &str = "storageprofiles.cdi.kubevirt.io";
const CLASS: &str = "rds-csi-vm";

/// CDI's kind by a schema that takes everything.
async fn install_cdi(cluster: &Cluster) {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": KIND},
        "spec": {
            "group": "cdi.kubevirt.io",
            "scope": "Cluster",
            "names": {"kind": "StorageProfile", "plural": "storageprofiles", "singular": "storageprofile"},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": anything},
            }],
        },
    });
    cluster.apply(&kind.to_string()).await.unwrap();
    let crd = format!("crd/{KIND}");
    let established = ["wait", "--for=condition=Established", &crd, "--timeout=60s"];
    cluster.kubectl(&established).await.unwrap();
}

/// The object that CDI makes of the class, in which a person has said something, too.
async fn make_profile(cluster: &Cluster) {
    let profile = json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "StorageProfile",
        "metadata": {"name": CLASS},
        "spec": {"cloneStrategy": "copy"},
        "status": {"storageClass": CLASS, "provisioner": "rds.csi.srvlab.io"},
    });
    cluster.apply(&profile.to_string()).await.unwrap();
}

#[tokio::test]
async fn cdi_is_told_what_the_class_of_machines_can_do_by_a_job_that_ends() {
    let (cluster, namespace) = open("admission-profiles").await;
    install_cdi(&cluster).await;
    install(&cluster, &json!({})).await;
    make_profile(&cluster).await;
    let set = |access: &str, mode: &str| json!({"accessModes": [access], "volumeMode": mode});
    let sets = json!([
        set("ReadWriteMany", "Block"),
        set("ReadWriteOnce", "Block"),
        set("ReadWriteOnce", "Filesystem"),
    ]);
    let product = Namespace::named(&cluster, NAMESPACE);
    let ended = [
        "wait",
        "--for=condition=Complete",
        "job",
        "--selector=app.kubernetes.io/component=storage-profiles",
        "--timeout=180s",
    ];
    product.kubectl(&ended).await.unwrap();
    let told = cluster.get(&[KIND, CLASS]).await.unwrap();
    assert_eq!(told["spec"]["claimPropertySets"], sets);
    assert_eq!(told["status"]["storageClass"], CLASS, "CDI's");
    assert_eq!(told["spec"]["cloneStrategy"], "copy", "a person's");

    // Without CDI nothing is left of it.
    cluster.kubectl(&["delete", "crd", KIND]).await.unwrap();
    install(&cluster, &json!({})).await;
    let jobs = product
        .kubectl(&["get", "jobs", "--output=name"])
        .await
        .unwrap();
    assert!(!jobs.contains("storage-profiles"), "{jobs}");
    close(&cluster, namespace).await;
}
