//! CDI, as far as the chart sees it: one kind, and the object that it makes of a class. CDI
//! itself does not run.

use serde_json::json;

use super::Cluster;

/// The kind of what CDI is told of classes.
pub const KIND: &str = "storageprofiles.cdi.kubevirt.io";

/// The kind by a schema that takes everything.
///
/// # Errors
/// The API refused it, or does not serve it in time.
pub async fn install(cluster: &Cluster) -> anyhow::Result<()> {
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
    cluster.apply(&kind.to_string()).await?;
    let crd = format!("crd/{KIND}");
    let established = ["wait", "--for=condition=Established", &crd, "--timeout=60s"];
    cluster.kubectl(&established).await.map(drop)
}

/// The object that CDI makes of a class, in which a person has said something, too.
///
/// # Errors
/// The API refused it.
pub async fn make_profile(cluster: &Cluster, class: &str) -> anyhow::Result<()> {
    let profile = json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "StorageProfile",
        "metadata": {"name": class},
        "spec": {"cloneStrategy": "copy"},
        "status": {"storageClass": class, "provisioner": "rds.csi.srvlab.io"},
    });
    cluster.apply(&profile.to_string()).await.map(drop)
}

/// Waits until the chart's Job has told CDI what its classes can do.
///
/// # Errors
/// It has not, in time.
pub async fn told(cluster: &Cluster) -> anyhow::Result<()> {
    let ended = [
        "wait",
        "--namespace",
        super::product::NAMESPACE,
        "--for=condition=Complete",
        "job",
        "--selector=app.kubernetes.io/component=storage-profiles",
        "--timeout=170s",
    ];
    cluster.kubectl(&ended).await.map(drop)
}

/// Removes the kind, and with it its objects.
///
/// # Errors
/// The API refused it.
pub async fn remove(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&["delete", "crd", KIND]).await.map(drop)
}
