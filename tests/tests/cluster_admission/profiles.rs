//! What CDI is told of the chart's classes, where the cluster has CDI.

use rds_csi_tests::cluster::cdi;
use rds_csi_tests::cluster::namespace::Namespace;
use rds_csi_tests::cluster::product::NAMESPACE;
use serde_json::json;

use crate::ground::{install, open};

const CLASS: &str = "rds-csi-vm";

#[tokio::test]
async fn cdi_is_told_what_the_class_of_machines_can_do_by_a_job_that_ends() {
    let (cluster, namespace) = open("admission-profiles").await;
    cdi::install(&cluster).await.unwrap();
    install(&cluster, &json!({})).await;
    cdi::make_profile(&cluster, CLASS).await.unwrap();
    cdi::told(&cluster).await.unwrap();
    let set = |access: &str, mode: &str| json!({"accessModes": [access], "volumeMode": mode});
    let sets = json!([
        set("ReadWriteMany", "Block"),
        set("ReadWriteOnce", "Block"),
        set("ReadWriteOnce", "Filesystem"),
    ]);
    let told = cluster.get(&[cdi::KIND, CLASS]).await.unwrap();
    assert_eq!(told["spec"]["claimPropertySets"], sets);
    assert_eq!(told["status"]["storageClass"], CLASS, "CDI's");
    assert_eq!(told["spec"]["cloneStrategy"], "copy", "a person's");

    // Without CDI nothing is left of it.
    cdi::remove(&cluster).await.unwrap();
    install(&cluster, &json!({})).await;
    let product = Namespace::named(&cluster, NAMESPACE);
    let jobs = product.kubectl(&["get", "jobs", "--output=name"]);
    let jobs = jobs.await.unwrap();
    assert!(!jobs.contains("storage-profiles"), "{jobs}");
    namespace.delete().await.unwrap();
}
